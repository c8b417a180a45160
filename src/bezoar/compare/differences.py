"""Differences of scores with 95 % intervals, and which of them are beyond chance among all that were looked at."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from bezoar.compare.sides import Side
from bezoar.errors import BezoarError, InputError, problem
from bezoar.steps.evaluate.comparisons import NORMAL, paired
from bezoar.steps.evaluate.significance import LEVEL, holm
from bezoar.steps.results.any import report_in
from bezoar.steps.results.items import ALL, Items, common, items_of
from bezoar.steps.results.report import Report, Score

About = tuple[str, str | None, str, float, float]  # evaluation, checkpoint, metric, and both scores


@dataclass(frozen=True)
class Difference:
    """A score of B minus the one of A.

    Attributes:
        checkpoint: Of both sides, or None if the sides are two checkpoints.
        a: The score of A in its report.
        difference: On the items that both sides have, if it is paired; else of the two scores.
        n: The number of these items, or clusters of items that aren't independent; None if it isn't paired.
        p: The chance of a difference as large, if there is none; None if it isn't known.
        holm: The same among all differences (Holm 1979).
        note: Why it isn't paired, or on how many items less.
    """

    evaluation: str
    checkpoint: str | None
    metric: str
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    n: int | None
    p: float | None
    note: str = ""
    holm: float | None = None

    @property
    def paired(self) -> bool:
        """Whether it is of the same items."""
        return self.n is not None

    @property
    def significant(self) -> bool:
        """Whether it stays beyond chance among all differences."""
        return self.holm is not None and self.holm < LEVEL


@dataclass
class Comparison:
    """All differences.

    Attributes:
        notes: What couldn't be compared, and what else sets the sides apart.
    """

    a: str
    b: str
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Half:
    """One side's checkpoint in one evaluation."""

    side: Side
    report: Report
    evaluation: str
    checkpoint: str

    def scores(self, *, every: bool) -> dict[str, Score]:
        """Its scores by metric; with `every` also parts of scores."""
        found = self.report.scores(self.evaluation)
        return {one.metric: one for one in found if one.checkpoint == self.checkpoint and (every or one.main)}

    def items(self, notes: list[str]) -> dict[str, Items]:
        """The scores of its items by metric; none if they can't be read."""
        try:
            return items_of(self.report, self.evaluation, self.checkpoint, self.side.read)
        except BezoarError as error:
            notes.append(f"{self.side.label}: {' '.join(str(error).split())}")
            return {}


def compare_sides(a: Side, b: Side, evals: Iterable[str], *, every: bool, seed: int) -> Comparison:
    """Compare each checkpoint's scores on two sides.

    Args:
        evals: Names of evaluations; none for all.
        every: Whether parts of scores are compared, too, such as categories of questions.
        seed: Seed of the intervals.

    Raises:
        InputError: There is nothing that both have.
    """
    made = Comparison(a.label, b.label)
    chosen = _chosen(a, b, list(evals))
    for name in chosen:
        one, other = (_report(side, name, made.notes) for side in (a, b))
        if one is None or other is None:
            continue
        if type(one) is not type(other):
            made.notes.append(f"{name}: {one.method} in A, {other.method} in B")
            continue
        mine, theirs = ({score.checkpoint for score in report.scores(name)} for report in (one, other))
        made.notes += [f"{name}: {checkpoint} only in A" for checkpoint in sorted(mine - theirs)]
        made.notes += [f"{name}: {checkpoint} only in B" for checkpoint in sorted(theirs - mine)]
        order = dict.fromkeys(score.checkpoint for score in other.scores(name) if score.checkpoint in mine)
        for checkpoint in order:
            halves = Half(a, one, name, checkpoint), Half(b, other, name, checkpoint)
            made.differences += differences(*halves, checkpoint, made.notes, every=every, seed=seed)
    return _finished(made)


def compare_checkpoints(side: Side, a: str, b: str, evals: Iterable[str], *, every: bool, seed: int) -> Comparison:
    """Compare two checkpoints in the evaluations of both; the arguments are those of `compare_sides`."""
    made, chosen = Comparison(a, b), list(evals)
    for name in _known(chosen, side.reports, side) or side.reports:
        report = _report(side, name, made.notes)
        scored = {score.checkpoint for score in report.scores(name)} if report else set()
        if report and {a, b} <= scored:
            halves = Half(side, report, name, a), Half(side, report, name, b)
            made.differences += differences(*halves, None, made.notes, every=every, seed=seed)
        elif report and chosen:
            made.notes.append(f"{name}: scores {', '.join(sorted(scored))}")
    return _finished(made)


def _chosen(a: Side, b: Side, evals: list[str]) -> list[str]:
    for side in (a, b):
        _known(evals, side.reports, side)
    names = evals or [name for name in a.reports if name in b.reports]
    if names:
        return names
    found = "; ".join(f"{side.label}: {', '.join(side.reports) or 'no results'}" for side in (a, b))
    raise InputError(
        problem("nothing to compare", found=found, expected="one evaluation with results on both sides", hint=b.hint)
    )


