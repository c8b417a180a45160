"""The scores of a run as a table for its end: a line for each checkpoint, a column for each evaluation."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar import terminal
from bezoar.errors import InputError
from bezoar.steps.results.any import read_report
from bezoar.steps.results.report import Report, averages

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

RESULTS, PAGE, RUN, SUMMARY = "results/", "results/report.html", "results/run.html", "results/summary.csv"
NONE = "-"
REASON = 60  # characters of the reason for a withheld score; the report has all


class Headline:
    """The average scores of some reports with their 95 % intervals; as many evaluations side by side as fit.

    Args:
        reports: By evaluation, its report.
    """

    def __init__(self, reports: dict[str, Report]) -> None:
        self.averages = {name: averages(report, name) for name, report in reports.items() if report.scored}
        self.notes = [line for name, report in reports.items() for line in _notes(name, report)]
        longest = sorted(self.averages.values(), key=len, reverse=True)  # each has them in the order of its chain
        self.checkpoints = list(dict.fromkeys(one for found in longest for one in found))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["RenderableType"]:
        first = max(map(len, ("checkpoint", *self.checkpoints)))
        left: list[tuple[str, list[str]]] = [
            (name, [_cell(found.get(one, {})) for one in self.checkpoints]) for name, found in self.averages.items()
        ]
        while left:
            taken, left = _fitting(left, options.max_width - first)
            rows = zip(self.checkpoints, *(cells for _, cells in taken), strict=True)
            yield terminal.table(["checkpoint", *(name for name, _ in taken)], rows)
            if left:
                yield terminal.line("")
        yield from (terminal.line(one, "yellow") for one in self.notes)


def _fitting(columns: list[tuple[str, list[str]]], width: int) -> tuple[list[tuple[str, list[str]]], ...]:
    """The first columns that fit in a width, at least one, and the others."""
    for place, (name, cells) in enumerate(columns):
        width -= 2 + max(map(len, (name, *cells)))
        if width < 0 and place:
            return columns[:place], columns[place:]
    return columns, []


def _cell(average: dict[str, float]) -> str:
    if "average" not in average:
        return NONE
    low, high = (f"{average[end]:.2f}" if end in average else "?" for end in ("low", "high"))
    return f"{average['average']:.3f} [{low}, {high}]"


def _notes(name: str, report: Report) -> Iterator[str]:
    """Why there are no scores, and what is wrong with them."""
    scores = [one for one in report.scores(name) if one.main]
    for reason, count in _counted(one.withheld for one in scores if one.withheld):
        short = reason if len(reason) <= REASON else f"{reason[:REASON]}..."
        yield f"{name}: {count} score{'s' * (count > 1)} withheld: {short}"
    if any(one.compromised for one in scores):
        yield f"{name}: the judge is compromised: it rewards what no model wrote"


def _counted(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    found = list(texts)
    yield from ((one, found.count(one)) for one in dict.fromkeys(found))


def parts(outputs: Iterable[str]) -> list["RenderableType"]:
    """What the end of a run shows of its outputs: scores, if it has made any, and where to read on."""
    made = [path for path in outputs if path.startswith(RESULTS)]
    reports = {}
    for path in sorted(one for one in made if one.endswith(".json") and one.count("/") == 1):
        with suppress(InputError, OSError):  # a rule of the project's own may write something else
            reports[Path(path).stem] = read_report(Path(path))
    shown = Headline(reports)
    found: list[RenderableType] = []
    if shown.averages:
        found += [terminal.line("average scores with 95 % intervals", "bold"), shown]
    best = next((one for one in (PAGE, SUMMARY) if one in made), None)
    where = [best] if best else [f"{RESULTS}{name}.json" for name in reports]
    where += [RUN] if RUN in made else []
    return [*found, *([terminal.line(f"see {', '.join(where)}", "bold")] if where else [])]
