"""Fetch or make the rows of a source, check them, and write them in our own row type."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bezoar import accounting
from bezoar.files import artifact, write_json
from bezoar.formats import FURTHER, Normal, normalise
from bezoar.logs import logger
from bezoar.params.data import Source
from bezoar.rows import DroppedRow, reasons_of, write_rows
from bezoar.script import Flags, run
from bezoar.sources import rows_of, taken


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="sources.<name> seed")
    flags.folder("out", "folder to write rows.jsonl, dropped.jsonl and report.json to")
    args, (source, seed) = flags.start(argv)
    name = args.out.name
    with tempfile.TemporaryDirectory() as scratch:
        kept, dropped, report = read(rows_of(source.origin, seed, Path(scratch)), source, seed, name)
    with artifact(args.out) as out:
        write_rows(out / "rows.jsonl", kept)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    logger.info(f"source {name}: kept {len(kept):,} of {report['read']:,} rows; {report}")


def read(
    placed: Iterable[tuple[str, Any]], source: Source, seed: int, name: str
) -> tuple[list[Normal], list[DroppedRow], dict[str, Any]]:
    """The rows that are taken of a source, those that were dropped, and how many went where.

    Raises:
        ValueError: No row is left, more were dropped than the source's bound says, or rows got lost.
    """
    lines = Lines(placed)
    replaced: dict[str, list[str]] = {}
    rows, dropped = normalise(lines, source.format, replaced)
    for what, places in replaced.items():
        logger.warning(f"source {name}: {len(places):,} {what}: {', '.join(places[: accounting.PLACES])}")
    faulty = [row for row in dropped if row.reason != FURTHER]
    hint = f"is sources.{name}.format right? found {source.format}; the first row has {lines.columns}"
    key = f"sources.{name}.max_dropped_share"
    accounting.check_some(f"source {name}", len(rows), lines.number, faulty, hint=hint)
    accounting.check_dropped(
        f"source {name}", lines.number, faulty, source.max_dropped_share, key=key, hint=hint, fewest=1
    )
    kept = taken(rows, source, seed, name)
    first = min(source.first or len(rows), len(rows))
    report: dict[str, Any] = {
        "read": lines.number + len(dropped) - len(faulty),
        "rows": len(kept),
        "dropped": reasons_of(dropped),
        "not_taken": {"after first": len(rows) - first, "not sampled": first - len(kept)},
        "replaced": {what: len(places) for what, places in replaced.items()},
    }
    accounting.check_conserved(f"source {name}", report["read"], len(kept), report["dropped"] | report["not_taken"])
    return kept, dropped, report


class Lines:
    """Rows as they are read, counted; and what columns the first one has."""

    def __init__(self, placed: Iterable[tuple[str, Any]]) -> None:
        self.placed = placed
        self.number = 0
        self.columns = "no columns"

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for place, row in self.placed:
            if not self.number and isinstance(row, dict):
                self.columns = ", ".join(map(str, row))[: accounting.DETAIL]
            self.number += 1
            yield place, row


if __name__ == "__main__":
    run(main)
