"""The answers to each prompt, the best first, by their scores."""

from collections.abc import Iterable

from bezoar.steps.pairs.block import Answer, Candidate
from bezoar.steps.score.block import ScoredRow, prompt_key


def ranked_by_prompt(rows: Iterable[ScoredRow]) -> list[list[ScoredRow]]:
    """All answers to each prompt, the best first; of equal scores, the one with the smaller id."""
    prompts: dict[str, list[ScoredRow]] = {}
    for row in rows:
        prompts.setdefault(prompt_key(row), []).append(row)
    return [sorted(some, key=lambda row: (-row.score, row.id)) for some in prompts.values()]


def candidates_of(rows: Iterable[ScoredRow], worse: int | None) -> list[Candidate]:
    """A candidate for each prompt: its best answer, and the one at a place; places start at 1, None is the last."""
    found = []
    for some in ranked_by_prompt(rows):
        best, place = some[0], len(some) if worse is None else worse
        rejected = Answer.of(some[place - 1]) if 1 < place <= len(some) else None
        detail = "" if rejected else f"{len(some)} with a score"
        found.append(Candidate(best.root_id, best.system, best.instruction, Answer.of(best), rejected, detail=detail))
    return found
