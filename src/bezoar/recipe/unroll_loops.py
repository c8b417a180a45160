"""Unroll the loops of a recipe: each round's blocks become ordinary ones, which no rule tells from others.

A round is its own blocks, so more rounds leave the earlier ones as they are.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bezoar.blocks import Name
from bezoar.problems import KeyPath, Problem, RecipeError, of_validation, report, unknown
from bezoar.recipe.loop import Loop
from bezoar.recipe.recipe import BLOCKS
from bezoar.recipe.unrolled import Unrolled, line_of, too_long

PLACEHOLDER = re.compile(r"\{(\w+)\}")
ROUND, PREVIOUS, BEFORE, EACH = "round", "previous", "before", "each"
WORDS = (ROUND, PREVIOUS, BEFORE)
SECTIONS = (*BLOCKS, "resources")  # that may have what a loop makes


class _Loops(BaseModel):
    """The loops of a params file, whose other keys may not fit yet."""

    loops: dict[Name, Loop]


class _Round:
    """One round of a loop: fills its templates in.

    Attributes:
        origins: By key of a made value, the key of its template.
        problems: What is wrong with the templates.
    """

    def __init__(self, name: str, loop: Loop, number: int) -> None:
        self.loop, self.number = loop, number
        before = loop.start if number == 1 else f"{name}_{number - 1}"
        self.words: Mapping[str, Any] = {ROUND: number, PREVIOUS: number - 1, BEFORE: before}
        self.origins: dict[KeyPath, KeyPath] = {}
        self.problems: list[Problem] = []

    def name(self, template: str, origin: KeyPath) -> str:
        """The name of a block in this round."""
        whole = template if f"{{{ROUND}}}" in template else f"{template}_{{{ROUND}}}"
        return str(self._text(whole, origin))

    def value(self, template: Any, key: KeyPath, origin: KeyPath) -> Any:
        """A value of this round."""
        self.origins[key] = origin
        if isinstance(template, dict) and set(template) == {EACH}:
            return self._entry(template[EACH], key, (*origin, EACH))
        if isinstance(template, dict):
            pairs = [(str(self._text(str(name), (*origin, name))), name, one) for name, one in template.items()]
            return {new: self.value(one, (*key, new), (*origin, name)) for new, name, one in pairs}
        if isinstance(template, list):
            return [self.value(one, (*key, place), (*origin, place)) for place, one in enumerate(template)]
        return self._text(template, origin) if isinstance(template, str) else template

    def _entry(self, entries: Any, key: KeyPath, origin: KeyPath) -> Any:
        """The entry of this round; the last one if there are fewer."""
        if not isinstance(entries, list) or not entries:
            found = "an empty list" if entries == [] else repr(entries)
            self.problems.append(Problem(origin, "no value by round", found, "a list with a value for each round"))
            return None
        place = min(self.number, len(entries)) - 1
        return self.value(entries[place], key, (*origin, place))

    def _text(self, template: str, origin: KeyPath) -> Any:
        """A text with its placeholders filled in; a placeholder alone may be a number."""
        alone = PLACEHOLDER.fullmatch(template)
        if alone and alone[1] in WORDS:
            return self._word(alone[1], origin)
        return PLACEHOLDER.sub(lambda match: str(self._filled(match, origin)), template)

    def _filled(self, match: re.Match[str], origin: KeyPath) -> Any:
        word = match[1]
        if word == PREVIOUS and self.number == 1:
            what, hint = "round 1 has no round before it", "each: [<without it>, <with it>]"
            self.problems.append(Problem(origin, what, match[0], "a value of its own for round 1", hint))
        if word in WORDS:
            return self._word(word, origin)
        if difflib.get_close_matches(word, WORDS, cutoff=0.7):  # others, such as {port}, are not the loop's
            self.problems.append(unknown(origin, "no such placeholder", word, WORDS))
        return match[0]

    def _word(self, word: str, origin: KeyPath) -> Any:
        if self.words[word] is None:
            expected = "`start: <checkpoint>` in the loop"
            self.problems.append(Problem(origin, "round 1 starts from no checkpoint", f"{{{word}}}", expected))
        return self.words[word]


def unroll_loops(data: Any, lines: dict[KeyPath, int], path: str) -> Unrolled:
    """The data with the blocks of all rounds.

    Args:
        data: The content of the params file.
        lines: The lines of its keys.
        path: The file, for messages.

    Raises:
        RecipeError: A loop has problems.
    """
    made = Unrolled(dict(data) if isinstance(data, dict) else data, dict(lines), {})
    if not isinstance(data, dict) or not data.get("loops"):
        return made
    try:
        loops = _Loops.model_validate(data).loops
    except ValidationError as error:
        raise RecipeError(report(path, of_validation(error, data, _Loops), lines)) from error
    problems = [one for name, loop in loops.items() for one in _unroll(made, name, loop)]
    if problems:
        distinct = {(one.key, one.what): one for one in problems}
        raise RecipeError(report(path, list(distinct.values()), made.lines))
    return made


def _unroll(made: Unrolled, name: str, loop: Loop) -> Iterator[Problem]:
    """Add the blocks of a loop's rounds."""
    yield from _check(name, loop)
    for number in range(1, loop.rounds + 1):
        yield from _add(made, name, loop, number)
    _score(made, name, loop)


