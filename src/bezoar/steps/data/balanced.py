"""A subset of a benchmark's questions, balanced over its categories, for a pilot."""

import hashlib
from itertools import groupby
from typing import Any


def some_of(questions: list[Any], count: int, seed: int) -> list[Any]:
    """A number of questions (QuestionRow) in their order, spread over the categories as evenly as possible.

    A smaller part is contained in a larger one of the same seed.
    """

    def rank(*parts: object) -> str:
        return hashlib.sha256(":".join(map(str, (seed, *parts))).encode()).hexdigest()

    ordered = sorted(questions, key=lambda one: (one.category, rank(one.question_id)))
    placed = [
        (place, rank(category), one.question_id)
        for category, members in groupby(ordered, key=lambda one: one.category)
        for place, one in enumerate(members)
    ]
    chosen = {number for *_, number in sorted(placed)[:count]}
    return [one for one in questions if one.question_id in chosen]
