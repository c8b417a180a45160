"""What the last runs did: how many jobs ran, were restored, or were up to date. A record that no decision uses."""

import json
import os
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any

from bezoar.cache import foreign
from bezoar.cache.job import FOLDER

RUNS = ".dvc/tmp/bezoar-runs.jsonl"
MOST = 100  # runs
OUTCOMES = f"{FOLDER}/outcomes.jsonl"  # of the jobs of this run
RUN, RESTORED, UP_TO_DATE = COUNTS = ("run", "restored", "up_to_date")
STARTED = "started"


def note(output: str, outcome: str) -> None:
    """Note what a job of this run does: it starts, it ran, or its outputs were restored."""
    with suppress(OSError), open(OUTCOMES, "a", encoding="utf-8") as file:
        file.write(json.dumps([output, outcome, round(time.time(), 3)]) + "\n")


def events() -> list[tuple[str, str, float]]:
    """What the jobs of this run did, in that order: the first output, STARTED, RUN or RESTORED, and when."""
    found = []
    with suppress(OSError, foreign.Malformed):
        for line in foreign.read(OUTCOMES).splitlines():
            with suppress(foreign.Malformed, ValueError):  # the end of a line that a killed job wrote
                output, outcome, when = foreign.array(foreign.from_json(line))
                found.append((foreign.text(output), foreign.text(outcome), foreign.quantity(when)))
    return found


def outcomes() -> Counter[str]:
    """How many jobs of this run ran, and how many were restored; one that ran may be restored later."""
    found: dict[str, str] = {}
    for output, outcome, _ in events():
        if outcome != STARTED:
            found[output] = RUN if found.get(output) == RUN else outcome
    return Counter(found.values())


def record(counts: Counter[str], *, run: str, by: str, began: float | None = None) -> None:
    """Add a run to the record, or a stage to the run of `dvc repro` that has started it.

    Args:
        counts: Its jobs by what became of them.
        run: Its name.
        by: `snakemake` or `dvc`.
        began: Its start, in seconds since 1970; now by default.
    """
    known = last()
    counts = Counter({name: counts[name] for name in COUNTS})
    began = time.time() if began is None else began
    if known and by == "dvc" and (known[-1]["id"], known[-1]["by"]) == (run, by):
        before = known.pop()
        began = min(began, before["began"])
        counts.update({name: before[name] for name in COUNTS})
    entry = {"time": in_utc(time.time()), "id": run, "by": by, "began": round(began, 3), **counts}
    lines = "".join(json.dumps(one) + "\n" for one in [*known, entry][-MOST:])
    partial = f"{RUNS}.{os.getpid()}.partial"
    with suppress(OSError):  # a read-only folder
        os.makedirs(os.path.dirname(RUNS), exist_ok=True)
        with open(partial, "w", encoding="utf-8") as file:
            file.write(lines)
        os.replace(partial, RUNS)


def last() -> list[dict[str, Any]]:
    """The last runs, the newest at the end."""
    found = []
    with suppress(OSError, foreign.Malformed):
        for line in foreign.read(RUNS).splitlines():
            with suppress(foreign.Malformed, KeyError):
                data = foreign.table(foreign.from_json(line))
                texts = {name: foreign.text(data[name]) for name in ("time", "id", "by")}
                began = foreign.quantity(data.get("began", _seconds(texts["time"])))  # earlier: the end only
                found.append({**texts, "began": began, **{name: foreign.count(data[name]) for name in COUNTS}})
    return found


def in_utc(seconds: float) -> str:
    """A time, in seconds since 1970, as proofs and records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise foreign.Malformed(f"{foreign.shown(text)} for a time") from error
