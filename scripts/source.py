"""Fetch or make the rows of a source, check them, and write them in our own row type."""

import tempfile
from collections import Counter
from pathlib import Path

from bezoar.files import artifact
from bezoar.formats import normalise
from bezoar.logs import logger
from bezoar.rows import write_rows
from bezoar.script import Flags, run
from bezoar.sources import rows_of, taken


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="sources.<name> seed")
    flags.folder("out", "folder to write rows.jsonl and dropped.jsonl to")
    args, (source, seed) = flags.start(argv)
    name = args.out.name
    with tempfile.TemporaryDirectory() as scratch:
        placed = rows_of(source.origin, seed, Path(scratch))
        rows, dropped = normalise(placed, source.format)
    kept = taken(rows, source, seed, name)
    with artifact(args.out) as out:
        write_rows(out / "rows.jsonl", kept)
        write_rows(out / "dropped.jsonl", dropped)
    reasons = dict(Counter(row.reason for row in dropped))
    logger.info(f"source {name}: kept {len(kept):,} of {len(rows) + len(dropped):,} rows; dropped {reasons or 'none'}")


if __name__ == "__main__":
    run(main)
