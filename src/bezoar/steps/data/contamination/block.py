"""The block of params.yaml about training rows that repeat evaluation items."""

from typing import Literal

from pydantic import Field

from bezoar.blocks import Block, Share


class Contamination(Block):
    """What becomes of rows of a mix that repeat an item of an evaluation of this recipe."""

    policy: Literal["drop", "block"] = Field(
        "drop",
        description="drop trains without these rows; with block, nothing is trained on a mix that has one.",
    )
    overlap: float = Field(
        0.7,
        gt=0.5,
        le=1,
        description="Share of an item's words, from 13 words on, in pairs that a row has close together: it finds "
        "edited items. Measured in docs/appendix/contamination.md.",
    )
    max_dropped_share: Share = Field(
        0.5, description="Share of a mix's rows that may be dropped; if there are more, nothing is trained on it."
    )
