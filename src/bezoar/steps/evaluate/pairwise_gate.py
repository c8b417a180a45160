"""Whether a judge of pairs can be trusted, by games whose right verdict is known.

A judge passes if the 95 % interval of each control's win rate ends at or below a ceiling, and if, between equal
answers, that of a seat's share of the points ends at or below 0.9. No other model's games matter. The baseline's do:
where it says nothing useful, a control may win fairly, so it should be a checkpoint that answers.
docs/explanation/scores.md has the rule's error rates.
"""

from dataclasses import dataclass
from typing import ClassVar

from bezoar.steps.data.rows import QuestionRow
from bezoar.steps.evaluate.ceilings import WIN_RATES
from bezoar.steps.evaluate.gate import DRAWS, Method
from bezoar.steps.evaluate.pairwise import GameRow
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.standings import points_of, seat_of_equals, win_rate
from bezoar.steps.evaluate.stats import Estimate

SELF = "self"


@dataclass(frozen=True)
class Pairs(Method):
    """The method in which a judge compares two answers."""

    verdict: ClassVar[str] = "verdict"
    fault: ClassVar[str] = "a seat or answers that no model wrote win too many games"
    passes: ClassVar[str] = "every control's interval ends at or below its ceiling"
    hint: ClassVar[str] = (
        "look at the judgments; if the baseline's answers are no better, take another baseline; "
        "allow_compromised continues, with a mark in the table"
    )

    def reason(self, control: str, verdicts: list[GameRow], questions: list[QuestionRow], seed: int) -> str | None:
        """That its interval ends above its ceiling; between equal answers that of the seat with more points."""
        what, score = "win rate", control_score(control, verdicts, questions, seed)
        mean, low, high = (score.mean if one is None else one for one in (score.mean, score.low, score.high))
        if control == SELF:
            what = "seat A's share of the points"
            if 1 - low > high:
                what, mean, low, high = "seat B's share of the points", 1 - mean, 1 - high, 1 - low
        if high <= WIN_RATES[control]:
            return None
        return f"{what} {mean:.2f}, 95 % interval {low:.2f} to {high:.2f}, ceiling {WIN_RATES[control]}"


PAIRS = Pairs(
    row=GameRow,
    questions=read_questions,
    readable="judgments that end with a verdict of the scale, such as [[A>B]]",
)


def control_score(control: str, rows: list[GameRow], questions: list[QuestionRow], seed: int) -> Estimate:
    """A control's win rate by the judge's words, of which one has a verdict; of `self` seat A's share of the points.

    A missing verdict counts as a game that the control wins, since a judge that doesn't answer detects nothing. Equal
    and empty answers are exceptions: a judge is right to say that there is nothing to compare. The questions with the
    most and the fewest points bound the interval, since a pilot's few equal games couldn't pass otherwise.
    """
    if control == SELF:
        found = seat_of_equals(rows, questions, DRAWS, seed)
    else:
        points = points_of(rows, questions, strict=False, missing=None if control == "empty" else 1.0)
        there = points[1] > 0
        highest = float((points[0][there] / points[1][there]).max())
        found = win_rate(points, [question.category for question in questions], DRAWS, seed, (0.0, highest))
    assert found is not None
    return found
