"""Mix kept rows and sources into one training set of dialogues in TRL's columns, with an eval split of whole families.

A mix holds messages: the chat template of a model renders them only where it is trained.

A part's rows are taken in the order of a hash of seed and row id, so that a smaller set is a subset of a larger one. No
eval row shares a family with train rows of this mix or of an earlier one. Earlier mixes are those of all stages that a
stage on this mix starts from, directly or not.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from bezoar.blocks import Block, Licence, Name, Share
from bezoar.steps.data.cleaning import Cleaning
from bezoar.steps.data.examples import Limit
from bezoar.steps.data.formats.common import MixFormat
from bezoar.steps.seeded import Seeded


class Part(Block):
    """An ingredient of a mix: rows of a scheme, source, selection or pairs; its name alone means all of its rows."""

    name: Name
    kind: Literal["scheme", "source", "selected", "pairs"] | None = Field(
        None,
        description="Kept rows of a scheme, a source, rows of a selection, or pairs. Null takes the scheme of this "
        "name, else the selection, else the pairs, else the source.",
    )
    rows: int | None = Field(None, ge=1, description="Rows drawn without replacement; null takes all.")

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


def part_of(part: Part) -> tuple[str, str]:
    """Section and name of the block whose rows a part takes."""
    sections = {"scheme": "filters", "source": "sources", "selected": "selections", "pairs": "pairs"}
    return sections[part.kind or "source"], part.name


class NearDuplicates(Block):
    """Which rows are too similar to stay beside each other; of two, the lower-rated one is dropped.

    The similarity of two texts is the Jaccard index of their sets of 5 words in a row (characters, in scripts without
    spaces): 1 for the same words, and for texts of fewer words also the only one.
    """

    pairs: float | None = Field(
        0.8,
        ge=0.75,
        le=1.0,
        description="Least similarity of both prompts and both responses at which a row is dropped; null drops none. "
        "0.8: Lee et al. 2022, arXiv:2107.06499, section 4.2.",
    )
    prompts: float | None = Field(
        None, ge=0.75, le=1.0, description="The same of prompts alone, whatever their responses are; null drops none."
    )
    within_families: bool = Field(
        True,
        description="Whether rows are also dropped for one of their own family, such as a rewrite of the same seed. "
        "Families are on one side of a split anyway.",
    )


class Mix(Seeded):
    """A training set in TRL's conversational columns."""

    section: ClassVar[str] = "mixes"
    rules: ClassVar[tuple[str, ...]] = ("mix", "certificate", "certified", "clearance", "dataset")

    format: MixFormat = "prompt_completion"
    parts: list[Part] = Field(min_length=1)
    eval_rows: int = Field(
        50,
        ge=1,
        description="Rows to hold out, in whole families that no earlier stage trained on.",
    )
    limit: Limit | None = None
    cleaning: Cleaning = Cleaning()
    near_duplicates: NearDuplicates | None = Field(
        NearDuplicates(), description="Near-duplicates to drop; null drops only rows with the same texts."
    )
    max_missing_share: Share = Field(
        0.75, description="Share of `rows` and `eval_rows` that may be missing; with 1, a part may be empty."
    )
    max_dropped_share: Share = Field(
        0.5, description="Share of a part's rows that may be duplicates, have no response, or be empty after the cut."
    )
    licence: Licence | None = Field(
        None,
        description="Licence under which it is published; null for those of its rows.",
    )
