"""Baselines of a filter: all rows that its rules let pass, or as many of them at random as it keeps.

A mix of a baseline shows what the judge adds. Rules that drop broken rows are the same for all three.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import FilterName, NamedBlock
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import DroppedRow, FilteredRow, GeneratedRow, rank, read_rows, write_rows
from bezoar.steps.filter.judge import after_rules

NOT_DRAWN = "not drawn"
NO_VERDICT = {"status": "accept", "rating": None, "reason": "", "judge": "", "judge_prompt_hash": ""}


class Baseline(NamedBlock):
    """Keeps rows of another filter's scheme without a look at its judge's verdicts."""

    section: ClassVar[str] = "filters"
    rules: ClassVar[tuple[str, ...]] = ("baseline",)
    decides: ClassVar[bool] = False

    method: Literal["accept_all", "random"] = Field(
        description="`accept_all` keeps every row that the other filter's rules let pass; `random` draws as many of "
        "them as the other filter keeps, in each shard, by a hash of seed and row."
    )
    like: FilterName = Field(description="The other filter.")


@dataclass(frozen=True)
class Shard:
    """What the other filter wrote of a shard: its kept.jsonl and its rejected.jsonl."""

    kept: Path
    rejected: Path

    def passed(self) -> Iterator[GeneratedRow]:
        """The rows that the rules let pass, whatever the judge said."""
        for row in read_rows(self.kept, FilteredRow):
            yield _unjudged(row.model_dump())
        for dropped in read_rows(self.rejected, DroppedRow):
            if after_rules(dropped.reason):
                yield _unjudged(dropped.row)

    def broken(self) -> Iterator[DroppedRow]:
        """The rows that the rules reject."""
        return (row for row in read_rows(self.rejected, DroppedRow) if not after_rules(row.reason))


def write_baseline(method: str, shard: Shard, seed: int, out_folder: Path) -> None:
    """Write a shard of a baseline; files are read row by row, several times.

    Raises:
        ValueError: Rows got lost.
    """

    def place(row: GeneratedRow) -> str:
        return rank(seed, "random", row.id)

    ranks = [place(row) for row in shard.passed()]
    kept = sum(1 for _ in read_rows(shard.kept, FilteredRow))
    drawn = heapq.nsmallest(len(ranks) if method == "accept_all" else kept, ranks)
    last = drawn[-1] if drawn else ""
    reasons = Counter(row.reason for row in shard.broken())
    read = len(ranks) + reasons.total()
    rest = (row.model_dump() for row in shard.passed() if place(row) > last)
    rejected = chain(shard.broken(), (DroppedRow(reason=NOT_DRAWN, detail="", row=row) for row in rest))
    with artifact(out_folder) as out:
        number = write_rows(
            out / "kept.jsonl", (row.model_dump() | NO_VERDICT for row in shard.passed() if place(row) <= last)
        )
        others = write_rows(out / "rejected.jsonl", rejected)
        reasons.update({NOT_DRAWN: others - reasons.total()})
        accounting.check_conserved(f"baseline {out_folder.parent.name}", read, number, reasons)
        counted = {reason: count for reason, count in sorted(reasons.items()) if count}
        write_json(out / "report.json", {"rows": read, "kept": number, "rejected": counted, "failed": {}})
    lost = accounting.text_of(counted)
    logger.info(f"baseline {out_folder.parent.name}: kept {number:,} of {read:,} rows, {method}; {lost}")


def _unjudged(row: Mapping[str, Any]) -> GeneratedRow:
    return GeneratedRow.model_validate({name: row[name] for name in GeneratedRow.model_fields if name in row})
