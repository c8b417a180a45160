"""Raw text."""

from typing import Any

from bezoar.steps.data.formats.common import Format, text_in
from bezoar.steps.data.rows import TextRow, Unusable


def convert(row: dict[str, Any]) -> TextRow:
    """Rows of text; other columns are ignored."""
    if not text_in(row, "text"):
        raise Unusable("empty")
    return TextRow(text=row["text"])


FORMAT = Format("text", convert, ("text",))
