"""Win rates from scores, and writing a shard of scored rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import FAILED, DroppedRow, GeneratedRow, reasons_of, write_rows
from bezoar.steps.score.block import ScoreBlock, ScoredRow, prompt_key

DIGITS = 6  # of scores and win rates


@dataclass(frozen=True)
class Scored:
    """What a method says of a row.

    Attributes:
        score: None without one.
        scorer: Model that scored.
        prompt_hash: sha256 of the judge's prompt; empty without one.
        fault: Why there is no score.
        detail: What was said instead.
    """

    score: float | None
    scorer: str
    prompt_hash: str = ""
    fault: str = ""
    detail: str = ""


def win_rates(scores: Sequence[float]) -> list[float]:
    """The expected share of wins of each answer to a prompt over all of them, itself included, from 0 to 1.

    An answer beats another one with the probability sigmoid(difference of scores), as Bradley and Terry have it; so a
    single answer has 0.5.

    Args:
        scores: (answers,), in nats of these odds.

    Source: Wu et al. 2024 (arXiv:2405.00675), section 4.2, the estimate of P(y > policy | x) from K answers, which
    uclaml/SPPO computes with each answer against all K, itself included.
    """
    import numpy as np
    from scipy.special import expit

    found = np.asarray(scores, dtype=np.float64)
    return [float(one) for one in expit(found[:, None] - found[None, :]).mean(axis=1)]


def scored_rows(rows: Sequence[GeneratedRow], found: Sequence[Scored]) -> tuple[list[ScoredRow], list[DroppedRow]]:
    """Rows with score and win rate, in their order, and those without a score, which count in no win rate."""
    dropped = [
        DroppedRow(reason=f"{FAILED}{one.fault}", detail=one.detail, row=row.model_dump())
        for row, one in zip(rows, found, strict=True)
        if one.score is None
    ]
    groups: dict[str, list[tuple[int, float]]] = {}
    for place, (row, one) in enumerate(zip(rows, found, strict=True)):
        if one.score is not None:
            groups.setdefault(prompt_key(row), []).append((place, one.score))
    made: dict[int, ScoredRow] = {}
    for members in groups.values():
        for (place, score), rate in zip(members, win_rates([one for _, one in members]), strict=True):
            facts: dict[str, Any] = {"score": round(score, DIGITS), "win_rate": round(rate, DIGITS)}
            scorer = {"scorer": found[place].scorer, "scorer_prompt_hash": found[place].prompt_hash}
            made[place] = ScoredRow.model_validate(rows[place].model_dump() | facts | scorer)
    return [made[place] for place in sorted(made)], dropped


def write_shard(out_folder: Path, rows: Sequence[GeneratedRow], found: Sequence[Scored], block: ScoreBlock) -> None:
    """Write a shard's scored rows, those without a score, and a report.

    Args:
        out_folder: The shard's folder: named by its number, in a folder named by the block.
        rows: The rows.
        found: What the method says of each.
        block: The block, with its bound.

    Raises:
        InputError: More than `max_failed_share` have no score.
    """
    name = f"score {out_folder.parent.name} {out_folder.name}"
    scored, dropped = scored_rows(rows, found)
    accounting.check_conserved(name, len(rows), len(scored), reasons_of(dropped))
    if len(dropped) > block.max_failed_share * len(rows):
        raise InputError(
            problem(
                f"{name}: too many rows have no score",
                found=f"{len(dropped):,} of {len(rows):,}, such as {dropped[0].reason}: {dropped[0].detail[:200]!r}",
                expected=f"at most a share of {block.max_failed_share:g} (max_failed_share)",
            )
        )
    report = {"rows": len(rows), "scored": len(scored), "failed": reasons_of(dropped), "mean": _mean(scored)}
    with artifact(out_folder) as out:
        write_rows(out / "rows.jsonl", scored)
        write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    logger.info(f"{name}: {len(scored):,} of {len(rows):,} rows scored, mean {report['mean']}")


def _mean(rows: list[ScoredRow]) -> float | None:
    return round(sum(row.score for row in rows) / len(rows), DIGITS) if rows else None
