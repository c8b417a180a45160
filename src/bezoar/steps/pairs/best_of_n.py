"""The best against the worst of n answers to a prompt, as SPPO (arXiv:2405.00675) and self-rewarding models pair."""

from typing import Literal

from pydantic import Field

from bezoar.steps.pairs.block import PairsBlock
from bezoar.steps.score.names import ScoresName


class BestOfN(PairsBlock):
    """The best against the worst answer to each prompt, by their scores.

    Sources: Yuan et al. 2024 (arXiv:2401.10020), section 2.3; Wu et al. 2024 (arXiv:2405.00675), section 5.
    """

    method: Literal["best_of_n"]
    of: ScoresName = Field(description="Scores of a scheme with two or more answers to each prompt.")

    def starts_from(self) -> list[tuple[str, str]]:
        """The scores."""
        return [("scores", self.of)]

    def answers(self) -> int:
        """Two."""
        return 2
