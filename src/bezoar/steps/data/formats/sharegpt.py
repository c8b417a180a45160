"""ShareGPT's conversations."""

from typing import Any

from bezoar.steps.data.formats.common import Format
from bezoar.steps.data.formats.turns import TOOLS, are_turns, chat_row, messages_in
from bezoar.steps.data.rows import ChatRow


def convert(row: dict[str, Any]) -> ChatRow:
    """A list of from and value, by human, gpt, system and tool."""
    return chat_row("sharegpt", messages_in(row, "conversations"))


FORMAT = Format(
    "sharegpt",
    convert,
    ("conversations",),
    ("prompt_completion",),
    optional=("system", *TOOLS),
    fits=lambda row: are_turns(row["conversations"]),
    values="lists of from and value",
)
