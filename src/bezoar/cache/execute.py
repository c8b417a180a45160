"""`bezoar exec`: runs the command of a rule, or restores its outputs. Nothing slow is imported here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from bezoar.cache import CacheError, Unwritable, history, locks, together
from bezoar.cache.acceptances import Acceptances
from bezoar.cache.action import Action
from bezoar.cache.altered import set_aside
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import PlannedJob, Run, Step, forced_runs, read_job, read_run, undeclared
from bezoar.cache.objects import Objects, all_missing, is_partial, remove
from bezoar.cache.proofs import Proof, Proofs, differences
from bezoar.cache.storable import check_storable
from bezoar.cache.trace import Verifier
from bezoar.cluster.node import ON_NODE
from bezoar.errors import problem
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cache.running import Done


def execute(outputs: list[str], command: list[str]) -> int:
    """Restore the outputs if there is a proof, else run the command; the exit status.

    If no run has planned the outputs, the command runs and nothing is recorded.
    """
    held: list[TextIO] = []  # locks, held until this process and the command end
    try:
        name = os.path.normpath(outputs[0])
        if (job := read_job(name)) and job.together:  # before its own: a process that has this one waits for no other
            held += locks.hold(together.lock_of(job.step), "another of its jobs")
        held += locks.hold(name)
        job = read_job(name)
        if job is None and ON_NODE in os.environ:
            raise CacheError(
                problem(
                    f"no run waits for {outputs[0]}",
                    found="a job of a run that has ended",
                    expected="a run of this folder",
                    hint="start the run again, it submits what is needed",
                )
            )
        if job is None:
            from bezoar.cache.running import run  # only a command that runs needs it

            return run(command, outputs, held)
        return Execution(job, command, held).status()
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
    return Execution(job, job.command, []).restored()


class Execution:
    """A planned job: looked up, or run and recorded."""

    def __init__(self, job: PlannedJob, command: list[str], held: list[TextIO], hasher: Hasher | None = None) -> None:
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
        self.hasher = hasher or Hasher()
        self.objects = Objects(self.run.cache, self.hasher)
        self.proofs = Proofs(self.run.cache)

    def status(self) -> int:
        """Make the outputs, and return the exit status."""
        try:
            self._check_code("before it started")
            action = self._action()
            if self.job.lookup and self._restore(action):
                show(f"restored {self.step.name}: nothing that it depends on has changed", file=sys.stderr)
                return 0
            self._clear_folder()
            return self._make(action)
        finally:
            self.hasher.save()

    def restored(self) -> bool:
        """Whether there is a proof; if so, its outputs are on disk now."""
        try:
            self._check_code("before it started")
            return self._restore(self._action())
        finally:
            self.hasher.save()

    def is_done(self) -> bool:
        """Whether there is a proof, and its outputs are on disk."""
        proof = self._lookup(self._action())
        return proof is not None and all(self.hasher.holds(path, one.md5) for path, one in proof.outputs.items())

    def to_make(self) -> Action | None:
        """The action if it has no proof; then what is in the outputs' place goes, as before Snakemake starts a job."""
        action = self._action()
        if self._lookup(action):
            return None
        self._clear_folder()
        for path in self.step.outputs:
            set_aside(path, self.hasher, self.objects)
            remove(path)
        return action

    def _restore(self, action: Action) -> bool:
        proof = self._lookup(action)
        if proof:
            self._clear_folder()
            for path, content in proof.outputs.items():
                if not self.hasher.holds(path, content.md5):
                    set_aside(path, self.hasher, self.objects)
                    self.objects.restore(content.md5, path)
            history.note(self.step.name, history.RESTORED)
        return proof is not None

    def _make(self, action: Action) -> int:
        from bezoar.cache.running import Edited, run_job  # only a job that runs needs it

        done, others = None, together.others(self)
        for name in (self.step.name, *(one.step.name for one, _ in others)):
            history.note(name, history.STARTED)
        try:
            done = run_job(self.job, self.run, action, self.hasher, self.held, [one.job for one, _ in others])
            if done.trace is not None:
                self.keep(action, done)
            return done.status
        except Edited as error:
            raise self._edited(error.path, "while it ran") from error
        finally:
            together.record(others, done)

    def keep(self, action: Action, done: "Done") -> None:
        """Record what a command has made."""
        from bezoar.cache.running import costs_of

        self._record(action, done)
        remove(costs_of(self.step))
        self.job.end()
        history.note(self.step.name, history.RUN)

    def _record(self, action: Action, done: "Done") -> None:
        self._check_code("while it ran")
        after = self._action().inputs
        for path in action.inputs:
            if after[path] != action.inputs[path]:
                raise CacheError(
                    problem(
                        f"{path} changed while {self.step.name} used it, so nothing is recorded",
                        found="other content than at the start",
                        expected="inputs that don't change",
                        hint="start again",
                    )
                )
        check_storable(dict(zip(self.step.outputs, self.step.outs, strict=True)), self.step.folder)
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
            if content is None:
                raise CacheError(
                    problem(f"{path} is gone", found="nothing", expected="what its job has made", hint="start again")
                )
            made[path] = content
        try:
            for path, content in made.items():
                self.objects.store(path, content)
        except Unwritable as error:  # the work is on disk and proven: a later run stores it
            show(f"{error}\n{self.step.name} is made and recorded, but not stored yet", file=sys.stderr)
        proof = Proof(action, made, done.trace, done.cost, done.made)
        if before := self.proofs.find(action, lambda one: one == done.trace):
            for path, was, now in differences(before, proof):
                show(f"{path} came out as {now}; with the same inputs it was {was} the last time", file=sys.stderr)
        self.proofs.add(proof)

    def _action(self) -> Action:
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
        return self.step.action(inputs)

    def _lookup(self, action: Action) -> Proof | None:
        return next((proof for proof in self._proofs(action) if self._is_at_hand(proof)), None)

    def _proofs(self, action: Action) -> Iterator[Proof]:
        """The proofs that hold, that of dvc.lock first."""
        verifier, accepted = Verifier(self.hasher), Acceptances.read()
        known = [
            Proof(action, one.outputs, self.proofs.traces.find(one.trace))
            for one in self.job.known
            if one.inputs == action.inputs
        ]
        earlier = replace(action, form=accepted.form(self.step))
        for proof in (*known, *self.proofs.all(action), *(self.proofs.all(earlier) if earlier != action else ())):
            if proof.trace and not accepted.without(verifier.changes(proof.trace)):
                yield proof

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

        if code.Closures(self.hasher).print_of(self.step.script) != self.run.prints[self.step.script]:
            raise self._edited(changed[0], when)

    def _edited(self, path: str, when: str) -> CacheError:
        return CacheError(
            problem(
                f"{path} was edited {when}: {self.step.name}, so nothing is recorded",
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
