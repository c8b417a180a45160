"""What the methods of pairing share: their block, their flags, a candidate pair, and writing a shard."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bezoar.blocks import NamedBlock, Share
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.script import Flags
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import (
    PAIR_NUMBERS,
    DroppedRow,
    PairRow,
    dialogue,
    normalized,
    reasons_of,
    row_id,
    write_rows,
)
from bezoar.steps.score.block import ScoredRow

EMPTY, EQUAL, TIED, FEWER, WORSE = (
    "empty response",
    "equal responses",
    "tied scores",
    "fewer answers",
    "not better by its score",
)
DIGITS = 4  # of a share


class PairsBlock(NamedBlock):
    """The base class of pairs.

    Attributes:
        gives: Columns with numbers that each of its rows has.
        by_row: Whether each row of the first block that it reads is a candidate; else each prompt is one.
    """

    section: ClassVar[str] = "pairs"
    rules: ClassVar[tuple[str, ...]] = ("pairs",)
    gives: ClassVar[tuple[str, ...]] = PAIR_NUMBERS
    by_row: ClassVar[bool] = False

    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's candidate pairs that may be dropped; of 20 or more."
    )

    def starts_from(self) -> list[tuple[str, str]]:
        """Section and name of the blocks whose rows it pairs."""
        raise NotImplementedError

    def answers(self) -> int:
        """The fewest answers to a prompt that give a pair."""
        return 1


@dataclass(frozen=True)
class Answer:
    """One side of a pair.

    Attributes:
        id: Of its row.
        score: None without scores.
        win_rate: None without scores.
    """

    id: str
    text: str
    score: float | None = None
    win_rate: float | None = None

    @classmethod
    def of(cls, row: ScoredRow) -> "Answer":
        """A scored row."""
        return cls(row.id, row.response, row.score, row.win_rate)


@dataclass(frozen=True)
class Candidate:
    """A candidate pair.

    Attributes:
        fault: Why it is none; empty if it is one, unless its texts or scores say otherwise.
        detail: Of the fault.
        rejected: None if there is no second answer.
    """

    root_id: str
    system: str | None
    instruction: str
    chosen: Answer
    rejected: Answer | None
    fault: str = ""
    detail: str = ""


def flags(description: str | None) -> Flags:
    """The flags of every pairs script."""
    parser = Flags(description)
    parser.path("rows", "rows of a shard: of a scheme, or scored ones")
    parser.path("against", "what they are compared with: seeds of the scheme, or scored originals", optional=True)
    parser.folder("out", "folder of the shard for rows.jsonl, dropped.jsonl and report.json; named by its number")
    return parser


def fault_of(one: Candidate) -> tuple[str, str] | None:
    """Why a candidate is no pair, and the detail; None if it is one."""
    if one.fault or one.rejected is None:
        return one.fault or FEWER, one.detail
    if not one.chosen.text.strip() or not one.rejected.text.strip():
        return EMPTY, ""
    if normalized(one.chosen.text) == normalized(one.rejected.text):
        return EQUAL, one.chosen.text
    if one.chosen.score is not None and one.chosen.score == one.rejected.score:
        return TIED, f"both {one.chosen.score:g}"
    return None


def paired(candidates: Iterable[Candidate]) -> tuple[list[PairRow], list[DroppedRow]]:
    """The pairs among candidates in their order, and the others with the reason."""
    pairs: list[PairRow] = []
    dropped: list[DroppedRow] = []
    for one in candidates:
        fault = fault_of(one)
        if fault or one.rejected is None:
            reason, detail = fault or (FEWER, "")
            rejected = one.rejected and {"rejected_id": one.rejected.id, "rejected": one.rejected.text}
            row = {"instruction": one.instruction, "chosen_id": one.chosen.id, "chosen": one.chosen.text}
            dropped.append(DroppedRow(reason=reason, detail=detail, row=row | (rejected or {})))
        else:
            pairs.append(_row(one, one.rejected))
    return pairs, dropped


def _row(one: Candidate, rejected: Answer) -> PairRow:
    return PairRow(
        id=row_id("pair", one.chosen.id, rejected.id),
        root_id=one.root_id,
        messages=dialogue(one.instruction, system=one.system),
        chosen=one.chosen.text,
        rejected=rejected.text,
        chosen_id=one.chosen.id,
        rejected_id=rejected.id,
        score_chosen=one.chosen.score,
        score_rejected=rejected.score,
        win_rate_chosen=one.chosen.win_rate,
        win_rate_rejected=rejected.win_rate,
    )


def write_shard(out_folder: Path, candidates: Sequence[Candidate], block: PairsBlock) -> None:
    """Write a shard's pairs, the candidates that are none, and a report.

    Args:
        out_folder: The shard's folder: named by its number, in a folder named by the block.
        candidates: All candidates.
        block: The block, with its bound.

    Raises:
        ValueError: More than `max_dropped_share` were dropped. A shard may be empty; mixes, which see all shards,
            check that not all of them are.
    """
    name = f"pairs {out_folder.parent.name} {out_folder.name}"
    pairs, dropped = paired(candidates)
    accounting.check_conserved(name, len(candidates), len({row.id for row in pairs}), reasons_of(dropped))
    key, hint = f"pairs.{out_folder.parent.name}.max_dropped_share", "look at dropped.jsonl, and at the rows' scores"
    accounting.check_dropped(name, len(candidates), dropped, block.max_dropped_share, key=key, hint=hint)
    share = round(len(pairs) / len(candidates), DIGITS) if candidates else None
    report = {"candidates": len(candidates), "pairs": len(pairs), "share": share, "dropped": reasons_of(dropped)}
    with artifact(out_folder) as out:
        write_rows(out / "rows.jsonl", pairs)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    logger.info(
        f"{name}: {len(pairs):,} pairs of {len(candidates):,} candidates; dropped {report['dropped'] or 'none'}"
    )
