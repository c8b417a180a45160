"""The best against the k-th best answer to a prompt: one stage of a curriculum (Curry-DPO, arXiv:2403.07230)."""

from typing import Literal

from pydantic import Field

from bezoar.steps.pairs.block import PairsBlock
from bezoar.steps.score.names import ScoresName


class Ranked(PairsBlock):
    """The best answer to each prompt against the one at a place (Curry-DPO, Pattnaik et al. 2024, arXiv:2403.07230)."""

    method: Literal["ranked"]
    of: ScoresName = Field(description="Scores of a scheme with `worse` or more answers to each prompt.")
    worse: int = Field(ge=2, description="Place of the rejected answer by score: 2 is the second best.")

    def starts_from(self) -> list[tuple[str, str]]:
        """The scores."""
        return [("scores", self.of)]

    def answers(self) -> int:
        """Up to the rejected one."""
        return self.worse
