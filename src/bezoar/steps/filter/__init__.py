"""Which generated rows stay: cheap rules, then a judge."""
