"""Rows of system, instruction and response."""

from typing import Any

from bezoar.steps.data.formats.common import Format, text_in
from bezoar.steps.data.rows import ChatRow, dialogue, row_id


def convert(row: dict[str, Any]) -> ChatRow:
    """Rows of system, instruction and response; `system` may be null or missing."""
    system, instruction, response = row.get("system"), text_in(row, "instruction"), text_in(row, "response")
    name = row_id("chat", system or "", row["instruction"], row["response"])
    return ChatRow(id=name, family=name, messages=dialogue(instruction, response, system=system))


FORMAT = Format("chat", convert, ("instruction", "response"), ("prompt_completion",), optional=("system",))
