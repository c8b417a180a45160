"""The report of a checklist evaluation."""

from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.graded import GradedCheckpoint, GradedModel, GradedReport
from bezoar.steps.results.report import Form


class ChecklistJudge(Form):
    """The identity of the judge."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    prompts_sha256: str


class Checklists(Form):
    """The items."""

    author: str
    authors_returned: list[str]
    items: int = Field(ge=1)
    sha256: str


class ChecklistReport(GradedReport):
    """Scores by category and turn of every checkpoint and control, from 1 to 10, with 95 % intervals."""

    method: ClassVar[str] = "checklist"
    marks: ClassVar[frozenset[str]] = frozenset({"protocol", "models", "controls", "not_above_controls", "checklists"})

    scale: tuple[float, float]
    why_compromised: dict[str, str] = Field(description="By control, what the judge gave it.")
    judge: ChecklistJudge
    checklists: Checklists
    models: dict[str, GradedCheckpoint]
    controls: dict[str, GradedModel]

    def entry(self, checkpoint: str) -> GradedCheckpoint:
        """A checkpoint's part."""
        return self.models[checkpoint]

    def judged_by(self) -> str:
        """The models that judged."""
        return " ".join(self.judge.models_returned)
