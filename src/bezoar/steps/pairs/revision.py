"""A revised answer against the answer that it was, if a judge rates it higher.

Small models often make an answer worse by revising it. So a pair is kept only if the revised answer has the higher
score; the report has their share.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from bezoar.steps.pairs.block import WORSE, Answer, Candidate, PairsBlock
from bezoar.steps.score.block import ScoredRow
from bezoar.steps.score.names import ScoresName

NO_SCORE = "original without a score"


class Revision(PairsBlock):
    """Revised answers against their originals (Bai et al. 2022, arXiv:2212.08073), where the score has risen."""

    by_row: ClassVar[bool] = True

    method: Literal["revision"]
    of: ScoresName = Field(description="Scores of a scheme of method `revise`.")
    original: ScoresName = Field(description="Scores of the scheme whose answers were revised.")

    def starts_from(self) -> list[tuple[str, str]]:
        """Both scores."""
        return [("scores", self.of), ("scores", self.original)]


def candidates_of(rows: Iterable[ScoredRow], originals: dict[str, ScoredRow]) -> list[Candidate]:
    """A candidate for each revised answer.

    Args:
        rows: Revised answers.
        originals: Scored originals by id.
    """
    found = []
    for row in rows:
        original, fault, detail = originals.get(row.parent_ids[0]), "", ""
        if original is None:
            fault = NO_SCORE
        elif row.score < original.score:
            fault, detail = WORSE, f"{row.score:g} after {original.score:g}"
        rejected = None if original is None else Answer.of(original)
        found.append(Candidate(row.root_id, row.system, row.instruction, Answer.of(row), rejected, fault, detail))
    return found
