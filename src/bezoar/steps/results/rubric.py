"""The report of a rubric evaluation."""

from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.graded import GradedCheckpoint, GradedModel, GradedReport
from bezoar.steps.results.report import Form


class RubricModel(GradedModel):
    """A control's scores and counts."""

    several_scores: int = Field(ge=0, description="Gradings that hold several scores; the one at the end counts.")
    with_reference: int = Field(ge=0, description="Gradings whose judge saw a reference answer.")
    within_item_sd: float | None = Field(
        description="The judge's noise: the standard deviation of its gradings of one answer; null without repeats."
    )


class RubricCheckpoint(GradedCheckpoint, RubricModel):
    """A checkpoint's scores and counts."""


class RubricJudge(Form):
    """The identity of the judge."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    prompts_sha256: str
    references: str | None
    references_sha256: str | None
    repeats: int = Field(ge=1)


class RubricText(Form):
    """The rubric."""

    version: int = Field(ge=1)
    criterion: str
    sha256: str


class RubricReport(GradedReport):
    """Scores by category and turn of every checkpoint and control, from 1 to 5, with 95 % intervals."""

    method: ClassVar[str] = "rubric"
    marks: ClassVar[frozenset[str]] = frozenset({"protocol", "models", "controls", "not_above_controls", "rubric"})

    scale: tuple[float, float]
    why_compromised: dict[str, str] = Field(description="By control, what the judge gave it.")
    judge: RubricJudge
    rubric: RubricText
    models: dict[str, RubricCheckpoint]
    controls: dict[str, RubricModel]

    def entry(self, checkpoint: str) -> RubricCheckpoint:
        """A checkpoint's part."""
        return self.models[checkpoint]

    def judged_by(self) -> str:
        """The models that judged."""
        return " ".join(self.judge.models_returned)
