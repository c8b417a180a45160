"""Raw text."""

from typing import Any

from bezoar.steps.data.formats.common import Format, text_in
from bezoar.steps.data.rows import TextRow


def convert(row: dict[str, Any]) -> TextRow:
    """Rows of text; other columns are ignored."""
    text_in(row, "text")  # refuses an empty one; the text keeps its whitespace
    return TextRow(text=row["text"])


FORMAT = Format("text", convert, ("text",))
