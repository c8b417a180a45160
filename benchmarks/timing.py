"""Two ways of doing one thing, timed in turn, so that other load affects both."""

import gc
import os
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple


class Cost(NamedTuple):
    """Seconds of one run: wall time, and CPU time of this process and its children."""

    wall: float
    cpu: float


class Compared(NamedTuple):
    """Medians of several pairs of runs, and the ratios of pairs: their median, the least and the greatest."""

    ours: Cost
    bare: Cost
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]


def cost_of(work: Callable[[], object]) -> Cost:
    """Seconds of one call."""
    gc.collect()
    os.sync()  # what was written before is not this one's
    wall, cpu = time.perf_counter(), _cpu()
    work()
    return Cost(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def alternated(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[Cost]]:
    """Seconds of several actions in each round; every other round has the reverse order."""
    taken: dict[str, list[Cost]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works)[:: -1 if number % 2 else 1]:
            taken[name].append(cost_of(works[name]))
    return taken


def middle(costs: list[Cost]) -> Cost:
    """Medians."""
    return Cost(median(one.wall for one in costs), median(one.cpu for one in costs))


def compared(ours: list[Cost], bare: list[Cost]) -> Compared:
    """Two ways with as many rounds each."""
    wall = sorted(one.wall / other.wall for one, other in zip(ours, bare, strict=True))
    cpu = sorted(one.cpu / max(other.cpu, 1e-9) for one, other in zip(ours, bare, strict=True))
    return Compared(middle(ours), middle(bare), (median(wall), wall[0], wall[-1]), (median(cpu), cpu[0], cpu[-1]))


def ratio(values: tuple[float, float, float]) -> str:
    """A ratio with its range, for a table."""
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """Seconds with a useful number of digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
