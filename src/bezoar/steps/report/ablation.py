"""The table of an ablation: the paired difference of each level of a matrix to the recipe's own, axis by axis.

A difference is the mean over all levels of the other axes, seeds too: a question's differences are drawn together, so
the interval is for other questions. How far seeds spread is beside it, as the standard deviation of the differences
with each seed alone. Holm's rule flags what is more than chance among all levels, stages and metrics of the matrix.

Source: Miller 2024 (arXiv:2411.00640), section 2.2, on questions as clusters, and section 4.2, on paired differences;
Bouthillier et al. 2021 (arXiv:2103.03098), on the variance of seeds beside that of the test set.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bezoar.errors import InputError, problem
from bezoar.files import empty, rounded, write_json
from bezoar.logs import logger
from bezoar.steps.evaluate.comparisons import paired
from bezoar.steps.evaluate.matrix import Matrix
from bezoar.steps.evaluate.significance import LEVEL, holm
from bezoar.steps.results.ablation import AblationReport
from bezoar.steps.results.any import read_report
from bezoar.steps.results.items import ALL, Items, common, items_of
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.report import Report, Score
from bezoar.steps.results.write import METRICS

NOTE = (
    "Each interval is for other questions, with the same seeds; the spread of seeds is beside it. An effect is the "
    "mean over all levels of the other axes: it doesn't say whether axes work together."
)
Sums = dict[str, tuple[float, float]]  # by cluster of items: the sum of differences, and their number


class Pair(NamedTuple):
    """Two checkpoints that differ in the level of one axis.

    Attributes:
        seeds: Their levels on the axes of repetitions.
    """

    seeds: tuple[str, ...]
    level: str
    base: str


class Scores:
    """The scores of all checkpoints of a matrix, as wholes and by item."""

    def __init__(self, matrix: Matrix, report: Report, files: list[Path]) -> None:
        known = {str(path): path for path in files}
        self.wholes = {(one.checkpoint, one.metric): one for one in report.scores(matrix.eval)}
        self._report, self._eval = report, matrix.eval
        self._read = lambda path: known[path].read_bytes() if path in known else None
        self._items: dict[str, dict[str, Items]] = {}

    def metrics(self, checkpoint: str) -> list[str]:
        """Names of the main scores of a checkpoint."""
        return [metric for (name, metric), one in self.wholes.items() if name == checkpoint and one.main]

    def whole(self, checkpoint: str, metric: str) -> Score:
        """The score of a checkpoint.

        Raises:
            InputError: The evaluation's report has none.
        """
        if (checkpoint, metric) not in self.wholes:
            what, expected = f"{self._eval} has no such score", "a score of each checkpoint of the matrix"
            raise InputError(problem(what, found=f"{metric} of {checkpoint}", expected=expected))
        return self.wholes[checkpoint, metric]

    def items(self, checkpoint: str, metric: str) -> Items | None:
        """The scores of a checkpoint's items; None if the metric is no mean of such."""
        if checkpoint not in self._items:
            self._items[checkpoint] = items_of(self._report, self._eval, checkpoint, self._read)
        found = self._items[checkpoint].get(metric)
        return self._of_baseline(metric) if found is None and self._is_baseline(checkpoint) else found

    def _is_baseline(self, checkpoint: str) -> bool:
        return isinstance(self._report, PairwiseReport) and checkpoint == self._report.baseline

    def _of_baseline(self, metric: str) -> Items | None:
        """The games of a baseline against itself, which nobody plays: half a point for each game of the others."""
        others = dict.fromkeys(name for name, _ in self.wholes if not self._is_baseline(name))
        known = [found for name in others if (found := self.items(name, metric))]
        places = dict.fromkeys(place for one in known for place in one.scores)
        return replace(known[0], scores=dict.fromkeys(places, (0.5, 1.0))) if known else None


def pairs_of(matrix: Matrix, stage: str, axis: str, level: str) -> list[Pair]:
    """The checkpoints of a stage with a level of an axis, each with the one that has the axis's base level."""
    ends = {tuple(one.levels[name] for name in matrix.axes): one.checkpoints[stage] for one in matrix.chains}
    repeated = [name for name in matrix.axes if matrix.is_repetition(name)]
    found = []
    for levels in product(*matrix.axes.values()):
        one = dict(zip(matrix.axes, levels, strict=True))
        if one[axis] == level:
            other = one | {axis: matrix.base(axis)}
            seeds = tuple(one[name] for name in repeated)
            found.append(Pair(seeds, ends[tuple(one.values())], ends[tuple(other.values())]))
    return found


def effects(matrix: Matrix, scores: Scores, seed: int) -> list[dict[str, Any]]:
    """The effects of all levels that change a stage, with Holm's p-values among all of them."""
    found = [
        _effect(scores, pairs, metric, seed) | about | {"metric": metric}
        for about, pairs in _compared(matrix)
        for metric in scores.metrics(pairs[0].level)
    ]
    adjusted = holm([one["p"] for one in found])
    for one, p in zip(found, adjusted, strict=True):
        one |= {"p_holm": p, "significant": None if p is None else p < LEVEL}
    return [rounded(one) for one in found]


def _compared(matrix: Matrix) -> Iterator[tuple[dict[str, str], list[Pair]]]:
    """Stage, axis and level of each comparison, with its pairs of checkpoints; none of levels that change no stage."""
    axes = [axis for axis in matrix.axes if not matrix.is_repetition(axis)]
    for stage, axis in product(matrix.score, axes):
        for level in matrix.axes[axis]:
            pairs = pairs_of(matrix, stage, axis, level)
            if any(pair.level != pair.base for pair in pairs):
                yield {"stage": stage, "axis": axis, "level": level, "base": matrix.base(axis)}, pairs


