"""How far a run is: what it has planned, and what has become of it. `bezoar status` and a run's output read it."""

import fcntl
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bezoar.cache import foreign, history, locks
from bezoar.cache.job import FOLDER

if TYPE_CHECKING:
    from bezoar.cache.build import Build

FILE = f"{FOLDER}/progress.json"
LOOKED_AT = 100  # ready jobs that need more cores than are free
Guess = Callable[["Waiting"], float]  # the seconds that a job takes


@dataclass(frozen=True)
class Waiting:
    """A job that a run has planned.

    Attributes:
        name: Its first output.
        label: Its rule, block and part, for people.
        seconds: Its time in the last build; None if that isn't known.
        threads: Cores that it takes.
        after: Names of the planned jobs that make its inputs.
        log: Its log file; empty without one.
    """

    name: str
    label: str
    rule: str
    seconds: float | None
    threads: int
    after: tuple[str, ...]
    log: str


@dataclass(frozen=True)
class Planned:
    """What a run has planned.

    Attributes:
        started: Its start, in seconds since 1970.
        cores: Cores for its jobs; None on a cluster.
        proven: Jobs that were up to date at its start, by rule.
        jobs: The others, in topological order.
    """

    started: float
    cores: int | None
    proven: dict[str, int]
    jobs: list[Waiting]

    def write(self) -> TextIO:
        """Write it for others to read. Returns the file, which is locked as long as it is open: until the run ends."""
        partial = Path(f"{FILE}.partial")
        file = partial.open("w", encoding="utf-8")
        json.dump(asdict(self), file)
        file.flush()
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.replace(FILE)
        return file


def of_build(build: "Build", threads: Mapping[str, int], logs: Mapping[str, str], cores: int | None) -> Planned:
    """What a run has planned, after its decision.

    Args:
        build: The run's build.
        threads: By step name.
        logs: By step name, the log file; empty without one.
        cores: Cores for all jobs; None on a cluster.
    """
    decision = build.decision
    steps = [step for step in build.steps if step.name in decision.reasons]
    producers = {path: step.name for step in steps for path in step.outputs}
    jobs = []
    for step in steps:
        last = decision.recorded.get(step.name)
        after = tuple(sorted({producers[path] for path in step.inputs if path in producers}))
        label = " ".join((step.rule, *step.block, *([step.part] if step.parts > 1 else [])))
        seconds = last.cost.get("seconds") if last else None
        jobs.append(Waiting(step.name, label, step.rule, seconds, threads[step.name], after, logs[step.name]))
    proven = Counter(step.rule for step in build.steps if step.name in decision.proofs)
    return Planned(time.time(), cores, dict(proven), jobs)


def read() -> Planned | None:
    """What the last run has planned; None if there was none."""
    try:
        data = foreign.table(foreign.from_json(foreign.read(FILE)), *(one.name for one in fields(Planned)))
        return Planned(
            started=foreign.quantity(data["started"]),
            cores=None if data["cores"] is None else foreign.count(data["cores"]),
            proven={rule: foreign.count(one) for rule, one in foreign.table(data["proven"]).items()},
            jobs=[_job(one) for one in foreign.array(data["jobs"])],
        )
    except (OSError, foreign.Malformed):
        return None


