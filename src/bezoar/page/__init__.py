"""results/report.html: one page that shows what a recipe made, from artifacts alone."""
