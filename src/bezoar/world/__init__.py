"""The embedded world: a small closed world of instructions whose every response can be graded by rule.

It replaces seed data, teacher, judge and benchmarks without a network, and needs only the standard library.
"""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.world import sets, text
from bezoar.world.checks import ITEMS, fifths, meets
from bezoar.world.dialogue import parse
from bezoar.world.judging import judge_prompts
from bezoar.world.teaching import Lessons
from bezoar.world.verifier import Grade, grade, held_out
from bezoar.world.words import TOPICS

__all__ = ["ITEMS", "SETS", "TOPICS", "Grade", "build", "fifths", "grade", "held_out", "meets", "parse"]

_DRAWN: dict[str, Callable[[random.Random], Iterator[dict[str, Any]]]] = {
    "seed_tasks": sets.seed_tasks,
    "dolly": sets.dolly,
    "flan": sets.flan,
    "preferences": sets.preferences,
    "questions": sets.questions,
    "multiple_choice": sets.multiple_choice,
    "preference_choices": sets.preference_choices,
    "generation": sets.generation,
}
SETS = tuple(sorted((*_DRAWN, "text", "teacher", "references", "judge_prompts")))


def build(name: str, rows: int, seed: int, prompts: Path | None = None) -> list[dict[str, Any]]:
    """The rows of a set; the same bytes for the same arguments.

    Args:
        name: One of `SETS`.
        rows: How many; of `references`, how many questions they belong to, and nothing for `judge_prompts`.
        seed: `references` answer the `questions` of the same seed and rows.
        prompts: The folder whose templates the `teacher` is taught; no other set needs one.

    Raises:
        ValueError: There is no set of that name, or `teacher` has no prompts.
    """
    generator = random.Random(f"{seed}:{'questions' if name == 'references' else name}")
    if name in _DRAWN:
        return list(islice(_DRAWN[name](generator), rows))
    if name == "text":
        return [{"text": text.document(generator)} for _ in range(rows)]
    if name == "teacher":
        if prompts is None:
            raise InputError(
                problem("the set `teacher` needs prompts", found="none", expected="a folder of prompt files")
            )
        lessons = Lessons(prompts)
        return [lessons.draw(generator) for _ in range(rows)]
    if name == "references":
        return sets.references(list(islice(sets.questions(generator), rows)))
    if name == "judge_prompts":
        return judge_prompts()
    raise InputError(problem("the embedded world has no such set", found=name, expected=", ".join(SETS)))
