"""The last line of a run: what became of its jobs, how long it took, and what it spent."""

from collections import Counter

from bezoar.cache import CacheError
from bezoar.cache.history import RESTORED, RUN, UP_TO_DATE
from bezoar.cache.inventory import duration
from bezoar.cache.job import read_run


def summary(counts: Counter[str], seconds: float) -> str:
    """The line.

    Args:
        counts: Jobs by what became of them (history.COUNTS).
        seconds: How long the run took.
    """
    proven = f"{counts[UP_TO_DATE]:,} up to date"
    if not counts[RUN] and not counts[RESTORED]:
        return f"nothing to run, {proven}"
    spent = spending()
    return (
        f"{counts[RUN]:,} run, {counts[RESTORED]:,} restored, {proven} in {duration(seconds)}"
        + f", ${spent:,.2f} for model requests" * bool(spent)
    )


def spending() -> float:
    """Dollars that the jobs of the last run have spent on model requests."""
    from bezoar.requests.tally import dollars  # brings pydantic

    try:
        return dollars(read_run().identity)
    except CacheError:  # no run has planned a job here
        return 0.0
