"""What is wrong with a matrix before its combinations are looked at."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from pydantic import BaseModel

from bezoar.problems import KeyPath, Problem, unknown
from bezoar.recipe.recipe import SECTIONS, Recipe
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.matrix import Matrix

VARIED = tuple(one for one in SECTIONS if one not in ("answers", "evals", "loops", "matrix"))  # sections


def problems_of(recipe: Recipe, name: str, matrix: Matrix) -> Iterator[Problem]:
    """All problems of a matrix that don't need its combinations."""
    key: KeyPath = ("matrix", name)
    if name in recipe.evals:
        yield Problem(key, "a matrix and an evaluation share a name", name, "one name for each file in results/")
    if matrix.eval not in recipe.evals:
        yield unknown((*key, "eval"), "no such evaluation", matrix.eval, recipe.evals)
    elif not isinstance(block := recipe.evals[matrix.eval], ComparedEval):
        what, expected = "the evaluation doesn't compare checkpoints", "an evaluation with a key `compare_to`"
        yield Problem((*key, "eval"), what, f"method {block.method}", expected)
    for place, stage in enumerate(matrix.score):
        if stage not in recipe.stages:
            yield unknown((*key, "score", place), "no such stage", stage, recipe.stages)
    yield from _levels(key, matrix)
    for axis, level, target in _targets(matrix):
        yield from _target(recipe, (*key, "axes", axis, level, target), target)
    yield from _overlaps(key, matrix)


def _targets(matrix: Matrix) -> Iterator[tuple[str, str, str]]:
    """Axis, level and dotted name of each value that is set."""
    for axis, levels in matrix.axes.items():
        for level, values in levels.items():
            yield from ((axis, level, target) for target in values)


def _levels(key: KeyPath, matrix: Matrix) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for axis, levels in matrix.axes.items():
        own = [level for level, values in levels.items() if not values]
        if len(own) != 1:
            what = "an axis needs one level with the recipe's own values, with which the others are compared"
            yield Problem((*key, "axes", axis), what, ", ".join(own) or "none", "one level `<name>: {}`")
        for level in levels:
            if level in seen:
                found = f"{level}, of the axes {seen[level]} and {axis}"
                what = "two levels share a name, and copies of blocks are named by levels"
                yield Problem((*key, "axes", axis, level), what, found, "a name for each level")
            seen.setdefault(level, axis)


def _target(recipe: Recipe, key: KeyPath, target: str) -> Iterator[Problem]:
    """Whether a dotted name is one of a value that a level may set."""
    section, *rest = target.split(".")
    if section not in VARIED or not rest:
        problem = Problem(key, "a level sets values of blocks", target, " or ".join(f"{one}.…" for one in VARIED))
        yield replace(problem, hint="`<section>.<name>.seed` is the seed of one block" if target == "seed" else "")
        return
    place: Any = getattr(recipe, section)
    for number, part in enumerate(rest):
        known = _keys(place)
        if part not in known:
            around = ".".join([section, *rest[:number]])
            what = f"no such key in {around}" if number else f"no such block in {section}"
            yield unknown(key, what, part, known)
            return
        place = _inner(place, part)


def _keys(place: Any) -> list[str]:
    """The keys that a value may have."""
    if isinstance(place, BaseModel):
        return list(type(place).model_fields)
    if isinstance(place, list):
        return [str(number) for number in range(len(place))]
    return list(place) if isinstance(place, dict) else []


def _inner(place: Any, part: str) -> Any:
    if isinstance(place, BaseModel):
        return getattr(place, part)
    return place[int(part)] if isinstance(place, list) else place[part]


def _overlaps(key: KeyPath, matrix: Matrix) -> Iterator[Problem]:
    """Values that two axes set: their combination has no meaning."""
    for (axis, level, one), (other, _, two) in combinations(_targets(matrix), 2):
        short, long = sorted((f"{one}.", f"{two}."), key=len)
        if axis != other and long.startswith(short):
            found = f"{one}, by {axis}, and {two}, by {other}"
            yield Problem((*key, "axes", axis, level, one), "two axes set one value", found, "values of its own")
            return
