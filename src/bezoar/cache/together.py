"""Jobs that share a process: which may, which do, and what of the process's time each of them took.

The keys, proofs and artifacts stay those of each job. The script's side is `bezoar.together`.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bezoar.cache import CacheError, foreign, locks
from bezoar.cache.job import PlannedJob, Step, read_job
from bezoar.cache.objects import remove
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cache.action import Action
    from bezoar.cache.execute import Execution
    from bezoar.cache.running import Done

SECONDS = ("seconds", "cpu_seconds")


def planned(jobs: Sequence[PlannedJob], scripts: Container[str]) -> list[PlannedJob]:
    """Planned jobs with the names of those that may share their process.

    These are jobs of one block whose scripts, environments and needs of a network are equal. Their inputs and values
    may differ, such as those with a part's name. A forced job runs by itself, and so does one that makes a folder,
    since Snakemake doesn't remove that at once.

    Args:
        jobs: All jobs that a run plans to run.
        scripts: Scripts that can do several jobs in one process.
    """
    groups: dict[Any, list[str]] = defaultdict(list)
    for job in jobs:
        if _may_share(job, scripts):
            groups[_alike(job)].append(job.step.name)
    others = {name: [one for one in group if one != name] for group in groups.values() for name in group}
    return [replace(job, together=tuple(others.get(job.step.name, ()))) for job in jobs]


def _may_share(job: PlannedJob, scripts: Container[str]) -> bool:
    return job.step.script in scripts and job.step.script in job.command and job.lookup and not job.around.folders


def _alike(job: PlannedJob) -> tuple[Any, ...]:
    """What the jobs of one process have in common."""
    step, before = job.step, job.command[: job.command.index(job.step.script)]
    known = (step.rule, step.block, step.script, tuple(sorted(step.environment.items())))
    return (*known, tuple(before), job.around.network, job.around.given)


def lock_of(step: Step) -> str:
    """The name of the lock of all jobs that may share a process."""
    return f"{step.stage} (jobs that share a process)"


def others(own: "Execution") -> list[tuple["Execution", "Action"]]:
    """The jobs to make in the process of a job, with their actions: no other process makes them, they have no proof.

    Their places are cleared, and their locks are held with the job's own.
    """
    found = []
    for name in own.job.together:
        lock = locks.hold_if_free(name)
        if lock is None:
            continue
        with suppress(CacheError, OSError):  # its own job says what is wrong
            job = read_job(name)
            if job and own.step.name in job.together:
                one = type(own)(job, job.command, own.held, own.hasher)
                if _are_made(one, {*one.step.inputs} - {*own.step.inputs}) and (action := one.to_make()):
                    own.held.append(lock)
                    found.append((one, action))
                    continue
        lock.close()
    return found


def _are_made(one: "Execution", inputs: Iterable[str]) -> bool:
    """Whether no job of this run is still to make one of these inputs of a job."""
    for path in inputs:
        job = read_job(path)
        if job and not type(one)(job, job.command, one.held, one.hasher).is_done():
            return False
    return True


def record(found: Sequence[tuple["Execution", "Action"]], done: "Done | None") -> None:
    """Record those jobs of a process that were done; what is left of others is removed.

    Snakemake may have removed a job's outputs meanwhile, since it starts that job. Then it isn't recorded.

    Args:
        found: The jobs beside the process's own, with their actions when the process started.
        done: What became of the process; None if that can't be told.
    """
    for one, action in found:
        cost = done.others.get(one.step.name) if done else None
        if done and cost is not None and all(map(os.path.exists, one.step.outputs)):
            try:
                one.keep(action, done._replace(cost=cost))
                show(f"{one.step.name} was made in the same process", file=sys.stderr)
                continue
            except (CacheError, OSError) as error:
                show(f"{error}\n{one.step.name} isn't recorded; its own job makes it", file=sys.stderr)
        for path in one.step.outputs:
            remove(path)


def write(path: str, jobs: Sequence[PlannedJob], costs: Sequence[str]) -> None:
    """Write what a process is to do, its own job first: a line with the arguments of each job's script."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for job, spent in zip(jobs, costs, strict=True):
            argv = job.command[job.command.index(job.step.script) + 1 :]
            file.write(json.dumps({"name": job.step.name, "argv": argv, "costs": spent}) + "\n")


def read(path: str, taken: dict[str, float]) -> dict[str, dict[str, float]]:
    """The seconds of each job that a process has done, by name.

    The time of a job itself counts for it. The rest, such as imports and the load of a model, is shared equally.

    Args:
        path: The file that `write` has written, and the process has added to.
        taken: The seconds of the whole process.
    """
    done: dict[str, dict[str, float]] = {}
    with suppress(OSError, foreign.Malformed):
        for line in foreign.read(path).splitlines():
            with suppress(foreign.Malformed, KeyError):  # the end of a line that a killed process wrote
                data = foreign.table(foreign.from_json(line))
                done[foreign.text(data["done"])] = {name: foreign.quantity(data[name]) for name in SECONDS}
    rest = {name: taken[name] - sum(one[name] for one in done.values()) for name in SECONDS}
    return {
        job: {name: round(max(own[name] + rest[name] / len(done), 0.0), 3) for name in SECONDS}
        for job, own in done.items()
    }
