"""Public row formats, one module each; a new one is added to the list here."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bezoar.steps.data.formats import (
    alpaca,
    chat,
    dolly,
    flan,
    hh_rlhf,
    items,
    messages,
    mtbench,
    pairs,
    preference,
    seed_tasks,
    sharegpt,
    text,
)
from bezoar.steps.data.formats.common import Format, Normal

__all__ = ["FORMATS", "Format", "Normal", "RowFormat"]

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        text.FORMAT,
        messages.FORMAT,
        sharegpt.FORMAT,
        alpaca.FORMAT,
        pairs.PROMPT_COMPLETION,
        pairs.PROMPT_RESPONSE,
        pairs.QUESTION_ANSWER,
        chat.FORMAT,
        preference.PREFERENCE,
        preference.IMPLICIT_PREFERENCE,
        hh_rlhf.FORMAT,
        dolly.FORMAT,
        flan.FORMAT,
        seed_tasks.FORMAT,
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
