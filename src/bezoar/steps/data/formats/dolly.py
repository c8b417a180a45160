"""databricks-dolly-15k."""

from typing import Any

from bezoar.steps.data.formats.common import Format, optional_text, text_in
from bezoar.steps.data.rows import SeedRow, row_id


def convert(row: dict[str, Any]) -> SeedRow:
    """databricks-dolly-15k: instruction, context, response and, in the full set, a category."""
    instruction, context = text_in(row, "instruction"), optional_text(row, "context")
    return SeedRow(
        id=row_id("dolly", instruction, context or ""),
        instruction=instruction,
        context=context,
        response=optional_text(row, "response"),
        category=optional_text(row, "category"),
    )


FORMAT = Format(
    "dolly", convert, ("instruction", "context", "response"), ("prompt_completion",), optional=("category",)
)
