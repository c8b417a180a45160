"""FLAN submixes."""

from typing import Any

from bezoar.steps.data.formats.common import Format, optional_text, text_in
from bezoar.steps.data.rows import SeedRow, Unusable, row_id

TEMPLATES = ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt")  # as in rows; names of mixtures have zsopt


def convert(row: dict[str, Any]) -> SeedRow:
    """FLAN submix rows: inputs and targets with task_source, task_name and template_type."""
    query = text_in(row, "inputs")
    if row["template_type"] not in TEMPLATES:
        raise Unusable(f"template_type is none of {', '.join(TEMPLATES)}")
    return SeedRow(
        id=row_id("flan", row["task_source"], row["task_name"], query),
        instruction=query,
        context=None,
        response=optional_text(row, "targets"),
        category=None,
        task_source=row["task_source"],
        task_name=row["task_name"],
        template_type=row["template_type"],
    )


FORMAT = Format(
    "flan",
    convert,
    ("inputs", "targets", "task_source", "template_type"),
    ("prompt_completion",),
    optional=("task_name",),
)