def _effect(scores: Scores, pairs: list[Pair], metric: str, seed: int) -> dict[str, Any]:
    names = dict.fromkeys(name for pair in pairs for name in (pair.base, pair.level))
    why = next((f"{one}: {said}" for one in names if (said := scores.whole(one, metric).withheld)), None)
    items = {name: scores.items(name, metric) for name in names}
    lacking = [name for name, one in items.items() if one is None]
    if not why and lacking:
        why = f"no scores of single items of {', '.join(lacking)}"
    if why:
        nothing = dict.fromkeys(("mean", "low", "high", "p", "sd_between_seeds"))
        return {**nothing, "by_seed": [], "items": 0, "pairs": len(pairs), "withheld": why}
    return _difference({name: one for name, one in items.items() if one is not None}, pairs, seed)


def _difference(items: Mapping[str, Items], pairs: list[Pair], seed: int) -> dict[str, Any]:
    by_seed: dict[tuple[str, ...], Sums] = defaultdict(dict)
    for pair in pairs:
        for cluster, total, count in common(items[pair.base], items[pair.level]):
            _add(by_seed[pair.seeds], cluster, total, count)
    whole: Sums = {}
    for one in by_seed.values():
        for cluster, (total, count) in one.items():
            _add(whole, cluster, total, count)
    if not whole:
        raise InputError(problem("no item is scored on both sides", found=f"{pairs[0]}", expected="common items"))
    some = items[pairs[0].level]
    sums, counts = (np.array([one[place] for one in whole.values()]) for place in (0, 1))
    strata = [some.strata.get(cluster, ALL) for cluster in whole]
    estimate, p = paired(sums, counts, strata, seed, some.bounds)
    means = [_mean(one) for one in by_seed.values()]
    return {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "p": p,
        "by_seed": means,
        "sd_between_seeds": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "items": len(whole),
        "pairs": len(pairs),
        "withheld": None,
    }


def _add(sums: Sums, cluster: str, total: float, count: float) -> None:
    before, number = sums.get(cluster, (0.0, 0.0))
    sums[cluster] = (before + total, number + count)


def _mean(sums: Sums) -> float:
    return sum(total for total, _ in sums.values()) / sum(count for _, count in sums.values())


def combinations(matrix: Matrix, scores: Scores) -> Iterator[dict[str, Any]]:
    """The scores of all checkpoints."""
    for chain in matrix.chains:
        for stage, checkpoint in chain.checkpoints.items():
            found = {metric: scores.whole(checkpoint, metric).score for metric in scores.metrics(checkpoint)}
            yield {"levels": dict(chain.levels), "stage": stage, "checkpoint": checkpoint, "scores": found}


def reported(matrix: Matrix, scores: Scores, seed: int) -> dict[str, Any]:
    """The report."""
    found = effects(matrix, scores, seed)
    flagged = sum(bool(one["significant"]) for one in found)
    repeated = [len(levels) for axis, levels in matrix.axes.items() if matrix.is_repetition(axis)]
    return {
        "matrix": matrix.name,
        "evaluation": matrix.eval,
        "axes": {
            axis: {"levels": [*levels], "base": matrix.base(axis), "repetition": matrix.is_repetition(axis)}
            for axis, levels in matrix.axes.items()
        },
        "seeds": int(np.prod(repeated, dtype=int)),
        "combinations": list(combinations(matrix, scores)),
        "effects": found,
        "comparisons": {"count": len(found), "significant": flagged, "level": LEVEL, "method": "Holm 1979"},
        "judge_compromised": any(one.compromised for one in scores.wholes.values()),
        "seed": seed,
        "note": NOTE,
    }


def line_of(one: Mapping[str, Any], seeds: int) -> str:
    """An effect's line in the log."""
    what = f"{one['stage']}, {one['metric']}: {one['axis']} {one['level']} minus {one['base']}"
    if one["withheld"]:
        return f"{what}: withheld, {one['withheld']}"
    ends = "no interval" if None in (one["low"], one["high"]) else f"95 % {one['low']:+.3f} to {one['high']:+.3f}"
    spread = "1 seed" if seeds == 1 else f"SD of {seeds} seeds {one['sd_between_seeds']:.3f}"
    flag = " *" if one["significant"] else ""
    return f"{what}: {one['mean']:+.3f} ({ends}; {spread}){flag}"


def write_report(report_path: Path, files: list[Path], matrix: Matrix, seed: int, out: Path) -> None:
    """Write the effects of a matrix, and a small file of differences for each level and stage.

    Args:
        report_path: The evaluation's report.
        files: Its scores of single items, of all checkpoints of the matrix, and its questions, if it has any.
        matrix: The matrix, unrolled.
        seed: Seed of the intervals.
        out: File to write to; metrics/<matrix>/<stage>-<level>.json are beside it.

    Raises:
        InputError: A checkpoint has no score, or two have no common item.
    """
    data = reported(matrix, Scores(matrix, read_report(report_path), files), seed)
    AblationReport.model_validate(data)
    folder = out.parent / METRICS / out.stem
    empty(folder)
    made: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in data["effects"]:
        values = {key: one[key] for key in ("mean", "low", "high", "p_holm") if one[key] is not None}
        made[f"{one['stage']}-{one['level']}"][one["metric"]] = values
        logger.info(line_of(one, data["seeds"]))
    for name, values in made.items():
        write_json(folder / f"{name}.json", values)
    write_json(out, data)
