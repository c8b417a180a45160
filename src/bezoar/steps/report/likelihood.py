"""The report of a likelihood evaluation: nats per token by mix, with intervals and paired differences."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.files import rounded
from bezoar.logs import logger
from bezoar.steps.data.rows import read_rows
from bezoar.steps.evaluate.likelihood import Likelihood, LikelihoodRow
from bezoar.steps.evaluate.significance import mean_p_value, separability
from bezoar.steps.evaluate.stats import weighted_mean
from bezoar.steps.report.differences import differences, draws_of
from bezoar.steps.results.likelihood import LikelihoodReport
from bezoar.steps.results.write import write

NOTE = "Log-likelihood of held-out answers in nats per token; higher is better. 95 % intervals resample families."


def clusters(rows: Sequence[LikelihoodRow]) -> tuple[list[str], list[float], list[int]]:
    """Names of the families, sorted; the log-likelihood and the tokens of each."""
    sums: dict[str, float] = {}
    tokens: dict[str, int] = {}
    for row in rows:
        sums[row.family] = sums.get(row.family, 0.0) + row.loglikelihood
        tokens[row.family] = tokens.get(row.family, 0) + row.tokens
    names = sorted(sums)
    return names, [sums[name] for name in names], [tokens[name] for name in names]


def score(rows: Sequence[LikelihoodRow], block: Likelihood, seed: int) -> dict[str, Any]:
    """The mean over all tokens, with its interval for other families of answers."""
    _, sums, tokens = clusters(rows)
    return _estimate(sums, tokens, block.bootstrap_samples, seed, (-np.inf, 0.0))


def difference(
    rows: Sequence[LikelihoodRow], others: Sequence[LikelihoodRow], draws: int, seed: int
) -> dict[str, Any] | None:
    """The mean difference to another checkpoint on the same answers, with its p-value; None if their tokens differ."""
    names, sums, tokens = clusters(rows)
    other_names, other_sums, other_tokens = clusters(others)
    if (names, tokens) != (other_names, other_tokens):
        return None
    gains = [mine - theirs for mine, theirs in zip(sums, other_sums, strict=True)]
    counts = np.array(tokens, dtype=float)
    p = mean_p_value(np.array(gains), counts, ["all"] * len(gains), draws, seed)
    return _estimate(gains, tokens, draws, seed, (-np.inf, np.inf)) | {"p": rounded(p)}


def _estimate(
    sums: list[float], tokens: list[int], draws: int, seed: int, bounds: tuple[float, float]
) -> dict[str, Any]:
    found = weighted_mean(np.array(sums), np.array(tokens, dtype=float), ["all"] * len(sums), draws, seed, bounds)
    return {name: None if value is None else round(value, 4) for name, value in asdict(found).items()}


def reported(tables: dict[str, dict[str, list[LikelihoodRow]]], block: Likelihood, seed: int) -> dict[str, Any]:
    """The report, from the rows by checkpoint and mix."""
    first = tables[block.checkpoints[0]]
    scores = {name: {mix: score(tables[name][mix], block, seed) for mix in block.mixes} for name in block.checkpoints}
    draws = draws_of(block, len(block.mixes), block.bootstrap_samples)
    gaps, comparisons = differences(
        block, block.mixes, lambda mix, name, other: difference(tables[name][mix], tables[other][mix], draws, seed)
    )
    counts = {
        mix: {
            "answers": len(first[mix]),
            "families": len({row.family for row in first[mix]}),
            "tokens": sum(row.tokens for row in first[mix]),
        }
        for mix in block.mixes
    }
    return {
        "note": NOTE,
        "mixes": counts,
        "order": list(block.checkpoints),  # differences are to the first, and to the previous one
        "checkpoints": {
            name: {mix: scores[name][mix] | gaps[mix][name] for mix in block.mixes} for name in block.checkpoints
        },
        "separability": {
            mix: rounded(separability([(one[mix]["low"], one[mix]["high"]) for one in scores.values()]))
            for mix in block.mixes
        },
        "comparisons": comparisons,
        "seed": seed,
    }


def write_report(paths: list[Path], block: Likelihood, seed: int, out: Path) -> None:
    """Write every score with its interval, and log a line for each checkpoint and mix.

    Args:
        paths: scores.jsonl of each checkpoint, in a folder with its name.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
    """
    tables: dict[str, dict[str, list[LikelihoodRow]]] = {}
    for path in paths:
        table: dict[str, list[LikelihoodRow]] = {mix: [] for mix in block.mixes}
        for row in read_rows(path, LikelihoodRow):
            table[row.mix].append(row)
        tables[path.parent.name] = table
    report = {"evaluation": out.stem, **reported(tables, block, seed)}
    write(out, report, LikelihoodReport)
    for name, mixes in report["checkpoints"].items():
        for mix, one in mixes.items():
            logger.info(f"{name} on {mix}: {_shown(one)}{_gain(one['difference_to_first'])}")


def _shown(one: dict[str, Any], sign: str = "") -> str:
    ends = "" if one["low"] is None or one["high"] is None else f" [{one['low']:{sign}.3f}, {one['high']:{sign}.3f}]"
    return f"{one['mean']:{sign}.3f}{ends}"


def _gain(difference: dict[str, Any] | None) -> str:
    return f", {_shown(difference, '+')} against {difference['to']}" if difference else " nats per token"
