"""Texts of rows and models for the page: without secrets, cut to their starts, with escapes for what is invisible."""

import json
from typing import Any, NamedTuple

from bezoar.page.html import words
from bezoar.steps.data.secrets import redacted

STORED = 2000  # characters of a text on the page
# The columns with texts, in the order in which they are shown; rows of other forms are shown as JSON.
COLUMNS = (
    "system",
    "instruction",
    "context",
    "messages",
    "prompt",
    "response",
    "completion",
    "chosen",
    "rejected",
    "gold",
)
OTHERS = ("text", "value")
REASON = 200  # characters of a reason that rows are counted by


class Text(NamedTuple):
    """The start of a text.

    Attributes:
        text: What the page has of it.
        more: Characters that it has besides.
    """

    text: str
    more: int


def text_of(value: Any, most: int = STORED) -> Text:
    """A value as a text for the page."""
    text = value if isinstance(value, str) else as_text(value)
    start = redacted(text[: 2 * most], set())  # a secret at the cut stays whole for the patterns
    return Text(words(start[:most]), max(0, len(text) - most))


def reason_of(text: str) -> str:
    """A reason that rows are counted by; it may be a model's text of any length."""
    start = words(text[:REASON])
    return f"{start}\u2026" if len(text) > REASON else start


def as_text(value: Any) -> str:
    """A dialogue by its turns, anything else as JSON."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        return "\n".join(f"[{turn.get('role')}] {turn['content']}" for turn in value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def texts_of(row: dict[str, Any]) -> list[tuple[str, Text]]:
    """The texts of a row by column."""
    names = [name for name in (*COLUMNS, *OTHERS) if row.get(name)]
    return [(name, text_of(row[name])) for name in names] if names else [("row", text_of(row))]
