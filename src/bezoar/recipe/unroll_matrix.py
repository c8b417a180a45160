"""Unroll the matrices of a recipe: each combination of levels gets its own copies of the blocks that it changes.

A block is copied only if its values differ, or it is built from one whose values do. So combinations share what is the
same, as if somebody had written their blocks by hand, and no rule tells a copy from another block.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any

from pydantic import ValidationError

from bezoar.problems import KeyPath, Problem, RecipeError, of_validation, report
from bezoar.recipe.links import Links
from bezoar.recipe.matrix_problems import problems_of
from bezoar.recipe.recipe import SECTIONS, Recipe
from bezoar.recipe.unroll_loops import add_checkpoints
from bezoar.recipe.unrolled import Block, Unrolled, below, line_of, too_long
from bezoar.steps.evaluate.matrix import Matrix

Levels = Mapping[str, str]  # by axis


class _Copies:
    """The names of all copies: one name for one content, in all matrices of a recipe."""

    def __init__(self, base: Links, recipe: Recipe) -> None:
        self.base = base
        self.originals: dict[Block, Block] = {}
        self._names: dict[tuple[Block, str], str] = {}
        self._taken = {(section, name) for section in SECTIONS for name in getattr(recipe, section)}

    def name(self, block: Block, links: Links) -> str | None:
        """The name of a block with what it is in a combination; None if it is a copy without a name."""
        digest = links.digest(block)
        return block[1] if digest == self.base.digest(block) else self._names.get((block, digest))

    def add(self, block: Block, links: Links, name: str) -> bool:
        """Name a copy; false if another block has that name."""
        section, _ = block
        if (section, name) in self._taken:
            return False
        self._taken.add((section, name))
        self._names[block, links.digest(block)] = name
        self.originals[section, name] = block
        return True


def unroll_matrices(made: Unrolled, recipe: Recipe, path: str) -> Unrolled:
    """The data with the copies of all combinations.

    Args:
        made: The data, with the blocks of loops.
        recipe: The same as a recipe.
        path: The file, for messages.

    Raises:
        RecipeError: A matrix has problems, or a combination is no recipe.
    """
    waiting = {name: matrix for name, matrix in recipe.matrix.items() if not matrix.chains}
    if not waiting:
        return made
    if problems := [one for name, matrix in waiting.items() for one in problems_of(recipe, name, matrix)]:
        raise RecipeError(report(path, problems, made.lines))
    made = Unrolled(dict(made.data), dict(made.lines), dict(made.made))
    copies = _Copies(Links(recipe), recipe)
    for name, matrix in waiting.items():
        one = _Unrolling(made, copies, name, matrix, path)
        if problems := [*one.names()]:
            raise RecipeError(report(path, problems, made.lines))
        one.add()
    _share_limits(made, copies.originals)
    return made


class _Unrolling:
    """One matrix that is unrolled into a recipe's data.

    Attributes:
        combinations: All combinations of levels, the last axis fastest.
        links: By the levels of a combination, the blocks of the recipe with its values.
    """

    def __init__(self, made: Unrolled, copies: _Copies, name: str, matrix: Matrix, path: str) -> None:
        self.made, self.copies, self.name, self.matrix, self.path = made, copies, name, matrix, path
        self.scored: list[Block] = [("stages", stage) for stage in matrix.score]
        self.bases = {axis: matrix.base(axis) for axis in matrix.axes}
        levels = product(*matrix.axes.values())
        self.combinations: list[Levels] = [dict(zip(matrix.axes, one, strict=True)) for one in levels]
        fewest_first = sorted(self.combinations, key=lambda one: len(self._own(one)))  # a level's own problems first
        self.links = {tuple(one.values()): self._linked(one) for one in fewest_first}

    def names(self) -> Iterator[Problem]:
        """Name all copies; problems of names, and levels that change nothing."""
        yield from self._idle()
        for levels in self.combinations:
            links = self._of(levels)
            for block in links.upstream(self.scored):
                if self.copies.name(block, links) is None:
                    changing = self._changing(block, levels)
                    name = "_".join([block[1], *changing.values()])
                    key = self._key(changing)
                    yield from too_long(key, f"{block[0]}.{name}", "shorten the names of levels")
                    if not self.copies.add(block, links, name):
                        what, expected = "a copy would have the name of another block", "other names of levels"
                        yield Problem(key, what, f"{block[0]}.{name}", expected)

    def add(self) -> None:
        """Add all copies to the data, their checkpoints to the evaluation, and the combinations to the matrix."""
        chains = []
        for levels in self.combinations:
            links = self._of(levels)
            for block in links.upstream(self.scored):
                self._copy(block, links, levels)
            ends = {name: self._name((section, name), links) for section, name in self.scored}
            chains.append({"levels": dict(levels), "checkpoints": ends})
        new = [one for chain in chains for one in chain["checkpoints"].values()]
        add_checkpoints(self.made, self.matrix.eval, new, ("matrix", self.name, "score"))
        matrices = self.made.data["matrix"]
        self.made.data["matrix"] = {**matrices, self.name: {**matrices[self.name], "chains": chains}}

    def _of(self, levels: Levels) -> Links:
        return self.links[tuple(levels.values())]

    def _own(self, levels: Levels) -> dict[str, str]:
        """The levels of a combination with values of their own."""
        return {axis: level for axis, level in levels.items() if level != self.bases[axis]}

    def _key(self, levels: Levels) -> KeyPath:
        """The key of the first of some levels."""
        axis, level = next(iter(levels.items()))
        return ("matrix", self.name, "axes", axis, level)

    def _linked(self, levels: Levels) -> Links:
        """The recipe with the values of a combination; RecipeError if it is none."""
        values = deepcopy(self.copies.base.values)
        lines = dict(self.made.lines)
        for axis, level in self._own(levels).items():
            for target, value in self.matrix.axes[axis][level].items():
                _put(values, target, value)
                line = line_of((*self._key({axis: level}), target), lines)
                lines |= _lines_below(target, line, lines) | _lines_around(target, line)
        for key in ("loops", "matrix"):
            values.pop(key, None)
        try:
            return Links(Recipe.model_validate(values))
        except ValidationError as error:
            problems = of_validation(error, values, Recipe)
            raise RecipeError(report(self.path, problems, lines)) from error

    def _idle(self) -> Iterator[Problem]:
        """Levels that change no scored checkpoint, and levels that are equal."""
        for axis, levels in self.matrix.axes.items():
            seen: dict[tuple[str, ...], str] = {}
            for level in levels:
                links = self._of(self.bases | {axis: level})
                ends = tuple(links.digest(block) for block in self.scored)
                if ends in seen:
                    key, scored = self._key({axis: level}), " and ".join(self.matrix.score)
                    what = f"level {level} changes nothing that {scored} is built from, compared with {seen[ends]}"
                    targets = ", ".join(levels[level]) or "no value"
                    yield Problem(key, what, targets, f"other values of blocks that lead to {scored}")
                seen.setdefault(ends, level)

    def _changing(self, block: Block, levels: Levels) -> dict[str, str]:
        """The levels of a combination without which a block would be another one."""
        digest, own = self._of(levels).digest(block), self._own(levels)
        return {
            axis: level
            for axis, level in own.items()
            if self._of({**levels, axis: self.bases[axis]}).digest(block) != digest
        } or own

    def _name(self, block: Block, links: Links) -> str:
        name = self.copies.name(block, links)
        assert name is not None  # all are named
        return name

    def _copy(self, block: Block, links: Links, levels: Levels) -> None:
        """Add a block's copy, with the names of the copies that it is built from."""
        section, name = block
        new = self._name(block, links)
        if new in (self.made.data.get(section) or {}):
            return
        values = deepcopy(links.values[section][name])
        for key, other in links.named.get(block, []):
            _put(values, ".".join(map(str, key)), self._name(other, links))
        self.made.data[section] = {**self.made.data[section], new: values}
        changing = self._changing(block, levels)
        label = ", ".join(f"{axis} {level}" for axis, level in changing.items())
        made_by = [self.made.made.get(block), f"matrix {self.name}: {label}"]
        self.made.made[section, new] = ", ".join(filter(None, made_by))
        self._add_lines(block, new, changing)

    def _add_lines(self, block: Block, new: str, changing: Levels) -> None:
        section, name = block
        lines = {(section, new, *rest): line for rest, line in below(block, self.made.lines)}
        for axis, level in changing.items():
            for target in self.matrix.axes[axis][level]:
                if target.split(".")[:2] == [section, name]:
                    line = line_of((*self._key({axis: level}), target), self.made.lines)
                    copied = ".".join([section, new, *target.split(".")[2:]])
                    lines |= _lines_below(copied, line, lines)
        lines[section, new] = line_of(self._key(changing), self.made.lines) or 1
        self.made.lines.update(lines)


