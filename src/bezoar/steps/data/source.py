"""The rows of a source, validated, in our own row type, with a report on dropped rows."""

import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bezoar.files import artifact, whole, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting, detect
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.formats import FORMATS, Normal
from bezoar.steps.data.normalise import FURTHER, normalised
from bezoar.steps.data.rows import DroppedRow, file_of, split_place, writer
from bezoar.steps.data.sources import Builtin, File, Hub, Sample, Source, Url, rows_of, told

TAKEN = ("rows", "places")  # files with a line for each row that is taken


def write_source(source: Source, seed: int, out_folder: Path) -> None:
    """Fetch or make a source's rows; write those that are taken, with their places, and those that are dropped."""
    name = out_folder.name
    with tempfile.TemporaryDirectory() as scratch, artifact(out_folder) as out:
        with ExitStack() as stack:
            names = Names(source.origin)
            row, place, dropped = (stack.enter_context(writer(out / f"{one}.jsonl")) for one in (*TAKEN, "dropped"))

            def keep(where: str, normal: Normal) -> None:
                row(normal)
                place(place_of(where, normal, names))

            placed = rows_of(source.origin, seed, Path(scratch))
            report, chosen = read(placed, source, seed, name, keep, dropped)
        if chosen is not None:
            for one in TAKEN:
                leave(out / f"{one}.jsonl", chosen)
        write_json(out / "report.json", report)
    left = accounting.text_of(report["dropped"] | report["not_taken"])
    logger.info(f"source {name}: {report['rows']:,} of {report['read']:,} rows, format {report['format']}; {left}")


class Names(dict[str, str]):
    """The name of each file of an origin, as `told` gives it."""

    def __init__(self, origin: Builtin | File | Url | Hub) -> None:
        super().__init__()
        self._origin = origin

    def __missing__(self, file: str) -> str:
        self[file] = told(file, self._origin)
        return self[file]


def place_of(where: str, row: Normal, names: Names) -> dict[str, Any]:
    """A row's id, and its file and line; of a row in an array, also its number in there."""
    file, line, item = split_place(where)
    found = {"id": getattr(row, "id", None), "file": names[file], "line": line}
    return found if item is None else found | {"item": item}


def leave(path: Path, chosen: Container[int]) -> None:
    """Leave some lines of a file, by their numbers from 0."""
    with whole(path) as partial, path.open(encoding="utf-8") as lines, partial.open("w", encoding="utf-8") as file:
        file.writelines(line for number, line in enumerate(lines) if number in chosen)


def read(
    placed: Iterable[tuple[str, Any]],
    source: Source,
    seed: int,
    name: str,
    keep: Callable[[str, Normal], object],
    drop: Callable[[DroppedRow], object],
) -> tuple[dict[str, Any], set[int] | None]:
    """Pass a source's rows on, one by one; returns the counts, and the numbers of those that a sample takes.

    Args:
        placed: The place of each row, and the row.
        source: The source's block.
        seed: The recipe's seed.
        name: The source's name.
        keep: Takes each row that fits, up to the source's limit, with its place.
        drop: Takes each other row.

    Raises:
        ValueError: No row is left, more were dropped than the source's bound allows, or rows got lost.
    """
    lines = CountedRows(placed, source.columns)
    form = format_of(lines, source, name)
    logger.info(f"source {name}: format {form}, {'named' if source.format else 'found by its columns and values'}")
    replaced, dropped, sample = Tally(), DroppedRows(), Sample(source.sample, seed)
    for place, row in normalised(lines, form, replaced, source.limit):
        if isinstance(row, DroppedRow):
            dropped.add(row)
            drop(row)
        else:
            sample.add(row)
            keep(place, row)
    for what, places in replaced.first_places().items():
        logger.warning(f"source {name}: {replaced.reasons[what]:,} {what}: {places}")
    check_dropped(lines, dropped, source, form, name, sample.rows)
    chosen = sample.chosen(name)
    rows = sample.rows if chosen is None else len(chosen)
    report: dict[str, Any] = {
        "format": form,
        "read": lines.number + dropped.further,
        "rows": rows,
        "dropped": dropped.counts(),
        "not_taken": {"not sampled": sample.rows - rows},
        "replaced": dict(replaced.reasons),
    }
    accounting.check_conserved(f"source {name}", report["read"], rows, report["dropped"] | report["not_taken"])
    return report, chosen


class DroppedRows:
    """Counts dropped rows, in all and by file.

    Attributes:
        further: Those that a row brought besides itself; they aren't faulty.
        faulty: The others.
        files: The same by file.
    """

    def __init__(self) -> None:
        self.further, self.faulty = 0, Tally()
        self.files: dict[str, Tally] = {}

    def add(self, row: DroppedRow) -> None:
        """Count one more."""
        if row.reason == FURTHER:
            self.further += 1
            return
        for tally in (self.faulty, self.files.setdefault(file_of(row.detail), Tally())):
            tally.add(row.reason, row.detail)

    def counts(self) -> dict[str, int]:
        """Counts by reason."""
        return dict(sorted((self.faulty.reasons + Counter({FURTHER: self.further})).items()))


class CountedRows:
    """Counts rows while they are read, and gives columns the names that formats know.

    Attributes:
        files: Rows read so far, by file.
        head: The first rows, as they are.
    """

    def __init__(self, placed: Iterable[tuple[str, Any]], columns: dict[str, str]) -> None:
        self._placed, self._columns = iter(placed), columns
        self._head = list(islice(self._placed, detect.HEAD))
        self.head = [row for _, row in self._head]
        self.files: Counter[str] = Counter()

    @property
    def number(self) -> int:
        """Rows read so far."""
        return self.files.total()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for place, row in chain(self._head, self._placed):
            self.files[file_of(place)] += 1
            yield place, detect.mapped(row, self._columns)


def format_of(lines: CountedRows, source: Source, name: str) -> str:
    """The format that a source names, or that its first rows have.

    Raises:
        ValueError: There are no rows, they have no format, or the source maps columns that aren't there or that the
            format doesn't read.
    """
    detect.check_some(lines.head, name)
    detect.check_columns(source.columns, lines.head, name)
    form = source.format or detect.found_format([detect.mapped(row, source.columns) for row in lines.head], name)
    detect.check_names(source.columns, form, name)
    return form


def check_dropped(lines: CountedRows, dropped: DroppedRows, source: Source, form: str, name: str, rows: int) -> None:
    """Check that a source, and each large file of it, has lost no more rows than its bound allows, and not all.

    Raises:
        ValueError: It has; the message has reasons, counts and first places.
    """
    columns = f"the first rows have {detect.columns_of(lines.head)}"
    hint = f"is sources.{name}.format right? format {FORMATS[form]}; {columns}"
    key, share = f"sources.{name}.max_dropped_share", source.max_dropped_share
    accounting.check_some(f"source {name}", rows, lines.number, dropped.faulty, hint=hint)
    accounting.check_dropped(f"source {name}", lines.number, dropped.faulty, share, key=key, hint=hint, fewest=1)
    for file, found in dropped.files.items():
        step, number = f"source {name}: {file}", lines.files[file]
        if number >= accounting.FEWEST_ROWS:
            accounting.check_some(step, number - len(found), number, found, hint=hint)
        accounting.check_dropped(step, number, found, share, key=key, hint=hint)
