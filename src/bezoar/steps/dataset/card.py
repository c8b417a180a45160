"""What the recipe says of a mix that is published: the values of its card."""

from typing import ClassVar

from pydantic import Field, JsonValue

from bezoar.blocks import Block, NamedBlock
from bezoar.steps.data.formats.common import MixFormat


def _is_empty(value: object) -> bool:
    """Whether a value is left out: a recipe without such blocks keeps its cards."""
    return not value


class CardSource(Block):
    """A source of a mix's rows, or of the seeds of its schemes."""

    place: str = Field(description="Where it is from.")
    licence: str
    hub: str | None = Field(None, description="Its repository on the hub.")


class CardScheme(Block):
    """A scheme of a mix's rows, as its filter, or a baseline of it, keeps them."""

    scheme: str
    method: str
    seeds: str
    teacher: str = Field(description="The model that wrote its rows.")
    terms: str = Field(description="What the teacher's answers may be used for.")
    judge: str = Field(description="The model that filtered its rows; `rules` or `none` if none did.")


class Card(NamedBlock):
    """A mix's card, as far as the recipe knows it; `params.resolved.yaml` has one for each mix."""

    section: ClassVar[str] = "cards"

    recipe: str
    seed: int
    shards: int
    format: MixFormat
    parts: dict[str, str] = Field(description="Licences of rows, by kind and name of the part.")
    sources: dict[str, CardSource]
    schemes: dict[str, CardScheme] = Field(description="Schemes by the filter that keeps their rows.")
    unfiltered: list[str] = Field(
        [], exclude_if=_is_empty, description="Names of these that no filter keeps rows of; left out if empty."
    )
    paired: list[list[str]] = Field(
        [], exclude_if=_is_empty, description="Steps that score and pair rows, each with its name; left out if empty."
    )
    selections: dict[str, dict[str, JsonValue]] = Field(
        {}, exclude_if=_is_empty, description="Blocks of the selections that are parts of it."
    )
    licence: str | None = Field(
        description="The licence that the whole is published under; null for those of its rows."
    )
    head: dict[str, str | list[str]] = Field(description="The hub's keys of its licence.")
    inputs: list[list[str]] = Field(description="What it is made of, and the licence or terms of each.")
    notes: list[str] = Field(description="What these licences ask for.")
    languages: list[str] = Field(description="Languages that its rows were checked for; [] if they weren't.")
    tokenizer: str | None = Field(description="The model whose tokens are counted; null counts none.")
    settings: dict[str, JsonValue] = Field(description="The mix's own block.")
