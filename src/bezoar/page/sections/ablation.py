"""What the levels of each matrix change: paired differences by axis, beside chance and the spread of seeds."""

from typing import NamedTuple

from bezoar.errors import InputError, problem
from bezoar.page.html import Section, decimals, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.steps.results.ablation import AblationReport


class Matrix(NamedTuple):
    """A matrix."""

    name: str
    report: AblationReport
    artifact: Artifact

    @property
    def digits(self) -> int:
        """Decimals of its scores."""
        return decimals(score for one in self.report.combinations for score in one.scores.values())

    @property
    def spread(self) -> str:
        """What is known of the spread of seeds."""
        count = self.report.seeds
        return "1 seed, so nothing is known of how far seeds spread" if count == 1 else f"{count} seeds"


def section(inputs: Inputs) -> Section | None:
    """The tables; None without a matrix."""
    matrices = [_matrix(inputs, name) for name in inputs.page.matrices]
    if not matrices:
        return None
    return Section("ablation", "What levels of a matrix change", render("ablation.html.j2", matrices=matrices))


def _matrix(inputs: Inputs, name: str) -> Matrix:
    path = f"results/{name}.json"
    report = inputs.report(name)
    if not isinstance(report, AblationReport):
        raise InputError(problem(f"{path} is no report of a matrix", found=report.method, expected="ablation"))
    return Matrix(name, report, inputs.artifact(path))