def _known(evals: list[str], known: Iterable[str], side: Side) -> list[str]:
    for name in evals:
        if name not in known:
            what, expected = f"{side.label} has no results of this evaluation", ", ".join(known) or "results"
            raise InputError(problem(what, found=name, expected=expected, hint=side.hint))
    return evals


def _report(side: Side, evaluation: str, notes: list[str]) -> Report | None:
    """The report of an evaluation; None, with a note, if it isn't one or is of another version."""
    path = side.reports[evaluation]
    data = side.read(path)
    if data is None:
        what, found = f"{path} can't be read", f"no such file of {side.label}"
        raise InputError(problem(what, found=found, expected="a result", hint=side.hint))
    try:
        return report_in(json.loads(data), path)
    except (InputError, ValueError, RecursionError) as error:
        notes.append(f"{side.label}: {' '.join(str(error).split())}")
        return None


def _finished(made: Comparison) -> Comparison:
    """With Holm's p-values.

    Raises:
        InputError: There is no difference.
    """
    if not made.differences:
        found = "; ".join(made.notes) or "no score of both"
        raise InputError(problem(f"{made.a} and {made.b} can't be compared", found=found, expected="a score of both"))
    adjusted = holm([one.p for one in made.differences])
    made.differences = [replace(one, holm=p) for one, p in zip(made.differences, adjusted, strict=True)]
    made.notes = list(dict.fromkeys(made.notes))
    return made


def differences(
    a: Half, b: Half, checkpoint: str | None, notes: list[str], *, every: bool, seed: int
) -> Iterator[Difference]:
    """The differences of all metrics that both have, in the order of B."""
    mine, theirs = a.scores(every=every), b.scores(every=every)
    items, others = a.items(notes), b.items(notes)
    for metric, score in theirs.items():
        if metric not in mine:
            notes.append(f"{b.evaluation}: {metric} only in B")
            continue
        notes += _apart(a, b, mine[metric], score)
        one, other = mine[metric].score, score.score
        if one is not None and other is not None:
            about = (b.evaluation, checkpoint, metric, one, other)
            if apart := _asked(a, b, metric):
                yield _unpaired(about, mine[metric], score, apart)
            else:
                yield _difference(about, mine[metric], score, items.get(metric), others.get(metric), seed)
    notes += [f"{a.evaluation}: {metric} only in A" for metric in mine if metric not in theirs]


def _apart(a: Half, b: Half, mine: Score, theirs: Score) -> Iterator[str]:
    """What sets two scores apart, beside their values."""
    name = a.evaluation
    for half, one in ((a, mine), (b, theirs)):
        where = f"{name} of {half.checkpoint} in {half.side.label}"
        if one.withheld:
            yield f"{where}: no score, {one.withheld}"
        if one.compromised:
            yield f"{where}: its judge is compromised"
    judges = [getattr(getattr(half.report, "judge", None), "id", None) for half in (a, b)]
    if judges[0] != judges[1]:
        yield f"{name}: two judges, {mine.judge} ({judges[0]}) and {theirs.judge} ({judges[1]}): they differ, too"


def _asked(a: Half, b: Half, metric: str) -> str:
    """What differs in how a score was measured, such as its baseline or a task's examples; empty if nothing does."""
    mine, theirs = (half.report.asked(half.checkpoint, metric) for half in (a, b))
    names = dict.fromkeys([*mine, *theirs])
    found = [f"{one} {mine.get(one)} and {theirs.get(one)}" for one in names if mine.get(one) != theirs.get(one)]
    return f"asked in another way: {', '.join(found)}" if found else ""


def _difference(
    about: About, mine: Score, theirs: Score, items: Items | None, others: Items | None, seed: int
) -> Difference:
    if items is None or others is None:
        sides = [name for name, one in (("A", items), ("B", others)) if one is None]
        return _unpaired(about, mine, theirs, f"no scores of items in {' and '.join(sides)}")
    try:
        rows = list(common(items, others))
    except ValueError as error:
        return _unpaired(about, mine, theirs, str(error))
    if not rows:
        return _unpaired(about, mine, theirs, "no item is in both")
    lone = len(items.scores.keys() ^ others.scores.keys())
    sums, counts = (np.array([row[place] for row in rows]) for place in (1, 2))
    strata = [others.strata.get(row[0], ALL) for row in rows]
    found, p = paired(sums, counts, strata, seed, others.bounds)
    note = f"{lone:,} items of one side only are left out" if lone else ""
    return Difference(*about, found.mean, found.low, found.high, len(rows), p, note)


def _unpaired(about: About, a: Score, b: Score, note: str) -> Difference:
    """The difference of two independent scores, from their intervals (Zou and Donner 2008)."""
    gap = about[4] - about[3]
    down, up = _arm(about[4], b.low, about[3], a.high), _arm(about[4], b.high, about[3], a.low)
    towards = down if gap > 0 else up  # the arm that may reach 0
    p = math.erfc(NORMAL * abs(gap) / towards / math.sqrt(2)) if towards else None
    low, high = (None if down is None else gap - down), (None if up is None else gap + up)
    return Difference(*about, gap, low, high, None, p, note)


def _arm(score: float, end: float | None, other: float, its_end: float | None) -> float | None:
    return None if end is None or its_end is None else math.hypot(score - end, its_end - other)
