"""The base classes of blocks of params.yaml, and the types of their values."""

import os
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
        sections: Sections of the recipe that may have the block.
        what: The error if none has it.
        formats: Formats that a source of this name may have; any if empty.
        trait: Attribute that has to be true for the named block; none if empty.
        hint: What to do about a block without it.
    """

    sections: tuple[str, ...]
    what: str
    formats: tuple[str, ...] = ()
    trait: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Existing:
    """Marks a path as one that has to exist.

    Attributes:
        kind: What has to be there; `rows` is a file, a folder with files, or a pattern that files have.
        outside: Whether it may be outside of the project's root.
    """

    kind: Literal["file", "folder", "rows"]
    outside: bool = False


def _at_home(text: str) -> str:
    return os.path.normpath(os.path.expanduser(text))  # a job has another home


FilePath = Annotated[Path, Existing("file")]
FolderPath = Annotated[Path, Existing("folder")]
RowsPath = Annotated[Path, AfterValidator(_at_home), Existing("rows", outside=True)]
ModelPath = Annotated[Path, AfterValidator(_at_home), Existing("folder", outside=True)]
SourceName = Annotated[Name, Reference(("sources",), "no such source")]
ModelName = Annotated[Name, Reference(("models",), "no such model")]
FilterName = Annotated[Name, Reference(("filters",), "no filter that judges", trait="decides")]
MixName = Annotated[Name, Reference(("mixes",), "no such mix")]
BackendName = Annotated[Name, Reference(("backends",), "no such backend")]
TeacherName = Annotated[Name, Reference(("backends",), "no backend that can write", trait="writes")]


class Block(BaseModel):
    """A block of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Terms(Block):
    """A licence that SPDX doesn't list, or terms of use."""

    name: str = Field(min_length=1, max_length=120, pattern=r"^[^\n|]+$")
    link: str | None = Field(None, pattern=r"^https?://\S+$", description="Where its text is.")
    commercial: bool | None = Field(None, description="Whether it permits commercial use; null if nobody has looked.")
    share_alike: bool = Field(False, description="Whether what is made of it has to have the same licence.")
    note: str | None = Field(None, pattern=r"^[^\n|]+$", description="What else it asks for; cards state it.")


Licence = Annotated[str, StringConstraints(min_length=1)] | Terms


class NamedBlock(Block):
    """A block with a name in a section of params.yaml.

    Attributes:
        section: The section.
        rules: Rules with a job for each such block.
        asks: By rule, the keys of the block that name the backends of the rule's requests; null asks nobody.
    """

    section: ClassVar[str] = ""
    rules: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[dict[str, tuple[str, ...]]] = {}
    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """Its key in its section; empty for a block outside of a recipe."""
        return self._name

    def asked_by(self, rule: str) -> dict[str, str]:
        """By key, the names of the backends that a rule's jobs of this block send requests to, each name once."""
        keys = {getattr(self, key): key for key in reversed(self.asks.get(rule, ()))}
        return {key: name for name, key in reversed(keys.items()) if name is not None}

    def stage_names(self) -> list[str]:
        """Names of the DVC stages that make its artifacts: rule and block, such as `train-dpo_hh`."""
        return [f"{rule}-{self.name}" for rule in self.rules]


class Sampling(Block):
    """How a model draws its tokens."""

    temperature: float = Field(0.0, ge=0, le=2, description="0 always takes the most likely token.")
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Draws from the most likely tokens of this total probability only; 1 draws from all.",
    )
    max_new_tokens: int = Field(512, ge=1, description="Most tokens of a response.")


class Prompt(Block):
    """What a student is told before a dialogue; the layout is the chat template of its model."""

    system: str | None = Field(
        None,
        description="System text for rows without one; null leaves it to the chat template, which may have a default.",
    )
