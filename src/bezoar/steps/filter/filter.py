"""Filter generated rows by cheap rules, then a judge if there is one; rejected rows are written with their reasons."""

from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.requests.base import Backend
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import DroppedRow, FilteredRow, GeneratedRow, reasons_of, write_rows
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.judge import OVER_QUOTA, FilterPrompts, judged, judged_up_to, unjudged
from bezoar.steps.filter.rules import Rules


def filtered(
    rows: list[GeneratedRow],
    judge: Backend | None,
    block: Filter,
    texts: FilterPrompts | None,
    quota: int | None = None,
    seed: int = 0,
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Kept and rejected rows; together they are all rows.

    Raises:
        ValueError: Too many rows have no readable verdict, too few are accepted, or rows got lost. A shard of few rows
            may keep none; mixes, which see all shards, check that not all are empty.
    """
    rules = Rules(block)
    passed, rejected = [], []
    for row in rows:
        fault = rules.fault(row)
        if fault:
            rejected.append(DroppedRow(reason=fault[0], detail=fault[1], row=row.model_dump()))
        else:
            passed.append(row)
    if judge is None or texts is None:
        kept, refused = unjudged(passed, quota)
    elif quota is None:
        kept, refused = judged(passed, judge, block, texts, seed)
    else:
        kept, refused = judged_up_to(quota, passed, judge, block, texts, seed)
    failed = [row for row in refused if row.failed]
    asked = len(kept) + sum(row.reason != OVER_QUOTA for row in refused)
    if len(failed) > block.max_failed_share * asked:
        raise InputError(
            problem(
                "the judge's verdicts can't be read",
                found=f"{len(failed):,} of {asked:,} rows without a verdict, such as {failed[0].reason}: "
                f"{failed[0].detail[:200]!r}",
                expected=f"at most a share of {block.max_failed_share}",
            )
        )
    if quota and len(kept) < quota:
        raise InputError(
            problem(
                "too few rows are accepted",
                found=f"{len(kept):,} of {len(passed):,} that pass the cheap rules",
                expected=f"{quota:,}, this shard's share of the quota",
                hint="generate more candidates; verdicts so far are not paid for again",
            )
        )
    accounting.check_conserved("filter", len(rows), len(kept), reasons_of(rejected + refused))
    lost = [row for row in rejected + refused if row.reason != OVER_QUOTA]
    accounting.check_dropped(
        "filter",
        len(kept) + len(lost),
        lost,
        block.max_dropped_share,
        key="max_dropped_share",
        hint="look at the scheme's rows and the reasons",
    )
    return kept, rejected + refused


def share_of(quota: int, shard: int, shards: int) -> int:
    """A shard's share of a quota; the shares of all shards sum to it."""
    return quota // shards + (shard < quota % shards)


def write_shard(out_folder: Path, rows: int, kept: list[FilteredRow], rejected: list[DroppedRow]) -> None:
    """Write a shard's kept and rejected rows, and a report with counts.

    Args:
        out_folder: The shard's folder, in a folder named by the scheme.
        rows: The number of rows of the input.
        kept: Rows that pass.
        rejected: The others.
    """
    reasons = reasons_of(row for row in rejected if not row.failed)
    failed = reasons_of(row for row in rejected if row.failed)
    with artifact(out_folder) as out:
        write_rows(out / "kept.jsonl", kept)
        write_rows(out / "rejected.jsonl", rejected)
        write_json(out / "report.json", {"rows": rows, "kept": len(kept), "rejected": reasons, "failed": failed})
    share = len(kept) / max(1, rows)
    why = f"rejected {reasons or 'none'}, failed {failed or 'none'}"
    logger.info(f"filter {out_folder.parent.name}: kept {len(kept):,} of {rows:,} rows ({share:.1%}); {why}")
