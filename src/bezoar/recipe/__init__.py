"""params.yaml as a whole: read, with defaults, checked across blocks, and taken apart."""

from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe

__all__ = ["Recipe", "RecipeError", "load"]