def _job(found: Any) -> Waiting:
    data = foreign.table(found, *(one.name for one in fields(Waiting)))
    return Waiting(
        name=foreign.text(data["name"]),
        label=foreign.text(data["label"]),
        rule=foreign.text(data["rule"]),
        seconds=None if data["seconds"] is None else foreign.quantity(data["seconds"]),
        threads=foreign.count(data["threads"]),
        after=foreign.texts(data["after"]),
        log=foreign.text(data["log"]),
    )


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        planned: What it has planned.
        alive: Whether the run's process is alive.
        done: By job that ran or was restored: the seconds that it took here; None if that isn't known.
        running: By job that runs: since when, in seconds since 1970.
        failed: Jobs that were started and are neither done nor at work.
    """

    planned: Planned
    alive: bool
    done: dict[str, float | None]
    running: dict[str, float]
    failed: list[str]

    @property
    def is_going_on(self) -> bool:
        """Whether the run is alive and not done with all jobs."""
        return self.alive and len(self.done) < len(self.planned.jobs)

    @property
    def waiting(self) -> list[Waiting]:
        """The jobs that haven't started."""
        begun = self.done.keys() | self.running.keys() | set(self.failed)
        return [one for one in self.planned.jobs if one.name not in begun]

    def left(self, now: float) -> tuple[float, int]:
        """The seconds until all is done, and for how many jobs they are a guess.

        Jobs start when their inputs are made and cores are free. A job takes as long as in the last build; one without
        a record as long as others of its rule did on average, here or in the last build; and where no job of its rule
        has ended, as long as all others: such jobs are guesses.
        """
        jobs = {one.name: one for one in self.planned.jobs}
        means, mean = self._means()

        def guess(job: Waiting) -> float:
            return means.get(job.rule, mean) if job.seconds is None else job.seconds

        going = {name: max(0.0, guess(jobs[name]) - (now - since)) for name, since in self.running.items()}
        waiting = self.waiting
        guesses = sum(1 for one in waiting if one.seconds is None and one.rule not in means)
        return _simulated(waiting, going, jobs, guess, self.planned.cores), guesses

    def _means(self) -> tuple[dict[str, float], float]:
        """The mean seconds of jobs by rule, as far as they are known, and of all jobs."""
        taken: dict[str, list[float]] = {}
        for one in self.planned.jobs:
            seconds = self.done.get(one.name) or one.seconds
            if seconds is not None:
                taken.setdefault(one.rule, []).append(seconds)
        means = {rule: sum(all_) / len(all_) for rule, all_ in taken.items()}
        return means, sum(map(sum, taken.values())) / max(1, sum(map(len, taken.values())))


def _simulated(
    waiting: list[Waiting], going: dict[str, float], jobs: Mapping[str, Waiting], guess: Guess, cores: int | None
) -> float:
    """The seconds until all jobs are done, if each starts as soon as it can."""
    import heapq

    free = float("inf") if cores is None else max(1, cores) - sum(jobs[name].threads for name in going)
    ends = [(seconds, name) for name, seconds in going.items()]
    heapq.heapify(ends)
    pending = {one.name for one in waiting} | going.keys()
    blockers = {one.name: {before for before in one.after if before in pending} for one in waiting}
    blocked: dict[str, list[Waiting]] = {}
    for one in waiting:
        for before in blockers[one.name]:
            blocked.setdefault(before, []).append(one)
    ready = deque(one for one in waiting if not blockers[one.name])
    now = 0.0
    while ready or ends:
        too_large: list[Waiting] = []
        while ready and free > 0 and len(too_large) < LOOKED_AT:
            one = ready.popleft()
            if one.threads <= free or not ends:
                free -= one.threads
                heapq.heappush(ends, (now + guess(one), one.name))
            else:
                too_large.append(one)
        ready.extendleft(reversed(too_large))
        now, name = heapq.heappop(ends)
        free += jobs[name].threads
        for one in blocked.get(name, []):
            blockers[one.name].discard(name)
            if not blockers[one.name]:
                ready.append(one)
    return now


def look() -> Progress | None:
    """How far the run of this folder is, or the last one was; None if there was none."""
    planned = read()
    if planned is None:
        return None
    alive = locks.is_held(FILE)
    begun: dict[str, float] = {}
    done: dict[str, float | None] = {}
    for name, outcome, when in history.events():
        if outcome == history.STARTED:
            begun[name] = when
            done.pop(name, None)  # a second try
        else:
            done[name] = when - begun[name] if name in begun else None
    open_ = {name: when for name, when in begun.items() if name not in done}
    running = {name: when for name, when in open_.items() if not locks.is_free(name)}
    known = {one.name for one in planned.jobs}
    return Progress(
        planned,
        alive,
        {name: taken for name, taken in done.items() if name in known},
        {name: when for name, when in running.items() if name in known},
        [name for name in open_ if name not in running and name in known],
    )


def counts(progress: Progress) -> dict[str, Counter[str]]:
    """By rule, how many jobs are `up to date`, `done`, `running`, `failed` and `waiting`."""
    found = {rule: Counter({"up to date": number}) for rule, number in progress.planned.proven.items()}
    waiting = {one.name for one in progress.waiting}
    for one in progress.planned.jobs:
        state = "waiting" if one.name in waiting else "done" if one.name in progress.done else "running"
        found.setdefault(one.rule, Counter())["failed" if one.name in progress.failed else state] += 1
    return found
