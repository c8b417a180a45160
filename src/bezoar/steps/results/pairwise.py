"""The report of games against a baseline."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Flagged, Form, Interval, Report, Score, parts


class Controlled(Form):
    """The win rate at equal length, or why there is none."""

    formula: Literal["minimal"]
    win_rate: Interval | None
    length_effect: Interval | None = Field(None, description="In log-odds per tanh of a standard deviation.")
    why: str | None = None


class Fastchat(Form):
    """Turns by FastChat's rule: two games that disagree are a tie."""

    wins: int = Field(ge=0)
    losses: int = Field(ge=0)
    ties: int = Field(ge=0)
    win_rate: float | None


class Missing(Form):
    """Games without a verdict, and the win rate if all of them were lost or won."""

    games: int = Field(ge=0)
    win_rate_if_lost: float
    win_rate_if_won: float


class Player(Form):
    """Win rates and counts of a control; rates are null where the report has no score."""

    win_rate: Interval | None
    length_controlled: Controlled | None
    fastchat: Fastchat | None
    missing: Missing
    turns: dict[str, Interval | None] | None
    categories: dict[str, Interval | None] | None
    flips: Interval | None = Field(description="Share of turns where both games name the same seat.")
    within_item_sd: float | None = Field(description="The judge's noise, from repeats; null without any.")
    games: int = Field(ge=0)
    verdicts: dict[str, int]
    status: dict[str, int]
    several_verdicts: int = Field(ge=0)
    empty_answers: int = Field(ge=0)
    answers_with_delimiter_or_verdict: int = Field(ge=0)
    complete: bool


class Clean(Form):
    """The win rate over the questions that no training row repeats."""

    win_rate: Interval | None
    questions: int = Field(ge=0)
    left_out: list[int]


class Compared(Form):
    """The differences of a checkpoint; null without a score."""

    difference_to_first: Flagged | None
    difference_to_previous: Flagged | None
    compared_to: dict[str, Flagged | None] | None


class Checkpoint(Player, Compared):
    """Win rates and counts of a checkpoint."""

    clean: Clean | None


class Baseline(Compared):
    """The baseline, whose win rate is one half by definition."""

    win_rate: Interval | None
    length_controlled: None


class Judge(Form):
    """The identity of the judge."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    repeats: int = Field(ge=1)
    strong_weight: float
    prompts_sha256: str
    references: str | None
    references_sha256: str | None


class Questions(Form):
    """The questions, which are rows of `source`."""

    source: str
    count: int = Field(ge=0)
    categories: dict[str, int]
    sha256: str


class Seats(Form):
    """Whether the seat matters to the judge."""

    first_seat: Interval | None = Field(description="Seat A's share of the points.")
    prefers: Literal["first", "second"] | None
    flips: Interval | None
    first_seat_between_equal_answers: Interval | None = Field(
        None, description="The same between the baseline and itself: what the gate looks at."
    )
    decided_between_equal_answers: float | None


class Style(Form):
    """Win rates at equal style and the effects of features in log-odds, or why there are none."""

    win_rates: dict[str, Interval | None] | None
    effects: dict[str, Interval | None] | None
    left_out: dict[str, str] = Field({}, description="Features that are no part of the regression, and why.")
    why: str | None


class PairwiseReport(Report):
    """Win rates of every checkpoint and control against a baseline, with 95 % intervals."""

    method: ClassVar[str] = "pairwise"
    marks: ClassVar[frozenset[str]] = frozenset(
        {"protocol", "models", "controls", "not_above_controls", "baseline", "seats"}
    )

    protocol: Literal["pair-5-v1", "mtbench-pair-v1"]
    baseline: str
    judge: Judge
    questions: Questions
    checkpoints: list[str] = Field(description="In order: comparisons are with the first, and with the previous one.")
    no_score: str | None = Field(description="Why there is no score; null if there is one.")
    judge_compromised: bool
    controls_that_failed: list[str]
    not_above_controls: list[str]
    seats: Seats
    style_controlled: Style | None
    separability: float | None = Field(description="Share of pairs of checkpoints whose intervals are apart.")
    comparisons: Comparisons | None
    models: dict[str, Checkpoint | Baseline]
    controls: dict[str, Player]
    seed: int

    def scores(self, evaluation: str) -> Iterator[Score]:
        """The win rate, raw and at equal length and style, and those of turns and categories."""
        styles = self.style_controlled.win_rates if self.style_controlled else None
        for name in self.checkpoints:
            one = self.models[name]
            yield self._score(evaluation, name, "win rate", one.win_rate, self.questions.count)
            if isinstance(one, Baseline):
                continue
            if one.length_controlled:
                rate, why = one.length_controlled.win_rate, one.length_controlled.why
                yield self._score(evaluation, name, "at equal length", rate, self.questions.count, why)
            if styles:
                yield self._score(evaluation, name, "at equal style", styles.get(name), self.questions.count)
            for turn, rate in (one.turns or {}).items():
                yield self._score(evaluation, name, f"turn {turn}", rate, self.questions.count)
            for category, rate in (one.categories or {}).items():
                yield self._score(evaluation, name, category, rate, self.questions.categories[category])

    def asked(self, checkpoint: str, metric: str) -> dict[str, Any]:
        """The prompts' form, the questions and the baseline."""
        return {"protocol": self.protocol, "questions": self.questions.sha256[:12], "baseline": self.baseline}

    def _score(
        self, evaluation: str, checkpoint: str, metric: str, rate: Interval | None, count: int, why: str | None = None
    ) -> Score:
        return Score(
            evaluation,
            self.method,
            checkpoint,
            metric,
            *parts(rate),
            count,
            judge=" ".join(self.judge.models_returned),
            compromised=self.judge_compromised,
            withheld=self.no_score or (None if rate else why or "no readable verdict"),
            main=metric == "win rate",
        )
