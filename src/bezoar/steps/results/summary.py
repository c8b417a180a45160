"""results/summary.csv: a line for each evaluation, checkpoint and metric; and the table of the main ones."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bezoar.files import whole
from bezoar.logs import logger
from bezoar.steps.results.any import read_report
from bezoar.steps.results.report import Score
from bezoar.text import printable

COLUMNS = list(Score._fields)
HEAD = ("evaluation", "checkpoint", "metric", "score", "95 % interval", "n", "")
REASON = 60  # characters of the reason for a withheld score; the file has all


def summary(reports: Iterable[Path]) -> list[Score]:
    """All scores of some reports, in their order."""
    return [one for path in reports for one in read_report(path).scores(path.stem)]


def text(scores: Iterable[Score]) -> str:
    """The content of the file: an unknown value is empty, and a number has as many digits as in its report."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in scores:
        writer.writerow([_cell(value) for value in one])
    return made.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | float) else value


def table(scores: Iterable[Score]) -> str:
    """The main scores with their intervals, a line for each, in columns."""
    rows = [HEAD, *(_row(one) for one in scores if one.main)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    right = (HEAD.index("score"), HEAD.index("n"))
    lines = (
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _row(one: Score) -> tuple[str, ...]:
    reason = printable(one.withheld or "", lines=False)
    note = f"withheld: {reason[:REASON]}" if reason else "judge compromised" if one.compromised else ""
    ends = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
    score = "" if one.score is None else f"{one.score:.3f}"
    return one.evaluation, one.checkpoint, one.metric, score, ends, f"{one.n:,}", note


def write_summary(reports: list[Path], out: Path) -> None:
    """Write the summary, and log the table."""
    scores = summary(reports)
    with whole(out) as partial:
        partial.write_text(text(scores), encoding="utf-8")
    logger.info(f"{out}: {len(scores)} scores; the main ones:\n{table(scores)}")
