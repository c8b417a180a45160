"""OpenAI's messages, as in fine-tuning files and most chat sets of the hub."""

from typing import Any

from bezoar.steps.data.formats.common import Format
from bezoar.steps.data.formats.turns import TOOLS, are_turns, chat_row, messages_in
from bezoar.steps.data.rows import ChatRow


def convert(row: dict[str, Any]) -> ChatRow:
    """A list of role and content; a row with calls of functions is refused."""
    return chat_row("messages", messages_in(row, "messages"))


FORMAT = Format(
    "messages",
    convert,
    ("messages",),
    ("prompt_completion",),
    optional=("system", *TOOLS),
    fits=lambda row: are_turns(row["messages"]),
    values="lists of role and content",
)
