"""Blocks with a seed of their own."""

from pydantic import Field

from bezoar.blocks import NamedBlock


class Seeded(NamedBlock):
    """The base class of blocks whose jobs draw something.

    A null seed is left out of a recipe's values, so that a block without its own has the key that it always had.
    """

    seed: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda seed: seed is None,
        description="Start of the random draws of this block's own jobs; null takes the recipe's.",
    )

    def own_seed(self, seed: int) -> int:
        """The block's seed, or the recipe's, which is given."""
        return seed if self.seed is None else self.seed
