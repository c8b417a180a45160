"""Multiple-choice items out of seed tasks: the right text among those of three other tasks."""

from typing import Any

ITEMS, CHOICES = 30, 4
MOST_WORDS = 80


def answers(dataset: Any) -> Any:
    """Which answer belongs to a task."""
    return _items(dataset, "instruction", "response")


def questions(dataset: Any) -> Any:
    """Which task belongs to an answer."""
    return _items(dataset, "response", "instruction", "An assistant said:\n\n{}\n\nWhat was it asked?")


def _items(dataset: Any, given: str, wanted: str, layout: str = "{}") -> Any:
    """The first tasks with short texts; the wrong choices are those of the next three tasks."""
    rows = [row for row in dataset if _is_short(row)][:ITEMS]
    made = []
    for place, row in enumerate(rows):
        others = [rows[(place + step) % len(rows)][wanted] for step in range(1, CHOICES)]
        answer = place % CHOICES
        choices = [*others[:answer], row[wanted], *others[answer:]]
        made.append({"question": layout.format(row[given]), "choices": choices, "answer": answer})
    return dataset.from_list(made)


def _is_short(row: dict[str, Any]) -> bool:
    texts = (row["instruction"], row["response"])
    return row["context"] is None and all(text and len(text.split()) <= MOST_WORDS for text in texts)
