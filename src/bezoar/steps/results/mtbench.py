"""The report of an MT-Bench evaluation."""

from typing import ClassVar, Literal

from pydantic import Field

from bezoar.steps.results.graded import Clean, GradedReport, JudgedModel
from bezoar.steps.results.report import Flagged, Form


class Missing(Form):
    """Judgments without a rating, and the mean if all of them were the lowest or the highest."""

    judgments: int = Field(ge=0)
    mean_if_1: float
    mean_if_10: float


class Model(JudgedModel):
    """A control's scores and counts, from 1 to 10."""

    average_fastchat: float | None = Field(description="As FastChat averages: an empty answer has the judge's rating.")
    within_item_sd: float | None = Field(description="The judge's noise, from repeats; null without any.")
    missing: Missing
    judgments: int = Field(ge=0)
    several_ratings: int = Field(ge=0)


class Checkpoint(Model):
    """A checkpoint's scores and counts."""

    difference_to_first: Flagged | None
    difference_to_previous: Flagged | None
    compared_to: dict[str, Flagged | None]
    clean: Clean


class Judge(Form):
    """The identity of the judge."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    repeats: int = Field(ge=1)
    prompts_sha256: str
    references: str
    references_sha256: str


class MtbenchReport(GradedReport):
    """Scores by category and turn of every checkpoint and control, with 95 % intervals."""

    method: ClassVar[str] = "mtbench"
    marks: ClassVar[frozenset[str]] = frozenset({"protocol", "models", "controls", "not_above_controls"})

    protocol: Literal["mtbench-single-v1", "mtbench-single-v1-fenced"]
    note: str
    judge: Judge
    models: dict[str, Checkpoint]
    controls: dict[str, Model]

    def entry(self, checkpoint: str) -> Checkpoint:
        """A checkpoint's part."""
        return self.models[checkpoint]

    def judged_by(self) -> str:
        """The models that judged."""
        return " ".join(self.judge.models_returned)
