"""Accept a number of rows, exactly, over all shards of a scheme.

Only a job that sees all shards can: one of them may have too few good rows, and the next some to spare. Rows are judged
in the order of a hash of seed and id, no more of them than are still wanted. So it doesn't depend on the number of
shards which of the same rows are accepted, and no verdict is wasted.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.files import MARKER, artifact, check_empty, write_json
from bezoar.jsonl import from_json
from bezoar.requests.base import Backend
from bezoar.steps.data import rows
from bezoar.steps.data.rows import DroppedRow, FilteredRow, GeneratedRow
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.filter import Counts, Decision, log
from bezoar.steps.filter.judge import OVER_QUOTA, FilterPrompts, accepted, judged
from bezoar.steps.filter.rules import Rules

Candidate = tuple[str, int, int]  # its place in the order, the number of its shard, and its offset in that file


class Shards:
    """The shards of a scheme: generated rows to read, and the decisions about them to write.

    Args:
        files: The shards' rows, named by shard.
        out: Folder for the shards' decisions.
    """

    def __init__(self, files: list[Path], out: Path) -> None:
        self.files = files
        self.folders = [out / path.parent.name for path in files]
        self.counts = [Counts() for _ in files]
        self.total = Counts()
        for folder in self.folders:
            folder.mkdir()
            for name in ("kept", "rejected"):
                (folder / f"{name}.jsonl").touch()

    def rows(self) -> Iterator[tuple[int, int, GeneratedRow]]:
        """Each row, with the number of its shard and its offset."""
        for shard, path in enumerate(self.files):
            with path.open("rb") as file:
                offset = 0
                for line in file:
                    self.counts[shard].rows += 1
                    self.total.rows += 1
                    yield shard, offset, _row(line, f"{path}, byte {offset}")
                    offset += len(line)

    def read(self, candidates: list[Candidate]) -> list[GeneratedRow]:
        """The rows of candidates."""
        found = []
        for _, shard, offset in candidates:
            with self.files[shard].open("rb") as file:
                file.seek(offset)
                found.append(_row(file.readline(), f"{self.files[shard]}, byte {offset}"))
        return found

    def write(self, shard: int, decision: Decision) -> None:
        """Write a decision."""
        name = "kept" if isinstance(decision, FilteredRow) else "rejected"
        with (self.folders[shard] / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(rows.line_of(decision))
        self.counts[shard].add(decision)
        self.total.add(decision)

    def report(self) -> None:
        """Write each shard's report."""
        for folder, counts in zip(self.folders, self.counts, strict=True):
            write_json(folder / "report.json", counts.report())


def write_up_to_quota(
    files: list[Path],
    judge: Backend | None,
    block: Filter,
    texts: FilterPrompts | None,
    seed: int,
    at_once: int | None,
    out_folder: Path,
) -> None:
    """Write each shard's kept rows, which are as many as the quota over all, its rejected ones, and a report.

    Raises:
        ValueError: Too few rows are accepted, too many have no readable verdict or are rejected, or rows got lost.
    """
    assert block.quota
    _remove_empty(out_folder)
    with artifact(out_folder) as out:
        shards = Shards(files, out)
        candidates = _candidates(shards, Rules(block), seed)
        rest = iter(candidates)
        while (wanted := block.quota - shards.total.kept) and (some := list(islice(rest, _fewer(wanted, at_once)))):
            found = shards.read(some)
            place = {row.id: shard for row, (_, shard, _) in zip(found, some, strict=True)}
            decisions = judged(found, judge, block, texts, seed) if judge and texts else list(map(accepted, found))
            for decision in decisions:
                shards.write(place[_id_of(decision)], decision)
        for candidate in sorted(rest, key=lambda one: one[1:]):
            (row,) = shards.read([candidate])
            shards.write(candidate[1], DroppedRow(reason=OVER_QUOTA, detail="", row=row.model_dump()))
        shards.total.check_failed(block)
        _check_quota(block.quota, shards.total.kept, len(candidates))
        shards.total.check(block)
        shards.report()
    log(out_folder.name, shards.total)


def _remove_empty(folder: Path) -> None:
    """Remove the shards' folders of an earlier result, of which Snakemake removes the files only."""
    for shard in folder.glob("[0-9]*"):
        check_empty(shard)
        (shard / MARKER).unlink(missing_ok=True)
        shard.rmdir()


def _candidates(shards: Shards, rules: Rules, seed: int) -> list[Candidate]:
    """The rows that pass the cheap rules, in the order in which they are judged; the others are written."""
    candidates: list[Candidate] = []
    ids: set[int] = set()  # an instruction that two shards listed may have two answers
    for shard, offset, row in shards.rows():
        fault = rules.fault(row) or (("duplicate", "") if int(row.id, 16) in ids else None)
        if fault:
            shards.write(shard, DroppedRow(reason=fault[0], detail=fault[1], row=row.model_dump()))
        else:
            candidates.append((rows.rank(seed, row.id), shard, offset))
            ids.add(int(row.id, 16))
    return sorted(candidates)


def _check_quota(quota: int, kept: int, passed: int) -> None:
    if kept < quota:
        raise InputError(
            problem(
                "too few rows are accepted",
                found=f"{kept:,} of {passed:,} that pass the cheap rules, in all shards",
                expected=f"{quota:,}, the quota",
                hint="generate more candidates; verdicts so far are not paid for again",
            )
        )


def _row(line: bytes, place: str) -> GeneratedRow:
    return GeneratedRow.model_validate(from_json(line.decode(), place))


def _id_of(decision: Decision) -> str:
    return decision.id if isinstance(decision, FilteredRow) else str(decision.row["id"])


def _fewer(wanted: int, at_once: int | None) -> int:
    return wanted if at_once is None else min(wanted, at_once)
