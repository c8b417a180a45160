"""What every block of params.yaml has in common, and the types of its values."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Path = Annotated[str, StringConstraints(min_length=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Dtype = Literal["float32", "bfloat16", "float16"]


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", text):
        raise PydanticCustomError("commit", "the 40 hexadecimal digits of a commit; a branch or a tag can move")
    return text


Commit = Annotated[str, AfterValidator(_commit), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{40}$"})]


@dataclass(frozen=True)
class Reference:
    """Marks a value as the name of another block.

    Attributes:
        sections: Sections of the recipe in which it may be.
        what: Said of a name that none of them has.
        formats: Formats of rows that a source of this name may hold; any if empty.
        trait: Class attribute that has to be true of the named block; none if empty.
    """

    sections: tuple[str, ...]
    what: str
    formats: tuple[str, ...] = ()
    trait: str = ""


@dataclass(frozen=True)
class Existing:
    """Marks a path as one that has to exist below the project's root."""

    kind: Literal["file", "folder"]


FilePath = Annotated[Path, Existing("file")]
FolderPath = Annotated[Path, Existing("folder")]
SourceName = Annotated[Name, Reference(("sources",), "no such source")]
ModelName = Annotated[Name, Reference(("models",), "no such model")]
MixName = Annotated[Name, Reference(("mixes",), "no such mix")]
BackendName = Annotated[Name, Reference(("backends",), "no such backend")]
TeacherName = Annotated[Name, Reference(("backends",), "no backend that can write", trait="writes")]


class Block(BaseModel):
    """A block of params.yaml: every key known, every value of its type, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NamedBlock(Block):
    """A block that stands in a section of params.yaml under a name of its own.

    Attributes:
        section: Key of params.yaml under which such blocks stand.
        rules: Rules that have a job for each such block.
        asks: By rule, the key of the block that names the backend which the rule's jobs send requests to.
    """

    section: ClassVar[str] = ""
    rules: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[dict[str, str]] = {}
    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """Its key in its section; empty for a block that is of no recipe."""
        return self._name

    def stage_names(self) -> list[str]:
        """Names of the DVC stages that make its artifacts: rule and block, such as `train-dpo_hh`."""
        return [f"{rule}-{self.name}" for rule in self.rules]


class Sampling(Block):
    """How a model draws its tokens."""

    temperature: float = Field(0.0, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Only the likeliest tokens of this total probability are drawn; 1 draws from all."
    )
    max_new_tokens: int = Field(512, ge=1, description="Tokens after which a response is cut.")


class Prompt(Block):
    """The student's prompt (bezoar.steps.chat.student_prompt) as far as it is a choice."""

    system: str = Field("", description="System text where a row brings none.")
