"""What the three schemes share: answering instructions, and writing a shard with everything accounted for."""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from bezoar import accounting
from bezoar.backends import Completion
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.params.data import SchemeBlock
from bezoar.rows import FAILED, DroppedRow, GeneratedRow, reasons_of, write_rows
from bezoar.script import Flags


def flags(description: str | None) -> Flags:
    """The flags of every generate script."""
    parser = Flags(description, blocks="schemes.<name> backends.<teacher> prompt seed shards budget")
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
    block: SchemeBlock,
    unused: Mapping[str, int] | None = None,
) -> None:
    """A shard's rows, and its dropped and failed rows; together they are all candidates.

    Args:
        args: The script's flags.
        rows: What was made.
        dropped: Candidates that gave no row.
        candidates: How many there were.
        block: The scheme's, with its bounds.
        unused: Seed rows that no candidate came from, by reason.

    Raises:
        ValueError: Rows got lost or doubled: candidates isn't rows + dropped + failed, or two rows share an id. Or a
            larger share than `most_failed` has failed, or a larger one than `max_dropped_share` was dropped in all. One
            shard may be without rows; that not all of them are is checked by the mixes, which see all.
    """
    rows, dropped = list(rows), list(dropped)
    name = f"generate {args.out.parent.name} {args.out.name}"
    accounting.check_conserved(name, candidates, len({row.id for row in rows}), reasons_of(dropped))
    accounting.check_conserved(name, candidates, len(rows), reasons_of(dropped))
    failed = [row for row in dropped if row.failed]
    if len(failed) > block.most_failed * candidates:
        raise ValueError(
            f"the teacher failed too often\n  found:    {len(failed):,} of {candidates:,} candidates, such as "
            f"{failed[0].reason}: {failed[0].detail[:200]!r}\n  expected: at most a share of {block.most_failed}"
        )
    key = f"schemes.{args.out.parent.name}.max_dropped_share"
    hint = "look at what the teacher writes for this scheme's prompts"
    accounting.check_dropped(name, candidates, dropped, block.max_dropped_share, key=key, hint=hint)
    report: dict[str, Any] = {
        "seeds_unused": dict(unused or {}),
        "candidates": candidates,
        "rows": len(rows),
        "dropped": reasons_of(row for row in dropped if not row.failed),
        "failed": reasons_of(failed),
    }
    report["operations"] = dict(sorted(Counter(row.operation or "none" for row in rows).items()))
    with artifact(args.out) as out:
        write_rows(out / "rows.jsonl", rows)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    reasons = f"dropped {report['dropped'] or 'none'}, failed {report['failed'] or 'none'}"
    logger.info(f"{name}: {len(rows):,} rows of {candidates:,} candidates; {reasons}")


def failed_row(answer: Completion, **row: Any) -> DroppedRow:
    """A candidate whose answer was refused, cut, empty or not given, each time that it was asked for."""
    return dropped_row(f"{FAILED}{answer.fault}", answer.error or answer.text, **row)


def dropped_row(reason: str, detail: str, **row: Any) -> DroppedRow:
    """A candidate that went no further."""
    return DroppedRow(reason=reason, detail=detail, row=row)
