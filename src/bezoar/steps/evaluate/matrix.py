"""A matrix of an ablation: axes with named levels, each of which sets other values in a recipe.

The recipe's loader makes an ordinary copy of each block that a combination of levels changes (bezoar.recipe.unroll).
"""

from typing import Annotated, ClassVar

from pydantic import Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

from bezoar.blocks import Block, Name, NamedBlock

Level = dict[str, JsonValue]
SEED = "seed"


class Chain(Block):
    """One combination of levels, and the checkpoints that it ends in."""

    levels: dict[Name, Name] = Field(description="By axis, its level.")
    checkpoints: dict[Name, Name] = Field(description="By stage of `score`, the stage of this combination.")


class Matrix(NamedBlock):
    """All combinations of the levels of some axes, compared by one evaluation."""

    section: ClassVar[str] = "matrix"
    rules: ClassVar[tuple[str, ...]] = ("ablation",)

    eval: Name = Field(description="Evaluation that scores the combinations; it must have scores of single items.")
    score: list[Name] = Field(
        min_length=1, description="Stages whose checkpoints are scored; each combination has its own."
    )
    axes: dict[Name, Annotated[dict[Name, Level], Field(min_length=2)]] = Field(
        min_length=1,
        description="By axis and level, the values that differ, by dotted names such as stages.dpo.beta. Each axis has "
        "one level `{}`: the recipe's own values, with which the others are compared. An axis that sets only `seed` "
        "of blocks is one of repetitions.",
    )
    chains: SkipJsonSchema[list[Chain]] = Field(
        [], exclude_if=lambda chains: not chains, description="All combinations, once the matrix is unrolled."
    )

    def base(self, axis: str) -> str:
        """The level of an axis that has the recipe's own values."""
        return next(name for name, level in self.axes[axis].items() if not level)

    def is_repetition(self, axis: str) -> bool:
        """Whether an axis sets nothing but seeds, so that its levels are repetitions of one experiment."""
        return all(name.rpartition(".")[2] == SEED for level in self.axes[axis].values() for name in level)
