"""params.yaml as a whole: read, completed with defaults, and checked across blocks."""

from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe

__all__ = ["Recipe", "RecipeError", "load"]
