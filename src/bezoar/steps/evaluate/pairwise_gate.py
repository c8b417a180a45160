"""Whether a judge of pairs can be trusted, by its games of answers that no model wrote against the baseline's.

A judge passes if the 95 % interval of each control's win rate ends at or below a ceiling, and if the baseline against
itself may win half of the games. No other model's games matter. The baseline's do: where it says nothing useful, a
control may win fairly, so it should be a checkpoint that answers. docs/evaluations.md has the rule's error rates.
"""

from dataclasses import dataclass
from typing import ClassVar

from bezoar.steps.data.rows import QuestionRow
from bezoar.steps.evaluate.gate import DRAWS, Method
from bezoar.steps.evaluate.pairwise import GameRow
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.standings import points_of, win_rate
from bezoar.steps.evaluate.stats import Estimate

CEILINGS = {"empty": 0.1, "filler": 0.25, "spoof": 0.25}  # of win rates; `self` has 0.5
SELF = "self"


@dataclass(frozen=True)
class Pairs(Method):
    """The method in which a judge compares two answers."""

    verdict: ClassVar[str] = "verdict"
    fault: ClassVar[str] = "answers that no model wrote win too many games"
    passes: ClassVar[str] = (
        "every control's interval ends at or below its ceiling, and the baseline wins half against itself"
    )
    hint: ClassVar[str] = (
        "look at the judgments; if the baseline's answers are no better, take another baseline; "
        "allow_compromised continues, with a mark in the table"
    )

    def reason(self, control: str, verdicts: list[GameRow], questions: list[QuestionRow], seed: int) -> str | None:
        """That its interval ends above its ceiling, or doesn't contain 0.5 if it is the baseline itself."""
        score = control_score(control, verdicts, questions, seed)
        low, high = (score.mean if end is None else end for end in (score.low, score.high))
        interval = f"win rate {score.mean:.2f}, 95 % interval {low:.2f} to {high:.2f}"
        if control == SELF:
            return None if low <= 0.5 <= high else f"{interval}, without 0.5"
        return None if high <= CEILINGS[control] else f"{interval}, ceiling {CEILINGS[control]}"


PAIRS = Pairs(
    row=GameRow,
    questions=read_questions,
    readable="judgments that end with a verdict of the scale, such as [[A>B]]",
)


def control_score(control: str, rows: list[GameRow], questions: list[QuestionRow], seed: int) -> Estimate:
    """A control's win rate by the judge's words, of which one has a verdict.

    A missing verdict counts as a game that the control wins, since a judge that doesn't answer detects nothing. Empty
    answers are the exception: a judge is right to say that there is nothing to compare. The best question of the
    control bounds the interval, since a pilot's few equal games couldn't pass otherwise.
    """
    missing = None if control in ("empty", SELF) else 1.0
    points = points_of(rows, questions, strict=False, missing=missing)
    there = points[1] > 0
    highest = 1.0 if control == SELF else float((points[0][there] / points[1][there]).max())
    found = win_rate(points, [question.category for question in questions], DRAWS, seed, (0.0, highest))
    assert found is not None
    return found
