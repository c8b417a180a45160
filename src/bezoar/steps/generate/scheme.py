"""What the schemes share: their block, flags, and writing a shard with every candidate counted."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Block, FilePath, Name, Reference, Sampling, Share, SourceName, TeacherName
from bezoar.errors import InputError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.requests.base import Completion
from bezoar.requests.calls import CHARS_PER_TOKEN
from bezoar.requests.demand import Demand, Known
from bezoar.script import Flags
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import FAILED, DroppedRow, GeneratedRow, reasons_of, write_rows
from bezoar.steps.seeded import Seeded

SchemeName = Annotated[Name, Reference(("schemes",), "no such scheme")]


class SourceSeeds(Block):
    """The rows of a source."""

    kind: Literal["source"]
    name: SourceName


class SchemeSeeds(Block):
    """The rows of another scheme that its filter keeps; all of them if it has none."""

    kind: Literal["scheme"]
    name: SchemeName


Seeds = Annotated[SourceSeeds | SchemeSeeds, Field(discriminator="kind")]


class SchemeBlock(Seeded):
    """The base class of schemes.

    Attributes:
        judged: Whether its rows have a filter; those of a scheme for which it may be left out are used as they are.
        deals: Keys that the draw of its work from all seed rows depends on; none if each shard works on its own rows.
    """

    section: ClassVar[str] = "schemes"
    rules: ClassVar[tuple[str, ...]] = ("shard", "generate")
    judged: ClassVar[bool] = True
    deals: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[dict[str, tuple[str, ...]]] = {"generate": ("teacher",)}

    seeds: Name | Seeds = Field(description="Rows that the scheme starts from.")
    teacher: TeacherName = Field(description="Backend that generates.")
    prompts: FilePath | None = Field(description="Prompt file of the scheme.")
    sampling: Sampling = Sampling(temperature=0.7)
    max_failed_share: Share = Field(0.05, description="Share of a shard's candidates that may have no usable answer.")
    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's candidates, failed ones too, that may be dropped; of 20 or more."
    )

    def starts_from(self) -> tuple[str, str]:
        """Section and name of the block whose rows it starts from."""
        return ("sources", self.seeds) if isinstance(self.seeds, str) else (f"{self.seeds.kind}s", self.seeds.name)

    def files(self) -> list[str]:
        """Files that the scheme reads in addition to its prompts."""
        return []

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The most rows that one shard writes; None if that isn't known before the seeds exist.

        Args:
            seeds: Rows of the seed source, if known.
            shards: Shards of the recipe.
        """
        raise NotImplementedError

    def requests_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The most requests of one shard, without repeats; None if unknown."""
        return self.candidates_of_a_shard(seeds, shards)

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a shard to the backend that a key names."""
        longest = getattr(self, "max_characters", 1000) // CHARS_PER_TOKEN
        calls = self.requests_of_a_shard(known.seeds(self.name), known.shards)
        return Demand(calls, (known.tokens(self.prompts) if self.prompts else 0) + longest, self.sampling)


def shard_flags(description: str | None, *, many: bool = False) -> Flags:
    """The flags of every shard script; with `many`, it takes any number of files of rows."""
    parser = Flags(description)
    parser.path("rows", "rows of the seeds", many=many)
    parser.path("topics", "topic list, one per line", optional=True)
    parser.folder("out", "folder to write one file per shard and report.json to; named by the scheme")
    return parser


def write_shard(
    out_folder: Path,
    rows: Iterable[GeneratedRow],
    dropped: Iterable[DroppedRow],
    candidates: int,
    block: SchemeBlock,
) -> None:
    """A shard's rows, and its dropped and failed rows; together they are all candidates.

    Args:
        out_folder: The shard's folder: named by its number, in a folder named by the scheme.
        rows: The rows.
        dropped: Candidates that gave no row.
        candidates: Their number.
        block: The scheme's block, with its bounds.

    Raises:
        ValueError: Rows got lost or doubled: candidates isn't rows + dropped + failed, or two rows share an id. Or more
            than `max_failed_share` have failed, or more than `max_dropped_share` were dropped in total. A shard may be
            empty; mixes, which see all shards, check that not all of them are.
    """
    rows, dropped = list(rows), list(dropped)
    name = f"generate {out_folder.parent.name} {out_folder.name}"
    accounting.check_conserved(name, candidates, len({row.id for row in rows}), reasons_of(dropped))
    accounting.check_conserved(name, candidates, len(rows), reasons_of(dropped))
    failed = [row for row in dropped if row.failed]
    if len(failed) > block.max_failed_share * candidates:
        raise InputError(
            problem(
                "the teacher failed too often",
                found=f"{len(failed):,} of {candidates:,} candidates, such as {failed[0].reason}: "
                f"{failed[0].detail[:200]!r}",
                expected=f"at most a share of {block.max_failed_share}",
            )
        )
    key = f"schemes.{out_folder.parent.name}.max_dropped_share"
    hint = "look at the teacher's answers to this scheme's prompts"
    accounting.check_dropped(name, candidates, dropped, block.max_dropped_share, key=key, hint=hint)
    report: dict[str, Any] = {
        "candidates": candidates,
        "rows": len(rows),
        "dropped": reasons_of(row for row in dropped if not row.failed),
        "failed": reasons_of(failed),
    }
    report["operations"] = dict(sorted(Counter(row.operation or "none" for row in rows).items()))
    with artifact(out_folder) as out:
        write_rows(out / "rows.jsonl", rows)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    lost = accounting.text_of(report["dropped"] | report["failed"])
    logger.info(f"{name}: {len(rows):,} rows of {candidates:,} candidates; {lost}")


def failed_row(answer: Completion, **row: Any) -> DroppedRow:
    """A candidate without a usable answer in all tries: refused, cut, empty or missing."""
    return dropped_row(f"{FAILED}{answer.fault}", answer.error or answer.text, **row)


def dropped_row(reason: str, detail: str, **row: Any) -> DroppedRow:
    """A candidate that was dropped."""
    return DroppedRow(reason=reason, detail=detail, row=row)
