"""`bezoar exec`: runs the command of a rule, or restores its outputs. Nothing slow is imported here."""

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
from typing import TYPE_CHECKING, TextIO

from bezoar.cache import CacheError, Unwritable, foreign, locks
from bezoar.cache.altered import set_aside
from bezoar.cache.environment import ENVIRONMENT, FIXED
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import PlannedJob, Run, Step, forced_runs, read_job, read_run, undeclared
from bezoar.cache.objects import Objects, all_missing, is_partial, remove
from bezoar.cache.proofs import Key, Proof, Proofs, differences
from bezoar.cache.runs import RUN_VARIABLE
from bezoar.cluster.node import ON_NODE
from bezoar.errors import problem
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cache.room import Room  # only a command that runs needs it

COSTS = ".snakemake/bezoar-costs"  # costs of steps without a result yet, including those of failed runs


def execute(outputs: list[str], command: list[str]) -> int:
    """Restore the outputs if there is a proof, else run the command; the exit status.

    If no run has planned the outputs, the command runs and nothing is recorded.
    """
    held: list[TextIO] = []  # locks, held until this process and the command end
    try:
        held += locks.hold(os.path.normpath(outputs[0]))
        job = read_job(os.path.normpath(outputs[0]))
        if job is None and ON_NODE in os.environ:
            raise CacheError(
                problem(
                    f"no run waits for {outputs[0]}",
                    found="a job of a run that has ended",
                    expected="a run of this folder",
                    hint="start the run again, it submits what is needed",
                )
            )
        return run(command, outputs, held) if job is None else _Execution(job, command, held).status()
    except (CacheError, OSError) as error:
        show(error, file=sys.stderr)
        return 1
    finally:
        for file in held:
            file.close()


def is_proven(output: str, *, forced: bool = False) -> bool:
    """Whether a planned job is up to date, for remote executors; if so, missing outputs are restored.

    Args:
        output: Its first output.
        forced: Whether a forced job counts as done after it has run.

    Raises:
        CacheError: An input is missing, or code was edited since the run started.
    """
    name = os.path.normpath(output)
    job = read_job(name)
    if job is None or not locks.is_free(name):
        return False
    if not job.lookup:  # an earlier proof doesn't count for a forced job
        return forced and name in forced_runs()
    return _Execution(job, job.command, []).restored()


