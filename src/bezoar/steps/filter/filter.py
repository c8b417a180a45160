"""Filter generated rows by cheap rules, then a judge if there is one; rejected rows are written with their reasons."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.requests.base import Backend
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import DroppedRow, FilteredRow, GeneratedRow, writer
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.judge import JUDGED, OVER_QUOTA, FilterPrompts, accepted, judged
from bezoar.steps.filter.rules import Rules

Decision = FilteredRow | DroppedRow


class Counts:
    """Counts of rows and of decisions about them; no row is kept.

    Attributes:
        rows: Rows that went in.
        kept: Accepted rows.
        rejected: Rejected rows.
        failed: Rows without a readable verdict.
    """

    def __init__(self) -> None:
        self.rows = self.kept = 0
        self.rejected, self.failed = accounting.Tally(), accounting.Tally()

    def taken(self, rows: Iterable[GeneratedRow]) -> Iterator[GeneratedRow]:
        """The rows, which are counted on the way."""
        for row in rows:
            self.rows += 1
            yield row

    def add(self, decision: Decision) -> None:
        """Count a decision."""
        if isinstance(decision, FilteredRow):
            self.kept += 1
        else:
            (self.failed if decision.failed else self.rejected).add(decision.reason, decision.detail)

    def report(self) -> dict[str, object]:
        """The counts for a shard's report."""
        reasons = {"rejected": self.rejected.sorted(), "failed": self.failed.sorted()}
        return {"rows": self.rows, "kept": self.kept, **reasons}

    def check(self, block: Filter) -> None:
        """Check that no row got lost, and not too many were rejected.

        A shard of few rows may keep none; mixes, which see all shards, check that not all are empty.

        Raises:
            ValueError: Too many were rejected, or rows got lost.
        """
        accounting.check_conserved("filter", self.rows, self.kept, self.rejected.reasons + self.failed.reasons)
        lost = accounting.Tally()
        for tally in (self.rejected, self.failed):
            lost.merge(tally, but=OVER_QUOTA)
        accounting.check_dropped(
            "filter",
            self.kept + len(lost),
            lost,
            block.max_dropped_share,
            key="max_dropped_share",
            hint="look at the scheme's rows and the reasons",
        )

    def check_failed(self, block: Filter) -> None:
        """Check that the judge's verdicts can be read.

        Raises:
            ValueError: Too many rows have no readable verdict.
        """
        of_the_judge = [reason for reason in self.rejected.reasons if reason.startswith(JUDGED)]
        asked = self.kept + len(self.failed) + sum(self.rejected.reasons[reason] for reason in of_the_judge)
        if len(self.failed) > block.max_failed_share * asked:
            reason, detail = next(iter(self.failed.first_places().items()))
            raise InputError(
                problem(
                    "the judge's verdicts can't be read",
                    found=f"{len(self.failed):,} of {asked:,} rows without a verdict, such as {reason}: {detail!r}",
                    expected=f"at most a share of {block.max_failed_share}",
                )
            )


Decide = Callable[[Iterable[GeneratedRow]], Iterable[Decision]]


def decided(
    rows: Iterable[GeneratedRow],
    judge: Backend | None,
    block: Filter,
    texts: FilterPrompts | None,
    seed: int = 0,
    at_once: int | None = None,
) -> Iterator[Decision]:
    """The decision about each row, by the rules in the order of the rows, and by the judge of some rows at a time.

    Args:
        rows: The rows.
        judge: The judge, if there is one.
        block: The filter's block.
        texts: The judge's prompts.
        seed: The recipe's.
        at_once: Rows that the judge gets at once, and that are in memory; None for all.
    """
    rules = Rules(block)
    waiting: list[GeneratedRow] = []
    for row in rows:
        if fault := rules.fault(row):
            yield DroppedRow(reason=fault[0], detail=fault[1], row=row.model_dump())
        elif judge is None or texts is None:
            yield accepted(row)
        else:
            waiting.append(row)
            if len(waiting) == at_once:
                yield from judged(waiting, judge, block, texts, seed)
                waiting = []
    if judge is not None and texts is not None:
        yield from judged(waiting, judge, block, texts, seed)


def write_shard(
    out_folder: Path,
    rows: Iterable[GeneratedRow],
    decide: Callable[[Iterable[GeneratedRow]], Iterable[Decision]],
    block: Filter,
) -> None:
    """Write a shard's kept and rejected rows, and a report with counts.

    Args:
        out_folder: The shard's folder, in a folder named by the scheme.
        rows: The rows.
        decide: Makes decisions about them.
        block: The filter's block, with its bounds.
    """
    counts = Counts()
    with artifact(out_folder) as out:
        with decisions_to(out) as write:
            for decision in decide(counts.taken(rows)):
                counts.add(decision)
                write(decision)
        counts.check_failed(block)
        counts.check(block)
        write_json(out / "report.json", counts.report())
    log(out_folder.parent.name, counts)


@contextmanager
def decisions_to(folder: Path) -> Iterator[Callable[[Decision], object]]:
    """A function that writes decisions to a shard's files."""
    with writer(folder / "kept.jsonl") as keep, writer(folder / "rejected.jsonl") as reject:
        yield lambda decision: (keep if isinstance(decision, FilteredRow) else reject)(decision)


def log(scheme: str, counts: Counts) -> None:
    """Log how many rows were kept, and why others weren't."""
    share = counts.kept / max(1, counts.rows)
    lost = accounting.text_of(counts.rejected.sorted() | counts.failed.sorted())
    logger.info(f"filter {scheme}: kept {counts.kept:,} of {counts.rows:,} rows ({share:.1%}); {lost}")
