"""The report of an MT-Bench evaluation: scores by category and turn, with 95 % intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.files import sha256
from bezoar.steps.evaluate import gate, mtbench
from bezoar.steps.evaluate.mtbench import Mtbench, VerdictRow
from bezoar.steps.report import graded
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.results.mtbench import MtbenchReport

GPT_4 = {"gpt-4", "gpt-4-0613"}  # the leaderboard's judge, in its server's words
NOT_COMPARABLE = "The judge is not GPT-4: these scores are not comparable to GPT-4-judged leaderboard numbers."
Verdicts = dict[str, list[VerdictRow]]  # by checkpoint or control


@dataclass(frozen=True)
class Table(graded.Table):
    """Scores of one evaluation."""

    block: Mtbench

    def entry(self, rows: list[VerdictRow]) -> dict[str, Any]:
        """One model's scores and counts, with what FastChat's table would say; it counts judgments, not answers."""
        found = super().entry(rows)
        count, gaps = found.pop("gradings"), found["missing"]
        read = [row.model_copy(update={"score": row.score_fastchat}) for row in rows]
        fastchat = mtbench.cells(read, self.questions, strict=False)
        return found | {
            "average_fastchat": None if np.isnan(fastchat).all() else round(float(np.nanmean(fastchat)), 4),
            "missing": {
                "judgments": gaps["gradings"],
                "mean_if_1": gaps["mean_if_lowest"],
                "mean_if_10": gaps["mean_if_highest"],
            },
            "within_item_sd": graded.within_item_sd(rows),
            "judgments": count,
            "several_ratings": sum(row.parse_flag == "multi" for row in rows),
            "empty_answers": sum(row.answer_empty for row in rows),
            "answers_with_delimiter_or_rating": sum(map(graded.speaks, rows)),
            "complete": found["complete"] and count == fastchat.size * self.block.repeats,
        }


def line_of(name: str, one: dict[str, Any]) -> tuple[int, str]:
    """A model's line in the log, and the line's level."""
    return graded.line_of(name, one, "judgments", ("1", "10"))


def reported(verdicts: Verdicts, table: Table, left_out: LeftOut) -> dict[str, Any]:
    """The report, without the hashes of its input files.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
        ValueError: Several judges graded the models.
    """
    block = table.block
    report = graded.reported(verdicts, table, block.protocol, left_out)
    for key in ("scale", "why_compromised"):  # MT-Bench's form has neither
        del report[key]
    report["judge"] |= {"backend": block.judge, "parser": mtbench.PARSER, "repeats": block.repeats}
    return report | {"note": "" if set(report["judge"]["models_returned"]) <= GPT_4 else NOT_COMPARABLE}


def write_report(
    results: Path,
    questions_path: Path,
    references: Path,
    judge_prompts: Path,
    block: Mtbench,
    seed: int,
    out: Path,
    left_out: LeftOut,
) -> None:
    """Write every score with its interval, and log a line for each model.

    Args:
        results: Folder of the evaluation, with <model>/verdicts.jsonl.
        questions_path: rows.jsonl of the questions, in a folder with the source's name.
        references: rows.jsonl of the reference answers.
        judge_prompts: rows.jsonl of the judge prompts.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
        left_out: By checkpoint, the questions that rows of its mixes repeat.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    table = Table(mtbench.read_questions(questions_path), block, gate.MTBENCH, seed)
    report = reported(graded.grades_below(results, "verdicts.jsonl", table), table, left_out)
    report["judge"] |= {
        "prompts_sha256": sha256(judge_prompts),
        "references": block.references,
        "references_sha256": sha256(references),
    }
    graded.finish(report, MtbenchReport, questions_path, out, line_of)
