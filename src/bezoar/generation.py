"""What the three schemes share: answering instructions, and writing a shard with everything accounted for."""

import argparse
from collections import Counter
from collections.abc import Iterable
from typing import Any

from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.rows import DroppedRow, GeneratedRow, write_rows
from bezoar.script import Flags


def flags(description: str | None) -> Flags:
    """The flags of every generate script."""
    parser = Flags(description, blocks="schemes.<name> backends.<teacher> prompt seed shards")
    parser.path("seeds", "shard of seed rows")
    parser.path("prompts", "prompt file of the scheme")
    parser.path("teacher", "model directory of a local teacher", optional=True)
    parser.path("topics", "topic list, one a line", optional=True)
    parser.folder("out", "folder of the shard for rows.jsonl, dropped.jsonl and report.json; named by its number")
    return parser


def write_shard(
    args: argparse.Namespace,
    rows: Iterable[GeneratedRow],
    dropped: Iterable[DroppedRow],
    candidates: int,
) -> None:
    """A shard's rows and its dropped rows; together they are all candidates.

    Raises:
        ValueError: Rows got lost or doubled: candidates isn't rows + dropped, or two rows share an id.
    """
    rows, dropped = list(rows), list(dropped)
    if candidates != len(rows) + len(dropped) or len({row.id for row in rows}) != len(rows):
        raise ValueError(f"rows got lost: {candidates} candidates, {len(rows)} rows, {len(dropped)} dropped")
    reasons = dict(sorted(Counter(row.reason for row in dropped).items()))
    report = {"candidates": candidates, "rows": len(rows), "dropped": reasons}
    report["operations"] = dict(sorted(Counter(row.operation or "none" for row in rows).items()))
    with artifact(args.out) as out:
        write_rows(out / "rows.jsonl", rows)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    name = f"{args.out.parent.name} {args.out.name}"
    logger.info(f"generate {name}: {len(rows):,} rows of {candidates:,} candidates; dropped {reasons or 'none'}")


def dropped_row(reason: str, detail: str, **row: Any) -> DroppedRow:
    """A candidate that went no further."""
    return DroppedRow(reason=reason, detail=detail, row=row)
