"""params.yaml: one typed, frozen schema for Snakefile, scripts and command line."""

from bezoar.params.problems import RecipeError
from bezoar.params.recipe import PARAMS, Recipe, load, plain, select

__all__ = ["PARAMS", "Recipe", "RecipeError", "load", "plain", "select"]
