"""`bezoar status`: what is up to date, running and waiting, how fast, how long still, and what it has cost."""

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bezoar import terminal
from bezoar.cache import history, progress
from bezoar.cache.ending import spending
from bezoar.cache.inventory import duration
from bezoar.cache.pace import pace
from bezoar.cache.progress import Progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bezoar.cache.build import Build

STATES = ("up to date", "done", "running", "failed", "waiting")
SHOWN = 20  # running jobs


def of_run(found: Progress, now: float) -> list["RenderableType"]:
    """How far a run is."""
    parts: list[RenderableType] = [terminal.line(head(found, now), "bold")]
    if found.running:
        parts += [terminal.line(""), _running(found, now)]
    parts += [terminal.line(f"failed: {name}", "red") for name in found.failed]
    return [*parts, terminal.line(""), _rules(progress.counts(found), [one for one in STATES if one != "failed"])]


def head(found: Progress, now: float) -> str:
    """How far a run is, in a line."""
    jobs = len(found.planned.jobs)
    parts = [f"{len(found.done):,} of {jobs:,} jobs done in {duration(now - found.planned.started)}"]
    parts.append(f"{len(found.running):,} running, {len(found.waiting):,} waiting")
    if found.running or found.waiting:
        parts.append(left(found, now))
    if spent := spending():
        parts.append(f"${spent:,.2f} so far")
    return "; ".join(parts)


def left(found: Progress, now: float) -> str:
    """How long a run still takes, for people."""
    seconds, guesses = found.left(now)
    if not seconds:
        return "time left unknown"
    return f"about {duration(seconds)} left" + f", {guesses:,} job{'s' * (guesses != 1)} guessed" * bool(guesses)


def _running(found: Progress, now: float) -> "RenderableType":
    jobs = {one.name: one for one in found.planned.jobs}
    rows = []
    for name, since in sorted(found.running.items(), key=lambda item: item[1])[:SHOWN]:
        job = jobs[name]
        last = "?" if job.seconds is None else duration(job.seconds)
        rows.append((job.label, duration(max(0.0, now - since)), last, pace(job.log)))
    return terminal.table(("running", "for", "last time", "progress"), rows, right=("for", "last time"))


def _rules(found: dict[str, Counter[str]], states: list[str]) -> "RenderableType":
    shown = [*states, "failed"] if any(one["failed"] for one in found.values()) else states
    rows = [
        (rule, *(f"{number[state]:,}" if number[state] else "-" for state in shown)) for rule, number in found.items()
    ]
    return terminal.table(("rule", *shown), rows, right=shown)


def at_rest(build: "Build") -> list["RenderableType"]:
    """What is up to date where no run is going on."""
    counts: dict[str, Counter[str]] = {}
    for step in build.steps:
        state = "up to date" if step.name in build.decision.proofs else "to run"
        counts.setdefault(step.rule, Counter())[state] += 1
    total = sum(counts.values(), Counter())
    first = f"no run is going on; {total['up to date']:,} jobs up to date, {total['to run']:,} to run"
    parts: list[RenderableType] = [terminal.line(first, "bold")]
    if last := history.last():
        one = last[-1]
        what = ", ".join(f"{one[name]:,} {name.replace('_', ' ')}" for name in history.COUNTS)
        parts.append(terminal.line(f"the last run: {one['time'][:16].replace('T', ' ')} UTC by {one['by']}, {what}"))
    return [*parts, terminal.line(""), _rules(counts, ["up to date", "to run"])]


def as_json(found: Progress) -> str:
    """How far a run is, for programs."""
    now = time.time()
    seconds, guesses = found.left(now)
    jobs = {one.name: one for one in found.planned.jobs}
    data: dict[str, Any] = {
        "started": found.planned.started,
        "seconds": now - found.planned.started,
        "seconds_left": seconds,
        "jobs_guessed": guesses,
        "dollars": spending(),
        "rules": progress.counts(found),
        "running": [
            {"job": name, "seconds": now - since, "last_seconds": jobs[name].seconds, "progress": pace(jobs[name].log)}
            for name, since in found.running.items()
        ],
        "failed": found.failed,
        "waiting": [one.name for one in found.waiting],
    }
    return json.dumps(data, indent=1)
