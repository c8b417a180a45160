"""What every block of params.yaml has in common."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Path = Annotated[str, StringConstraints(min_length=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["float32", "bfloat16", "float16"]


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", text):
        raise PydanticCustomError("commit", "the 40 hexadecimal digits of a commit; a branch or a tag can move")
    return text


Commit = Annotated[str, AfterValidator(_commit)]


class Block(BaseModel):
    """A block of params.yaml: every key known, every value shown and of its type, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Sampling(Block):
    """How a model draws its tokens."""

    temperature: float = Field(ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float = Field(gt=0, le=1, description="Only the likeliest tokens of this total probability are drawn.")
    max_new_tokens: int = Field(ge=1, description="Tokens after which a response is cut.")


class Prompt(Block):
    """The student's prompt (bezoar.chat.student_prompt) as far as it is a choice."""

    system: str = Field(description="System text where a row brings none.")
