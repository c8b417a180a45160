"""Whether a training text repeats an evaluation item."""

import json
import re
from collections.abc import Iterable
from typing import Any

from bezoar.errors import InputError, problem

WORD = re.compile(r"\w+")
LONGEST = 13  # shared words in a row that count as a leak (Brown et al. 2020, arXiv:2005.14165, appendix C)
SHORTEST = 8  # shorter items match only as a whole: their parts are everyday phrases
TEXT_FIELDS = ("turns", "instruction", "question", "text", "messages")


class EvaluationItems:
    """The word sequences of evaluation items, for look-ups."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.grams: dict[int, set[tuple[str, ...]]] = {}
        self.short: set[tuple[str, ...]] = set()
        for text in texts:
            words = _words(text)
            if len(words) < SHORTEST:
                self.short.add(words)
                continue
            size = min(LONGEST, len(words))
            self.grams.setdefault(size, set()).update(_grams(words, size))

    def leaks_into(self, text: str) -> bool:
        """Whether the text shares 13 words in a row with an item.

        An item of 8 to 12 words has to be in the text as a whole; a shorter item has to be the whole text.
        """
        words = _words(text)
        if words in self.short and words:
            return True
        return any(not grams.isdisjoint(_grams(words, size)) for size, grams in self.grams.items())


def texts_of(row: Any, where: str = "evaluation item") -> list[str]:
    """The texts of an evaluation row: a question's turns, an item's instruction or question, user turns of messages.

    Null isn't a text.

    Args:
        row: The row.
        where: File and line, for errors.

    Raises:
        ValueError: The row isn't an object, or one of these fields isn't text.
    """
    if not isinstance(row, dict):
        raise InputError(
            problem(f"{where}: not an object", found=f"{json.dumps(row):.100}", expected=f"one of {TEXT_FIELDS}")
        )
    texts: list[str] = []
    for field in TEXT_FIELDS:
        value = row.get(field)
        for text in map(_asked, value) if isinstance(value, list) else [value]:
            if text is not None and not isinstance(text, str):
                raise InputError(
                    problem(
                        f"{where}: {field!r} isn't text",
                        found=f"{json.dumps(value):.100}",
                        expected="a text, or a list of texts",
                    )
                )
            texts += [text] if text is not None else []
    return texts


def _asked(turn: Any) -> Any:
    """The text of a message of the user; None for another message, and anything else as it is."""
    if isinstance(turn, dict) and isinstance(turn.get("role"), str) and "content" in turn:
        return turn["content"] if turn["role"] == "user" else None
    return turn


def _words(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.casefold()))


def _grams(words: tuple[str, ...], size: int) -> Iterable[tuple[str, ...]]:
    return {words[start : start + size] for start in range(len(words) - size + 1)}
