"""The report of a checklist evaluation."""

from dataclasses import dataclass
from pathlib import Path

from bezoar.files import sha256
from bezoar.steps.data.rows import read_rows
from bezoar.steps.evaluate import checklist
from bezoar.steps.evaluate.checklist import Checklist, ItemRow
from bezoar.steps.evaluate.nulls import METHODS
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.report import graded
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.results.checklist import ChecklistReport


@dataclass(frozen=True)
class Inputs:
    """Files of a report: <results>/<model>/checks.jsonl, questions, prompts and items."""

    results: Path
    questions: Path
    prompts: Path
    items: Path


def write_report(inputs: Inputs, block: Checklist, seed: int, out: Path, left_out: LeftOut) -> None:
    """Write every score with its interval, and log a line for each model.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    table = graded.Table(read_questions(inputs.questions), block, METHODS["checklist"], seed)
    report = graded.reported(
        graded.grades_below(inputs.results, "checks.jsonl", table), table, checklist.PROTOCOL, left_out
    )
    items = list(read_rows(inputs.items, ItemRow))
    report["judge"] |= {
        "backend": block.judge,
        "parser": checklist.PARSER,
        "prompts_sha256": sha256(inputs.prompts),
    }
    report["checklists"] = {
        "author": block.author,
        "authors_returned": sorted({item.author for item in items}),
        "items": len(items),
        "sha256": sha256(inputs.items),
    }
    graded.finish(report, ChecklistReport, inputs.questions, out)
