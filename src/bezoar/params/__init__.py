"""params.yaml: one typed, frozen schema for Snakefile, scripts and command line."""

from bezoar.params.problems import RecipeError
from bezoar.params.recipe import Recipe, active, load, plain, select

__all__ = ["Recipe", "RecipeError", "active", "load", "plain", "select"]
