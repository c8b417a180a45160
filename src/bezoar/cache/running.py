"""Run the command of a job in its room, and tell what it used, what it cost, and where it ran."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NamedTuple, TextIO

from bezoar.cache import CacheError, folders, foreign, together, trace
from bezoar.cache.action import Action
from bezoar.cache.environment import ENVIRONMENT, FIXED, THREADS
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import PlannedJob, Run, Step
from bezoar.cache.objects import remove
from bezoar.cache.refusals import explain, refused
from bezoar.cache.rights import of_job
from bezoar.cache.room import Mode, Room, mode
from bezoar.cache.runs import RUN_VARIABLE
from bezoar.cache.trace import Trace
from bezoar.errors import problem
from bezoar.text import show

COSTS = ".snakemake/bezoar-costs"  # costs of steps without a result yet, including those of failed runs
SEEN = ".snakemake/bezoar-seen"  # what running jobs load and open
TOGETHER = ".snakemake/bezoar-together"  # what processes with several jobs are to do, and have done
IGNORED = (".dvc", ".git", ".snakemake", ".venv", "logs", "responses", "scratch")  # a job's own, or no input


class Edited(Exception):
    """Code that a job used was edited while it ran."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Done(NamedTuple):
    """A job that has ended.

    Attributes:
        status: Its exit status.
        trace: What it was seen to use; None if it failed.
        cost: Seconds, and what its script counted.
        made: Where and how it ran.
        others: Costs by name of the other jobs that were done in its process.
    """

    status: int
    trace: Trace | None
    cost: dict[str, float]
    made: dict[str, str]
    others: dict[str, dict[str, float]]


def costs_of(step: Step) -> str:
    """The file that a job's script counts its spending in."""
    return os.path.abspath(f"{COSTS}/{_mark(step)}.jsonl")


def _mark(step: Step) -> str:
    return hashlib.md5(step.name.encode(), usedforsecurity=False).hexdigest()


def run_job(
    job: PlannedJob, run_: Run, action: Action, hasher: Hasher, held: list[TextIO], others: Sequence[PlannedJob] = ()
) -> Done:
    """Run a planned job.

    Args:
        job: The job.
        run_: Its run.
        action: Its action.
        hasher: Contents of files.
        held: Open files with locks.
        others: Jobs to do in its process, too.

    Raises:
        Edited: Code that it used was edited while it ran.
        CacheError: Its room can't be made, or what it used can't be read.
    """
    step = job.step
    jobs, shared = (job, *others), os.path.abspath(f"{TOGETHER}/{_mark(step)}.jsonl") if others else None
    log, costs = os.path.abspath(f"{SEEN}/{_mark(step)}.jsonl"), [costs_of(one.step) for one in jobs]
    os.makedirs(os.path.dirname(costs[0]), exist_ok=True)
    if shared:
        together.write(shared, jobs, costs)
    variables = {
        "BEZOAR_PARAMS": run_.params,
        "BEZOAR_COSTS": costs[0],
        **({"BEZOAR_TOGETHER": shared} if shared else {}),
        "BEZOAR_JOB": f"{step.stage}/{step.part}",
        RUN_VARIABLE: run_.identity,
        **step.declared,
        **trace.variables(log, {**os.environ, **step.declared}),
        **folders.told(action.inputs),
    }
    start, cpu = time.monotonic(), _cpu_seconds()
    writes = [log, *costs[1:], *([shared] if shared else [])]
    room, isolation = of_job(job, run_, variables, writes=writes, others=others), mode()
    status = run(job.command, step.outputs, held, room)
    taken = {"seconds": time.monotonic() - start, "cpu_seconds": _cpu_seconds() - cpu}
    by_job = together.read(shared, taken) if shared else {}
    if status and step.name in by_job and all(map(os.path.exists, step.outputs)):
        show(f"{step.name} is made; its process ended with status {status} at another job", file=sys.stderr)
        status = 0
    if shared:
        remove(shared)
    if status != 0:
        if isolation == Mode.ENFORCE and (why := explain(trace.attempts(log), room, step.rule)):
            show(why, file=sys.stderr)
        return Done(status, None, {}, {}, {})
    places = [path for one in others for path in (one.step.folder, *one.step.inputs, *one.step.outputs) if path]
    used = _used(job, run_, log, room, isolation, hasher, places)
    remove(log)
    by_job = by_job or {step.name: taken}
    cost = {one.step.name: _cost(by_job[one.step.name], one.step) for one in jobs if one.step.name in by_job}
    made = {**run_.made, "time": _now(), "isolation": isolation.value, **_where(used)}
    return Done(0, used, cost.pop(step.name), made, cost)


