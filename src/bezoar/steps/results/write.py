"""Write a report, checked against the form of its method, with a small file of averages for each checkpoint."""

from pathlib import Path
from typing import Any

from bezoar.files import empty, write_json
from bezoar.steps.results.report import Report, averages

METRICS = "metrics"  # folder beside the reports


def write(out: Path, data: dict[str, Any], form: type[Report]) -> None:
    """Write a report to `out`, and its averages to metrics/<evaluation>/<checkpoint>.json beside it, if it has any.

    DVC shows a row for each such file, and a column for each key: so each has the same few.

    Args:
        out: results/<evaluation>.json.
        data: The report; it is written as it is.
        form: Its form.

    Raises:
        ValidationError: It isn't in its form.
    """
    report = form.model_validate(data)
    if form.scored:
        folder = out.parent / METRICS / out.stem
        empty(folder)
        for checkpoint, average in averages(report, out.stem).items():
            write_json(folder / f"{checkpoint}.json", average)
    write_json(out, data)
