"""The base class of rewards."""

from typing import Any

from pydantic import Field

from bezoar.blocks import Block


class RewardBlock(Block):
    """A rule that gives an answer a number, with the weight of that number in the sum of all rewards."""

    kind: Any
    weight: float = Field(1.0, description="Factor of this reward in the sum.")

    def score(self, turns: list[str], answer: str, reference: str) -> float:
        """The reward of an answer, from 0 to 1, before its weight.

        Args:
            turns: User and assistant turns in alternation, user first and last.
            answer: What the model wrote.
            reference: The row's completion.
        """
        raise NotImplementedError
