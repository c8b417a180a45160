"""A loop of params.yaml: blocks that each round has for itself."""

from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from bezoar.blocks import Name, NamedBlock, Reference


class Loop(NamedBlock):
    """Blocks of a round, which are unrolled into ordinary blocks: one copy for each round.

    In names and values, {round} is the number of the round, {previous} the number of the one before it, and {before}
    the checkpoint that it starts from: `start` in round 1, then the stage named after the loop, of the round before.
    `each: [...]` in place of a value is a value by round; the last one is also that of all later rounds.
    """

    section: ClassVar[str] = "loops"

    rounds: int = Field(ge=1, le=1000, description="Number of rounds.")
    start: Annotated[Name, Reference(("models", "stages"), "starts from a checkpoint that nothing builds")] | None = (
        Field(None, description="Checkpoint that round 1 starts from; null for a loop that trains nothing.")
    )
    evals: list[Annotated[Name, Reference(("evals",), "no such evaluation")]] = Field(
        [], description="Evaluations that also score the checkpoint of each round."
    )
    blocks: dict[str, dict[str, JsonValue]] = Field(
        min_length=1,
        description="By section (stages, mixes, ...) and name, the blocks of a round. A name without {round} gets "
        "`_{round}` at its end.",
    )