def _cost(taken: dict[str, float], step: Step) -> dict[str, float]:
    """The seconds of a job, and what its script has counted."""
    return {**{name: round(value, 3) for name, value in taken.items()}, **_sum(costs_of(step))}


def _used(
    job: PlannedJob, run_: Run, log: str, room: Room, isolation: Mode, hasher: Hasher, more: Sequence[str]
) -> Trace:
    """What a job was seen to use; what it wasn't held to declare is reported.

    Args:
        more: Folders, inputs and outputs of other jobs in its process; their own records look into them. The rest is
            as above.

    Raises:
        Edited: Code that it used was edited while it ran.
        CacheError: It has written a file that its rule doesn't declare, beside an output.
    """
    step = job.step
    declared = [*step.inputs, *step.outputs, *more, step.script, run_.params, *IGNORED, room.folder]
    declared += [room.environment["TMPDIR"], *room.shared]
    enforced = isolation == Mode.ENFORCE
    files = run_.closures.get(step.script, {})
    code = [step.script, *files]
    seen = trace.read(log, hasher, declared, lambda path: not (enforced and refused("read", path, room)), code)
    changed = [path for path in seen.changed if os.path.relpath(path) not in files and path not in files]
    if changed or not _means_the_same(step.script, files, run_, hasher):
        raise Edited((changed or seen.changed)[0])
    written = [path for path in seen.undeclared_writes if not path.startswith("/")]  # elsewhere: a cache of downloads
    stray = [path for path in written if enforced and not refused("write", path, room)]
    if stray:
        raise CacheError(
            problem(
                f"{stray[0]} was written, but isn't declared by its rule, so nothing is recorded",
                found=f"{len(stray)} undeclared file{'s' * (len(stray) > 1)}",
                expected=f"the outputs of rule {step.rule}",
                hint=f'rule {step.rule}: output: extra="{stray[0]}", or write below $TMPDIR',
            )
        )
    if isolation == Mode.OBSERVE and (why := explain(seen.beyond, room, step.rule)):
        show(
            f"{why}\n{step.name} is recorded with it: an edit of what it read in the project runs it again",
            file=sys.stderr,
        )
    return seen.trace


def _means_the_same(script: str, files: dict[str, str], run_: Run, hasher: Hasher) -> bool:
    """Whether the code that a script's text names means what it did when the run started: comments don't count."""
    if all(hasher.holds(path, md5) for path, md5 in files.items()):
        return True
    from bezoar.cache.code import Closures  # slow, and code is rarely edited during a run

    return Closures(hasher).print_of(script) == run_.prints.get(script)


def run(
    command: list[str],
    outputs: Sequence[str],
    held: list[TextIO],
    room: Room | None = None,
) -> int:
    """Run a command that makes the outputs, and return its exit status.

    SIGTERM is passed on, so that the command can end cleanly. A command that succeeds without its outputs counts as
    failed. It inherits `held`, so that the locks stay while the command still writes, even if this process is killed.

    Args:
        command: The command.
        outputs: What it makes.
        held: Open files with locks.
        room: What it may do; None for a command that no run has planned, of which nothing is recorded.
    """
    environment = room.environment if room else {**ENVIRONMENT, **os.environ, **FIXED}
    restrict = room.restriction() if room else None
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals that come while the command starts

    def pass_on(number: int, frame: FrameType | None) -> None:
        if started:
            started[0].send_signal(number)
        else:
            early.append(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to the command, too
    descriptors = [file.fileno() for file in held]
    with subprocess.Popen(command, env=environment, pass_fds=descriptors, preexec_fn=restrict) as process:
        started.append(process)
        for number in early:
            process.send_signal(number)
        status = process.wait()
    if room:
        room.leave(succeeded=status == 0)
    if status != 0:
        return status if status > 0 else 128 - status  # killed by a signal: the status that a shell reports
    missing = [output for output in outputs if not os.path.exists(output)]
    if missing:
        show(f"the command succeeded, but didn't make {', '.join(missing)}: {' '.join(command)}", file=sys.stderr)
        return 1
    return 0


def _where(used: Trace) -> dict[str, str]:
    """Where a job ran: machine, threads, and builds of packages that it used."""
    builds = ", ".join(f"{name} {version}" for name, version in trace.builds(used.distributions).items())
    found = {**trace.provenance(), "threads": os.environ.get(THREADS[0], ""), "builds": builds}
    return {name: text for name, text in found.items() if text}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _cpu_seconds() -> float:
    """User and system time of child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sum(path: str) -> dict[str, float]:
    total: Counter[str] = Counter()
    with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(foreign.Malformed):  # a line that a kill cut must not lose the result
                found = foreign.table(foreign.from_json(line.encode()))
                total.update({name: foreign.quantity(value) for name, value in found.items()})
    return dict(total)
