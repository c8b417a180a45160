"""Self-Instruct's seed tasks."""

from typing import Any

from bezoar.steps.data.formats.common import Format, optional_text, text_in
from bezoar.steps.data.rows import SeedRow, row_id


def convert(row: dict[str, Any]) -> SeedRow:
    """Self-Instruct's seed tasks: an instruction with instances of input and output; the first instance is kept."""
    instruction, instance = text_in(row, "instruction"), row["instances"][0]
    return SeedRow(
        id=row_id("seed_tasks", row["id"], instruction),
        instruction=instruction,
        context=optional_text(instance, "input"),
        response=optional_text(instance, "output"),
        category="classification" if row.get("is_classification") else None,
    )


FORMAT = Format(
    "seed_tasks",
    convert,
    ("instruction", "instances"),
    ("prompt_completion",),
    optional=("id", "is_classification"),
    further=lambda row: row["instances"][1:],
)
