"""A file in results/ of any method."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bezoar.errors import InputError, problem
from bezoar.steps.results.ablation import AblationReport
from bezoar.steps.results.agreement import AgreementReport
from bezoar.steps.results.answers import AnswersReport
from bezoar.steps.results.checklist import ChecklistReport
from bezoar.steps.results.harness import HarnessReport
from bezoar.steps.results.likelihood import LikelihoodReport
from bezoar.steps.results.mtbench import MtbenchReport
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.report import Report
from bezoar.steps.results.rubric import RubricReport

# The report of a new method is added here. No other list exists.
REPORTS: tuple[type[Report], ...] = (
    MtbenchReport,
    ChecklistReport,
    RubricReport,
    PairwiseReport,
    HarnessReport,
    LikelihoodReport,
    AnswersReport,
    AgreementReport,
    AblationReport,
)


def report_in(data: Any, path: Path | str) -> Report:
    """A report, checked against the form of its method; the one with the most marks, if it has those of several.

    Args:
        data: What the file says.
        path: Its name, for the message.

    Raises:
        InputError: It is a report of no known method, or not in the form of its method's reports.
    """
    fitting = [one for one in REPORTS if isinstance(data, dict) and one.marks <= data.keys()]
    if not fitting:
        raise InputError(
            problem(
                f"{path} is no result of an evaluation",
                found=", ".join(sorted(data)) if isinstance(data, dict) else type(data).__name__,
                expected=f"a report of {', '.join(one.method for one in REPORTS)}",
            )
        )
    form = max(fitting, key=lambda one: len(one.marks))
    try:
        return form.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            problem(
                f"{path}: {'.'.join(map(str, first['loc']))} doesn't fit the form of {form.method} reports",
                found=first["msg"],
                expected=f"what schemas/{form.method}.schema.json says",
                hint="a result of another version of bezoar: make it again",
            )
        ) from error


def read_report(path: Path) -> Report:
    """The report in a file.

    Raises:
        InputError: It is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(problem(f"{path} can't be read", found=error, expected="JSON")) from error
    return report_in(data, path)
