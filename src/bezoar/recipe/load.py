"""A params file, read and checked."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bezoar.problems import RecipeError, lines_of, of_validation, parsed, report, text_of
from bezoar.recipe.check import contents_of, of_rows, problems_of
from bezoar.recipe.recipe import Recipe
from bezoar.recipe.unroll_loops import unroll_loops
from bezoar.recipe.unroll_matrix import unroll_matrices
from bezoar.recipe.unrolled import Unrolled


def active() -> Path:
    """The params file of this process: params.yaml, or the file that BEZOAR_PARAMS names."""
    return Path(os.environ.get("BEZOAR_PARAMS", "params.yaml"))


def load(path: Path | str | None = None, *, contents: bool = False, notes: list[str] | None = None) -> Recipe:
    """A params file, by default the active one, with defaults, checked.

    Args:
        path: The file.
        contents: Whether to compare local sources with their pinned sha256, too; once a run.
        notes: If given, local rows are looked at, too: do they fit their format, are there enough for each mix, and can
            the chat template of a stage write their dialogues? It gets lines about rows that will be left out.

    Raises:
        RecipeError: The file is missing or isn't YAML, a block doesn't fit the schema, a name refers to nothing, stages
            form a cycle, or a file that it names is missing or outside the repository. The message lists every
            problem with file, line, key, what was found and what was expected.
    """
    path = Path(path or active())
    recipe, made = read(path)
    problems = problems_of(recipe, Path.cwd())
    if contents and not problems:
        problems = contents_of(recipe, Path.cwd())
    if problems:
        raise RecipeError(report(str(path), made.distinct(problems), made.lines))
    if notes is not None:
        errors, found = of_rows(recipe)
        if errors:
            places = {key: made.lines.get(key, made.lines.get(key[:2], 1)) for key in errors}
            raise RecipeError("\n".join(f"{path}:{places[key]}: {error}" for key, error in errors.items()))
        notes += found
    return recipe


def read(path: Path) -> tuple[Recipe, Unrolled]:
    """A params file with its loops and matrices unrolled and with defaults, not checked across blocks; and its lines.

    Raises:
        RecipeError: The file is missing or isn't YAML, a block doesn't fit the schema, or can't be unrolled.
    """
    text = text_of(path)
    data = parsed(text, path)
    made = unroll_loops(data, lines_of(str(path), text), str(path))
    recipe = _valid(made, path)
    if recipe.matrix:
        made = unroll_matrices(made, recipe, str(path))
        recipe = _valid(made, path)
    return recipe, made


def _valid(made: Unrolled, path: Path) -> Recipe:
    try:
        return Recipe.model_validate(made.data)
    except ValidationError as error:
        problems = made.distinct(of_validation(error, made.data, Recipe))
        raise RecipeError(report(str(path), problems, made.lines)) from error


def plain(path: Path | str | None = None) -> Any:
    """A params file's content as plain maps, lists and values, without defaults.

    Raises:
        RecipeError: The file can't be read, or isn't YAML.
    """
    path = Path(path or active())
    return parsed(text_of(path), path)