def _keys(target: str, place: Any) -> Iterator[tuple[Any, str | int]]:
    """Each value on the way of a dotted name, with the key that leads on."""
    for part in target.split("."):
        key: str | int = int(part) if isinstance(place, list) else part
        yield place, key
        place = place.get(key) if isinstance(place, dict) else place[key]


def _put(values: Any, target: str, value: Any) -> None:
    """Set a value by its dotted name."""
    *_, (place, key) = _keys(target, values)
    place[key] = value


def _lines_below(target: str, line: int | None, lines: Mapping[KeyPath, int]) -> dict[KeyPath, int]:
    """The line of a value that a level sets, for its key and all keys in it."""
    key = _path(target)
    return {key: line or 1} | {(*key, *rest): line or 1 for rest, _ in below(key, lines)}


def _lines_around(target: str, line: int | None) -> dict[KeyPath, int]:
    """The same line for the block of a value, and for all keys between: without the level, the block is sound."""
    key = _path(target)
    return {key[:length]: line or 1 for length in range(2, len(key))}


def _path(target: str) -> KeyPath:
    return tuple(int(part) if part.isdigit() else part for part in target.split("."))


def _share_limits(made: Unrolled, originals: Mapping[Block, Block]) -> None:
    """Give the jobs of copies the resources and the budget of the jobs of their originals."""
    recipe = Recipe.model_validate(made.data)
    stages = dict(_stage_pairs(recipe, originals))
    for keys in (("resources",), ("budget", "stages")):
        old: Any = made.data
        for key in keys:
            old = (old or {}).get(key)
        if new := {stage: old[one] for stage, one in stages.items() if old and one in old and stage not in old}:
            _replace(made.data, keys, {**old, **new})


def _replace(data: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a value in nested maps; maps that others may share stay as they are."""
    first, *rest = keys
    if rest:
        inner = dict(data[first])
        _replace(inner, rest, value)
        value = inner
    data[first] = value


def _stage_pairs(recipe: Recipe, originals: Mapping[Block, Block]) -> Iterator[tuple[str, str]]:
    """Stages of copies, each with that of its original."""
    scored = [name for block in recipe.evals.values() for name in block.stage_names()]
    for (section, new), (_, old) in originals.items():
        own = getattr(recipe, section)[new].stage_names()
        for stage in [*own, *(scored if section == "stages" else [])]:
            if stage.endswith(f"-{new}"):
                yield stage, stage.removesuffix(new) + old
