"""The rows of a source, validated, in our own row type, with a report on dropped rows."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting, detect
from bezoar.steps.data.formats import FORMATS, Normal
from bezoar.steps.data.normalise import FURTHER, normalise
from bezoar.steps.data.rows import DroppedRow, reasons_of, write_rows
from bezoar.steps.data.sources import Source, rows_of, taken


def write_source(source: Source, seed: int, out_folder: Path) -> None:
    """Fetch or make a source's rows, and write those that are taken and those that are dropped."""
    name = out_folder.name
    with tempfile.TemporaryDirectory() as scratch:
        kept, dropped, report = read(rows_of(source.origin, seed, Path(scratch)), source, seed, name)
    with artifact(out_folder) as out:
        write_rows(out / "rows.jsonl", kept)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    logger.info(f"{name}: {len(kept):,} rows, format {report['format']}; {report['read']:,} read; {report}")


def read(
    placed: Iterable[tuple[str, Any]], source: Source, seed: int, name: str
) -> tuple[list[Normal], list[DroppedRow], dict[str, Any]]:
    """The rows that are taken from a source, those that are dropped, and the counts.

    Raises:
        ValueError: No row is left, more were dropped than the source's bound allows, or rows got lost.
    """
    lines = CountedRows(placed, source.columns)
    form = format_of(lines, source, name)
    logger.info(f"source {name}: format {form}, {'named' if source.format else 'found by its columns and values'}")
    replaced: dict[str, list[str]] = {}
    rows, dropped = normalise(lines, form, replaced, source.limit)
    for what, places in replaced.items():
        logger.warning(f"source {name}: {len(places):,} {what}: {', '.join(places[: accounting.PLACES])}")
    faulty = [row for row in dropped if row.reason != FURTHER]
    check_dropped(lines, faulty, source, form, name, len(rows))
    kept = taken(rows, source, seed, name)
    report: dict[str, Any] = {
        "format": form,
        "read": lines.number + len(dropped) - len(faulty),
        "rows": len(kept),
        "dropped": reasons_of(dropped),
        "not_taken": {"not sampled": len(rows) - len(kept)},
        "replaced": {what: len(places) for what, places in replaced.items()},
    }
    accounting.check_conserved(f"source {name}", report["read"], len(kept), report["dropped"] | report["not_taken"])
    return kept, dropped, report


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


def file_of(place: str) -> str:
    """The file of a place, which is `file:line`."""
    return place.rpartition(":")[0]


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


def check_dropped(
    lines: CountedRows, dropped: list[DroppedRow], source: Source, form: str, name: str, rows: int
) -> None:
    """Check that a source, and each large file of it, has lost no more rows than its bound allows, and not all.

    Raises:
        ValueError: It has; the message has reasons, counts and first places.
    """
    columns = f"the first rows have {detect.columns_of(lines.head)}"
    hint = f"is sources.{name}.format right? format {FORMATS[form]}; {columns}"
    key, share = f"sources.{name}.max_dropped_share", source.max_dropped_share
    accounting.check_some(f"source {name}", rows, lines.number, dropped, hint=hint)
    accounting.check_dropped(f"source {name}", lines.number, dropped, share, key=key, hint=hint, fewest=1)
    places: dict[str, list[DroppedRow]] = {}
    for row in dropped:
        places.setdefault(file_of(row.detail), []).append(row)
    for file, found in places.items():
        step, number = f"source {name}: {file}", lines.files[file]
        if number >= accounting.FEWEST_ROWS:
            accounting.check_some(step, number - len(found), number, found, hint=hint)
        accounting.check_dropped(step, number, found, share, key=key, hint=hint)
