"""Filtering generated rows: cheap rules, then a judge."""
