"""What the methods that grade every answer by itself share: their keys, and the controls that are graded first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import FilePath, Name, Share
from bezoar.problems import Problem
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.evaluation import AnsweredEval, Scores
from bezoar.steps.evaluate.mtbench import CONTROL


class GradedEval(AnsweredEval, ComparedEval):
    """The base class of evaluations in which a judge grades every answer by itself."""

    rates: ClassVar[bool] = True

    prompts: FilePath = Field(description="YAML file with the judge's prompts.")
    max_failed_share: Share = Field(
        0.05, description="Share of a model's gradings that may have no readable score; empty answers need none."
    )
    controls: list[Literal["empty", "filler", "spoof", "shuffled"]] = Field(
        ["empty", "filler", "spoof"],
        description="Answers that no model wrote, graded first; a judge that rewards them is compromised.",
    )
    shuffled_from: Name | None = Field(
        None, description="Checkpoint whose answers the control `shuffled` moves to other questions."
    )
    allow_compromised: bool = Field(
        False, description="Continue with a judge that fails the controls; the table is marked."
    )
    bootstrap_samples: int = Field(2000, ge=100, description="Bootstrap samples of an interval.")

    def control_names(self) -> list[str]:
        """Names of the controls as artifacts."""
        return [f"{CONTROL}{control}" for control in self.controls]

    def judged(self) -> list[str]:
        """The checkpoints and controls."""
        return [*self.checkpoints, *self.control_names()]

    def grading_stages(self, rule: str, report: str) -> list[str]:
        """Stages: a rule's gradings of each checkpoint and control, the controls' answers, the gate, and the report."""
        return [
            f"{report}-{self.name}",
            *AnsweredEval.stage_names(self),
            *(f"null_answers-{self.name}-{one}" for one in self.control_names()),
            *(f"{rule}-{self.name}-{one}" for one in self.judged()),
            *([f"graded_gate-{self.name}"] if self.controls else []),
        ]

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """The average score with its interval, or why there is none, and whether the judge can be trusted."""
        one, (_, high) = report["models"][checkpoint], report["scale"]
        average, judge = one["average"], ", ".join(report["judge"]["models_returned"])
        score = f"no score: {one['withheld']}" if average is None else f"{average['mean']:.2f} of {high:g}"
        if average and average["low"] is not None:
            score += f" (95 % interval {average['low']:.2f} to {average['high']:.2f})"
        text = f"{report['protocol']}, {report['questions']['count']} questions, judged by {judge}: {score}."
        if report["judge_compromised"]:
            text += f" The judge is compromised: it rewards {', '.join(report['controls_that_failed'])}."
        return Scores(text)

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """The control `shuffled` needs a named checkpoint of this evaluation, and several questions."""
        yield from super().problems(recipe)
        yield from self.shuffled_problems("shuffled" in self.controls, self.shuffled_from, recipe)