def _check(name: str, loop: Loop) -> Iterator[Problem]:
    for section in loop.blocks:
        if section not in SECTIONS:
            yield unknown(("loops", name, "blocks", section), "no section of blocks", section, SECTIONS)
    own = _Round(name, loop, 1)
    stages = [own.name(one, ()) for one in loop.blocks.get("stages", {})]
    if f"{name}_1" not in stages and (loop.start is not None or loop.evals):
        key: KeyPath = ("loops", name, "start" if loop.start is not None else "evals")
        found = ", ".join(loop.blocks.get("stages", {})) or "no stage"
        what = "the loop has no stage of its name, whose checkpoint is that of a round"
        yield Problem(key, what, found, f"blocks.stages.{name}_{{{ROUND}}}")


def _add(made: Unrolled, name: str, loop: Loop, number: int) -> Iterator[Problem]:
    """Add a round's blocks."""
    one = _Round(name, loop, number)
    for section, templates in loop.blocks.items():
        if section not in SECTIONS or not isinstance(made.data.get(section, {}), dict | None):
            continue  # told elsewhere
        blocks = dict(made.data.get(section) or {})
        for template, content in templates.items():
            origin: KeyPath = ("loops", name, "blocks", section, template)
            block = one.name(template, origin)
            yield from too_long(origin, block, "shorten the name of the loop's block")
            if block in blocks:
                what, hint = f"{section}.{block} is there already", f"change {'.'.join(map(str, origin))} in its place"
                yield Problem((section, block), what, "a block of this name", f"no block that loop {name} makes", hint)
                continue
            blocks[block] = one.value(content, (section, block), origin)
            made.made[section, block] = f"loop {name}, round {number}"
        made.data[section] = blocks
    for key, origin in one.origins.items():
        if line := line_of(origin, made.lines):
            made.lines[key] = line
    yield from one.problems


def _score(made: Unrolled, name: str, loop: Loop) -> None:
    """Add the checkpoint of each round to the loop's evaluations."""
    evals = made.data.get("evals")
    for place, evaluation in enumerate(loop.evals):
        block = evals.get(evaluation) if isinstance(evals, dict) else None
        if not isinstance(block, dict) or not isinstance(block.get("checkpoints"), list):
            continue  # told elsewhere
        new = [f"{name}_{number}" for number in range(1, loop.rounds + 1)]
        add_checkpoints(made, evaluation, new, ("loops", name, "evals", place))


def add_checkpoints(made: Unrolled, evaluation: str, new: list[str], origin: KeyPath) -> None:
    """Let an evaluation score more checkpoints, which `origin` says; the user's own lists stay as they are."""
    evals = made.data["evals"]
    old = evals[evaluation]["checkpoints"]
    found = list(dict.fromkeys([*old, *new]))
    made.data["evals"] = {**evals, evaluation: {**evals[evaluation], "checkpoints": found}}
    for place in range(len(old), len(found)):
        made.lines["evals", evaluation, "checkpoints", place] = line_of(origin, made.lines) or 1
