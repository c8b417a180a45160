"""Public row formats, one module each; a new one is added to the list here."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bezoar.steps.data.formats import chat, dolly, flan, hh_rlhf, items, mtbench, seed_tasks, text
from bezoar.steps.data.formats.common import Format, Normal

__all__ = ["FORMATS", "Format", "Normal", "RowFormat"]

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        text.FORMAT,
        chat.FORMAT,
        dolly.FORMAT,
        flan.FORMAT,
        seed_tasks.FORMAT,
        hh_rlhf.FORMAT,
        mtbench.QUESTIONS,
        mtbench.REFERENCES,
        mtbench.JUDGE_PROMPTS,
        items.FORMAT,
    )
}


def _known(name: str) -> str:
    if name not in FORMATS:
        raise PydanticCustomError("literal_error", "{expected}", {"expected": ", ".join(f"'{one}'" for one in FORMATS)})
    return name


RowFormat = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(FORMATS)})]
