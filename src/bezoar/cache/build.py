"""One run over a graph: decide, bring what is needed, write down what is planned, and fold the proofs at the end."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from bezoar.cache import CacheError, committed, config, dvc, generated, git, lock, locks, modes, stages
from bezoar.cache.altered import set_aside
from bezoar.cache.code import LOCK, Code, script_name
from bezoar.cache.decide import Decider, Decision, bytes_of
from bezoar.cache.execute import clear
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.job import FOLDER, Job, Run, Step, forced_runs, undeclared
from bezoar.cache.objects import Objects, unwritable
from bezoar.cache.proofs import Proofs
from bezoar.cache.resolved import Resolved
from bezoar.cache.runs import identity
from bezoar.requests.job import SPENT

logger = logging.getLogger("bezoar")
OFFLINE = "BEZOAR_OFFLINE"
STAGE = "BEZOAR_STAGE"  # set by `bezoar build`: the run makes that stage, and DVC writes dvc.lock


class Build:
    """A graph with its cache.

    Args:
        commands: The rules' commands by name, as they stand in the rules.
        resolved: The values that the run goes by.
        plots: By rule, what DVC draws of its output.
        packaged: Whether rules take scripts of the package.
    """

    def __init__(
        self,
        commands: dict[str, str],
        resolved: Resolved,
        plots: dict[str, dict[str, Any]] | None = None,
        *,
        packaged: bool = False,
    ) -> None:
        self.cache, remote = config.settings()
        self._tracked = git.tracked()
        committed.check_own(self._tracked, self.cache)
        self.remote = remote and not os.environ.get(OFFLINE)
        self.resolved = resolved
        self.plots = plots or {}
        self.hasher = Hasher()
        self.hasher.recall_all()
        self.objects = Objects(self.cache, self.hasher)
        self.proofs = Proofs(self.cache)
        self._commands, self._packaged = commands, packaged
        self.code = self._read_code()
        self.code.check_acceptances(self.cache)
        self.steps: list[Step] = []
        self.stages: dict[str, stages.Stage] = {}
        self.decision = Decision()
        self.whole = True  # whether the graph is that of all results, and not of some targets alone
        self.complete = True  # whether it has all jobs of all results
        self._targets: list[str] = []
        self._forced: set[str] = set()
        self._lost: set[str] = set()  # objects that the remote lacks, or has damaged

    def code_of(self, rule: str, script: str) -> dict[str, str]:
        """The fingerprints that a step's result depends on."""
        names = (f"rules.{rule}", script_name(script))
        return {name: self.code.prints[name] for name in names}

    def knows(self, script: str) -> bool:
        """Whether a script's code has a fingerprint."""
        return script_name(script) in self.code.prints and script.endswith(".py")

    @property
    def pipeline(self) -> str:
        """The text of dvc.yaml, if the graph has all jobs of all results."""
        return stages.pipeline(self.stages, self.plots, code_elsewhere=self.code.elsewhere)

    def take(self, steps: list[Step]) -> None:
        """Take the steps of the graph, in topological order."""
        self.steps, self.stages = steps, stages.stages_of(steps)

    def decide(self, steps: list[Step], targets: Iterable[str], forced: set[str]) -> Decision:
        """Decide what runs; steps come in topological order. Outputs stay as they are.

        Raises:
            CacheError: A file that it needs can't be read, or the remote can't; git holds a link among the outputs.
        """
        self._targets, self._forced = list(targets), forced
        committed.check_links(self._tracked, steps)
        self.take(steps)
        decider = self._decider()
        made = frozenset(forced_runs())  # of a run that was killed before it could tell dvc.lock
        if not self.remote:
            self.decision = decider.decide(self._targets, forced, None, made)
            return self.decision
        from bezoar.cache.remote import available, fetch_lists  # slow to import

        if lists := decider.lists():
            fetch_lists(lists, self.objects)
        asked: set[str] = set()
        while True:  # what a step that can't be fetched is made of is asked for in its turn
            self.decision = decider.decide(self._targets, forced, self._lost, made)
            lacking = {md5 for one in self.decision.fetch for md5 in self.objects.missing(one)} - asked
            if not lacking:
                break
            asked |= lacking
            self._lost |= lacking - available(lacking)
        return self.decision

    def warn(self) -> None:
        """Say what records of one job don't agree upon."""
        for one in self.decision.contradictions:
            logger.warning(str(one))

    def prepare(self, command_of: Callable[[Step], list[str]]) -> bool:
        """Restore what is needed, check what can be checked before money is spent, and write the plan.

        Returns whether the decision changed, since something that was to be restored can't be.

        Raises:
            CacheError: dvc.lock is in conflict, dvc.yaml can't be brought into step with the rules, the cache can't be
                written to, a file that the cache doesn't hold lies in an artifact's folder.
        """
        git.check_merged(dvc.LOCK)
        self.objects.keep_lists()
        changed = self._restore()
        self._tell_aside(generated.bring_into_step(self, by_dvc=STAGE in os.environ))
        self._clear_folders()
        if self.decision.reasons:
            self._check_writable()
            self._remember()
            self._keep()
            self._write_plan(command_of)
            for step in self.steps:
                if step.name in self.decision.reasons and locks.is_free(step.name):
                    self.spare(step)
        else:  # jobs that an earlier run left in a cluster's queue are not wanted any more
            shutil.rmtree(Path(FOLDER, "jobs"), ignore_errors=True)
        self._check_what_dvc_reads()
        self._fold()
        self.hasher.save()
        return changed

    def bring_back(self, steps: list[Step]) -> None:
        """Restore what is proven of some steps, but for what a job is making just now; the others stay as they are.

        Raises:
            CacheError: The remote can't be read, or something can't be restored.
        """
        self.decide(steps, [output for step in steps for output in step.outputs], set())
        self.decision.restore = [name for name in self.decision.restore if locks.is_free(name)]
        self.objects.keep_lists()
        self._restore()
        self.hasher.save()

    def finish(self) -> None:
        """Fold what the run's jobs have proven into dvc.lock."""
        self.hasher = Hasher()  # jobs have read and written since
        self.hasher.recall_all()
        self.objects = Objects(self.cache, self.hasher)
        decider = self._decider()
        self.decision = decider.decide([], set(), made=frozenset(self.decision.reasons))
        if STAGE in os.environ:
            self._check_what_dvc_reads()
        else:
            self.code = self._read_code()  # code.lock and its stage are to say what is there now
            self.code.write(self.cache)
        self._fold()
        self.hasher.save()

    def _read_code(self) -> Code:
        return Code(self._commands, self.hasher, packaged=self._packaged)

    def _decider(self) -> Decider:
        locked = dvc.read(dvc.LOCK)
        return Decider(self.steps, self.stages, locked, self.hasher, self.objects, self.proofs, self.code.parts)

    def _restore(self) -> bool:
        """Bring outputs back, deciding again if an object turns out not to be there; whether that was so."""
        changed = False
        while self.decision.fetch:
            self._fetch(self.decision.fetch)
            damaged = {lacking for md5 in self.decision.fetch for lacking in self.objects.missing(md5)}
            if not damaged:
                break
            self._lost |= damaged
            changed = True
            self.decide(self.steps, self._targets, self._forced)
        for name in self.decision.restore:
            self._refuse_at_work(name)
            for path, content in self.decision.proofs[name].outputs.items():
                if not self.hasher.holds(path, content.md5):
                    set_aside(path, self.hasher, self.objects, made=name in self.decision.last)
                    self.objects.restore(content.md5, path)
        if self.decision.restore:
            logger.info(f"restored {len(self.decision.restore)} artifacts, {bytes_of(self.decision):,} bytes")
        return changed

    def _tell_aside(self, names: list[str]) -> None:
        if names:
            logger.warning(
                f"{', '.join(names)}: not in {dvc.PIPELINE}, so made but not recorded in {dvc.LOCK}\n"
                "hint: if it is new and results need it, run `bezoar dvc`; if not, name its output in the inputs of "
                "the first rule to have it recorded"
            )

    def _refuse_at_work(self, name: str) -> None:
        if not locks.is_free(name):
            raise CacheError(
                f"{name} is to be restored, but a job of an earlier run is making it otherwise\n"
                "  found:    a job that is at work\n  expected: none\n"
                "hint: wait until it has ended, or stop it; on a cluster see `squeue` and `scancel`"
            )

    def spare(self, step: Step) -> None:
        """Set aside what a job would overwrite, where it isn't what a record says.

        Raises:
            CacheError: What is there can't be read.
        """
        last = self.decision.last.get(step.name)
        for path in step.outputs:
            recorded = [last.outputs[path].md5] if last else []
            set_aside(path, self.hasher, self.objects, recorded, made=bool(last))

    def _fetch(self, contents: list[str]) -> None:
        from bezoar.cache.remote import fetch  # slow to import

        fetch(contents, self.objects)

    def _clear_folders(self) -> None:
        """Remove what a recipe with more shards or tasks left in a folder that DVC stores as a whole."""
        for stage in self.stages.values():
            declared = {output for step in stage.steps for output in step.outputs}
            for out in stage.outs if stage.complete else []:
                if out not in declared:
                    for path in undeclared(out, declared):
                        clear(path, out, self.hasher, self.objects, stage.steps[0].rule)

    def _check_writable(self) -> None:
        try:
            if config.shared_by_group():
                modes.share(self.cache)
            modes.make_folder(self.proofs.folder, self.cache)
            probe = os.path.join(self.proofs.folder, f".{os.getpid()}.partial")
            Path(probe).write_bytes(b"")
            os.unlink(probe)
        except OSError as error:
            raise unwritable(self.cache, error) from error

    def _write_plan(self, command_of: Callable[[Step], list[str]]) -> None:
        """What each job's process reads; all values as a copy, so that an edit reaches the next run and not this."""
        text = self.resolved.text.encode()
        self._check_values()
        run = identity()
        _clear_but(Path(FOLDER), SPENT / run)
        copy = Path(FOLDER, f"params-{hashlib.sha256(text).hexdigest()[:12]}.yaml")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
        steps = [step for step in self.steps if step.name in self.decision.reasons]
        closures = {
            script: {path: self.code.closures.md5s[path] for path in self.code.closures.files(script)}
            for script in sorted({step.script for step in steps})
        }
        Run(self.cache, str(copy), self.remote, closures, run).write()
        for step in steps:
            known = self.decision.known.get(step.name)
            proofs = [(known.key.inputs, known.outputs)] if known else []
            Job(step, command_of(step), step.name not in self._forced, proofs).write()

    def _remember(self) -> None:
        """Make proofs of what only dvc.lock knows, before its entries give way to those of other values or code.

        Only of entries that are committed: they count for as long as the commit is part of the history.
        """
        last = [
            (step.stage, self.decision.last.get(step.name)) for step in self.steps if step.name in self.decision.reasons
        ]
        unknown = [(stage, proof) for stage, proof in last if proof and self.proofs.find(proof.key) is None]
        commit = git.last_commit(dvc.LOCK) if unknown else None
        if commit is None:
            return
        now, then = dvc.read(dvc.LOCK), dvc.stages_in(git.version(commit, dvc.LOCK), dvc.LOCK)
        for stage, proof in unknown:
            if digest_of(now[stage]) == digest_of(then.get(stage)):
                self.proofs.add(replace(proof, origin=commit))

    def _keep(self) -> None:
        """Store what is on disk as dvc.lock knows it, for jobs that may not have to run: Snakemake removes it first."""
        for name in self.decision.reasons.keys() & self.decision.known.keys():
            for path, content in self.decision.known[name].outputs.items():
                if self.objects.missing(content.md5) and self.hasher.holds(path, content.md5):
                    self.objects.store(path, content)

    def _check_values(self) -> None:
        """Compare the values that the graph was made of with those of the recipe.

        Raises:
            CacheError: Snakemake was given other values by `--config`.
        """
        for name, value in {name: value for step in self.steps for name, value in step.params.items()}.items():
            found = _leaf(name, self.resolved.values)
            if digest_of(found) == digest_of(value):
                continue
            raise CacheError(
                f"{self.resolved.path}: {name} is not what this run began with\n  found:    {found!r}\n"
                f"  expected: {value!r}\nhint: start again; values come from that file alone, not from `--config`"
            )

    def _check_what_dvc_reads(self) -> None:
        """DVC records the values and the code that it finds when a stage ends: it must find what made the stage."""
        files = {dvc.RESOLVED: ("values", self.resolved.text), LOCK: ("fingerprints", self.code.text)}
        for path, (kind, text) in files.items() if STAGE in os.environ else ():
            if not os.path.exists(path) or Path(path).read_text(encoding="utf-8") != text:
                raise CacheError(
                    f"{path} was written while {os.environ[STAGE].split()[0]} was made\n"
                    f"  found:    other {kind}\n  expected: those of the start\nhint: start again"
                )

    def _fold(self) -> None:
        written = dvc.read(dvc.PIPELINE)
        if written and STAGE not in os.environ:
            read = self.resolved.content if self.resolved.path == dvc.PARAMS else None
            lock.fold(self.stages, self.decision.proofs, self.hasher, self.objects, written, read)


def _clear_but(folder: Path, kept: Path) -> None:
    """Remove all that lies in a folder, but for one folder in there."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if path in kept.parents:
            _clear_but(path, kept)
        elif not path.is_dir():
            path.unlink()
        elif path != kept:
            shutil.rmtree(path, ignore_errors=True)


def _leaf(name: str, params: Any) -> Any:
    """What parameters hold under a dotted name; None if they don't."""
    try:
        return reduce(lambda block, key: block[key], name.split("."), params)
    except (KeyError, TypeError):
        return None
