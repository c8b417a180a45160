"""The report of a rubric evaluation."""

from dataclasses import dataclass
from pathlib import Path

from bezoar.files import sha256
from bezoar.steps.evaluate import rubric
from bezoar.steps.evaluate.nulls import METHODS
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.rubric import Rubric
from bezoar.steps.report import graded
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.results.rubric import RubricReport


@dataclass(frozen=True)
class Inputs:
    """Files of a report: <results>/<model>/gradings.jsonl, questions, prompts, rubric, and perhaps references."""

    results: Path
    questions: Path
    prompts: Path
    rubric: Path
    references: Path | None


def write_report(inputs: Inputs, block: Rubric, seed: int, out: Path, left_out: LeftOut) -> None:
    """Write every score with its interval, and log a line for each model.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    table = graded.Table(read_questions(inputs.questions), block, METHODS["rubric"], seed)
    rows = graded.grades_below(inputs.results, "gradings.jsonl", table)
    report = graded.reported(rows, table, rubric.PROTOCOL, left_out)
    for name, one in (report["models"] | report["controls"]).items():
        one |= {
            "several_scores": sum(row.parse_flag == "multi" for row in rows[name]),
            "with_reference": sum(row.with_reference for row in rows[name]),
            "within_item_sd": graded.within_item_sd(rows[name]),
        }
    report["judge"] |= {
        "backend": block.judge,
        "parser": rubric.PARSER,
        "prompts_sha256": sha256(inputs.prompts),
        "references": block.references,
        "references_sha256": sha256(inputs.references) if inputs.references else None,
        "repeats": block.repeats,
    }
    read = rubric.read_rubric(inputs.rubric)
    report["rubric"] = {"version": read.version, "criterion": read.criterion, "sha256": sha256(inputs.rubric)}
    graded.finish(report, RubricReport, inputs.questions, out)
