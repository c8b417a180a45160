"""What the jobs of a run have spent on model requests so far, for whoever watches it."""

import json
from contextlib import suppress

from bezoar.requests.budget import MILLION, TALLY
from bezoar.requests.job import SPENT


def dollars(run: str) -> float:
    """Dollars that the jobs of a run have spent, or reserved for requests in flight; 0 if it sends none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):  # none, or nothing that a job has written
        _, stages = json.loads((SPENT / run / TALLY).read_text(encoding="utf-8"))
        return sum(int(micro) for micro, _ in stages.values()) / MILLION
    return 0.0
