"""The rows of a source, validated, in our own row type, with a report on dropped rows."""

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.formats import Normal
from bezoar.steps.data.normalise import FURTHER, found_format, normalise
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
    logger.info(f"source {name}: kept {len(kept):,} of {report['read']:,} rows; {report}")


def read(
    placed: Iterable[tuple[str, Any]], source: Source, seed: int, name: str
) -> tuple[list[Normal], list[DroppedRow], dict[str, Any]]:
    """The rows that are taken from a source, those that are dropped, and the counts.

    Raises:
        ValueError: No row is left, more were dropped than the source's bound allows, or rows got lost.
    """
    lines = CountedRows(placed)
    form = source.format or found_format(lines.first, name)
    if source.format is None:
        logger.info(f"source {name}: format {form}, detected by its columns")
    replaced: dict[str, list[str]] = {}
    rows, dropped = normalise(lines, form, replaced)
    for what, places in replaced.items():
        logger.warning(f"source {name}: {len(places):,} {what}: {', '.join(places[: accounting.PLACES])}")
    faulty = [row for row in dropped if row.reason != FURTHER]
    hint = f"is sources.{name}.format right? found {form}; the first row has {lines.columns}"
    key = f"sources.{name}.max_dropped_share"
    accounting.check_some(f"source {name}", len(rows), lines.number, faulty, hint=hint)
    accounting.check_dropped(
        f"source {name}", lines.number, faulty, source.max_dropped_share, key=key, hint=hint, fewest=1
    )
    kept = taken(rows, source, seed, name)
    first = min(source.limit or len(rows), len(rows))
    report: dict[str, Any] = {
        "read": lines.number + len(dropped) - len(faulty),
        "rows": len(kept),
        "dropped": reasons_of(dropped),
        "not_taken": {"after first": len(rows) - first, "not sampled": first - len(kept)},
        "replaced": {what: len(places) for what, places in replaced.items()},
    }
    accounting.check_conserved(f"source {name}", report["read"], len(kept), report["dropped"] | report["not_taken"])
    return kept, dropped, report


class CountedRows:
    """Counts rows while they are read.

    Attributes:
        number: Rows read so far.
        first: The first row, if any.
    """

    def __init__(self, placed: Iterable[tuple[str, Any]]) -> None:
        self._placed = iter(placed)
        self._head = list(islice(self._placed, 1))
        self.first = self._head[0][1] if self._head else None
        self.number = 0

    @property
    def columns(self) -> str:
        """The columns of the first row, for a message."""
        if not isinstance(self.first, dict):
            return "no columns"
        return ", ".join(map(str, self.first))[: accounting.DETAIL]

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for placed in chain(self._head, self._placed):
            self.number += 1
            yield placed
