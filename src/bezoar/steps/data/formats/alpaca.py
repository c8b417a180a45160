"""Stanford Alpaca's rows, with LLaMA-Factory's columns for a system text and earlier turns."""

from typing import Any

from bezoar.steps.data.formats.common import Format, optional_text, text_in
from bezoar.steps.data.formats.turns import TOOLS, chat_row, under_system
from bezoar.steps.data.rows import ChatRow, Unusable, dialogue


def convert(row: dict[str, Any]) -> ChatRow:
    """An instruction with the input that it is about, perhaps, and its output."""
    asked = "\n\n".join(filter(None, (text_in(row, "instruction"), optional_text(row, "input"))))
    turns = dialogue(*_earlier(row.get("history")), asked, text_in(row, "output"))
    return chat_row("alpaca", under_system(row, turns))


def _earlier(history: Any) -> list[str]:
    """The turns of pairs of instruction and output."""
    pairs = history or []
    texts = [text for pair in pairs for text in pair]
    if any(len(pair) != 2 for pair in pairs) or not all(isinstance(text, str) for text in texts):
        raise Unusable("history is not a list of pairs")
    return [text.strip() for text in texts]


FORMAT = Format(
    "alpaca",
    convert,
    ("instruction", "output"),
    ("prompt_completion",),
    optional=("input", "system", "history", *TOOLS),
)