class _Execution:
    """A planned job: looked up, or run and recorded."""

    def __init__(self, job: PlannedJob, command: list[str], held: list[TextIO]) -> None:
        if job.command != command:
            raise CacheError(
                problem(
                    f"{job.step.name}: the command differs from the planned one",
                    found=" ".join(command),
                    expected=" ".join(job.command),
                    hint="by hand, call the script without `bezoar exec`; in a rule, keep threads and resources "
                    "out of it",
                )
            )
        self.job = job
        self.held = held
        self.step: Step = job.step
        self.run: Run = read_run()
        self.hasher = Hasher()
        self.objects = Objects(self.run.cache, self.hasher)
        self.proofs = Proofs(self.run.cache)

    def status(self) -> int:
        """Make the outputs, and return the exit status."""
        try:
            self._check_code("before it started")
            key = self._key()
            if self.job.lookup and self._restore(key):
                show(f"restored {self.step.name}: nothing that it depends on has changed", file=sys.stderr)
                return 0
            self._clear_folder()
            return self._make(key)
        finally:
            self.hasher.save()

    def restored(self) -> bool:
        """Whether there is a proof; if so, its outputs are on disk now."""
        try:
            self._check_code("before it started")
            return self._restore(self._key())
        finally:
            self.hasher.save()

    def _restore(self, key: Key) -> bool:
        proof = self._lookup(key)
        if proof:
            self._clear_folder()
            for path, content in proof.outputs.items():
                if not self.hasher.holds(path, content.md5):
                    set_aside(path, self.hasher, self.objects)
                    self.objects.restore(content.md5, path)
        return proof is not None

    def _make(self, key: Key) -> int:
        costs = os.path.abspath(f"{COSTS}/{hashlib.md5(self.step.name.encode()).hexdigest()}.jsonl")
        os.makedirs(COSTS, exist_ok=True)
        variables = {
            "BEZOAR_PARAMS": self.run.params,
            "BEZOAR_COSTS": costs,
            "BEZOAR_JOB": f"{self.step.stage}/{self.step.part}",
            RUN_VARIABLE: self.run.identity,
        }
        start, used = time.monotonic(), _cpu_seconds()
        room = self._room(variables)
        status = run(self.job.command, self.step.outputs, self.held, room)
        if status == 0:
            taken = {"seconds": time.monotonic() - start, "cpu_seconds": _cpu_seconds() - used}
            self._record(key, {**{name: round(value, 3) for name, value in taken.items()}, **_sum(costs)})
            remove(costs)
            self.job.end()
        return status

    def _room(self, variables: dict[str, str]) -> "Room":
        from bezoar.cache.rights import of_job

        return of_job(self.job, self.run, variables)

    def _record(self, key: Key, cost: dict[str, float]) -> None:
        self._check_code("while it ran")
        after = self._key().inputs
        for path in key.inputs:
            if after[path] != key.inputs[path]:
                raise CacheError(
                    problem(
                        f"{path} changed while {self.step.name} used it, so nothing is recorded",
                        found="other content than at the start",
                        expected="inputs that don't change",
                        hint="start again",
                    )
                )
        if self.step.folder:
            stray = undeclared(self.step.folder, self.step.outputs)
            if stray:
                raise CacheError(
                    problem(
                        f"{stray[0]} was written, but isn't declared by its rule, so nothing is recorded",
                        found=f"{len(stray)} undeclared file{'s' * (len(stray) > 1)} in {self.step.folder}",
                        expected=f"the outputs of rule {self.step.rule}",
                        hint="declare it there, or write it elsewhere",
                    )
                )
        made = {}
        for path in self.step.outputs:
            content = self.hasher.content(path)
            assert content  # run() has checked that it exists
            made[path] = content
        try:
            for path, content in made.items():
                self.objects.store(path, content)
        except Unwritable as error:  # the work is on disk and proven: a later run stores it
            show(f"{error}\n{self.step.name} is made and recorded, but not stored yet", file=sys.stderr)
        proof = Proof(key, made, cost)
        if before := self.proofs.find(key):
            for path, was, now in differences(before, proof):
                show(f"{path} came out as {now}; with the same inputs it was {was} the last time", file=sys.stderr)
        self.proofs.add(proof)

    def _key(self) -> Key:
        inputs = {}
        for path in self.step.inputs:
            content = self.hasher.content(path)
            if content is None:
                raise CacheError(
                    problem(
                        f"{self.step.name}: missing input {path}",
                        found="nothing",
                        expected="a file or a directory",
                        hint="start again",
                    )
                )
            inputs[path] = content.md5
        return self.step.key(inputs)

    def _lookup(self, key: Key) -> Proof | None:
        found = (proof for proof in (self.job.proof(key), self.proofs.find(key)) if proof)
        return next((proof for proof in found if self._is_at_hand(proof)), None)

    def _is_at_hand(self, proof: Proof) -> bool:
        """Whether all outputs are on disk or in the cache, after fetching missing ones from the remote."""
        absent = [one.md5 for path, one in proof.outputs.items() if not self.hasher.holds(path, one.md5)]
        lacking = all_missing(self.objects, absent)
        if lacking and self.run.remote:
            subprocess.run([sys.executable, "-m", "bezoar.cache.remote", *lacking], check=False)
            lacking = all_missing(self.objects, absent)
        return not lacking

    def _clear_folder(self) -> None:
        """Remove files of an earlier recipe from the job's folder, if the cache has them."""
        folder = self.step.folder
        for path in undeclared(folder, self.step.outputs) if folder else []:
            clear(path, folder or "", self.hasher, self.objects, self.step.rule)

    def _check_code(self, when: str) -> None:
        expected = self.run.closures[self.step.script]
        changed = [path for path, md5 in expected.items() if not self.hasher.holds(path, md5)]
        if not changed:
            return
        from bezoar.cache import code  # slow, and code is rarely edited during a run

        fingerprint = code.accepted_fingerprint(code.script_name(self.step.script), code.Closures(self.hasher))
        if fingerprint != self.step.code[code.script_name(self.step.script)]:
            raise CacheError(
                problem(
                    f"{changed[0]} was edited {when}: {self.step.name}, so nothing is recorded",
                    found="other code than at the start of the run",
                    expected="code that doesn't change",
                    hint="start again",
                )
            )


def clear(path: str, folder: str, hasher: Hasher, objects: Objects, rule: str) -> None:
    """Remove a file that no rule makes any more, if the cache has its content, or if it is incomplete by a killed job.

    Args:
        folder: The artifact's folder, with the file.

    Raises:
        CacheError: The cache doesn't have it, so it would be lost; or it is behind a link, so it may belong to
            something else.
    """
    found = _behind(path, folder)
    if found is None and not is_partial(path[len(folder) + 1 :]):
        content = hasher.content(path)
        found = "a file that isn't in the cache" if content and objects.missing(content.md5) else None
    if found:
        raise CacheError(
            problem(
                f"{path} is in an artifact's folder, but no rule makes it",
                found=found,
                expected=f"only outputs of rule {rule}",
                hint="move or remove it",
            )
        )
    remove(path)


def _behind(path: str, folder: str) -> str | None:
    """The link on the way to a file of an artifact's folder, if any."""
    parent = os.path.dirname(path)
    while len(parent) >= len(folder):
        if os.path.islink(parent):
            return f"a file behind the link {parent}"
        parent = os.path.dirname(parent)
    return None


def run(command: list[str], outputs: Sequence[str], held: list[TextIO], room: "Room | None" = None) -> int:
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
