"""A run over a graph: decide, restore, write the plan, and at the end write dvc.lock from the proofs."""

import hashlib
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from bezoar.cache import (
    CacheError,
    committed,
    config,
    dvc,
    generated,
    git,
    history,
    lock,
    locks,
    modes,
    records,
    recover,
    stages,
    together,
)
from bezoar.cache.acceptances import Acceptances
from bezoar.cache.action import typed_digest
from bezoar.cache.altered import linked_folders, replace_link, set_aside
from bezoar.cache.decide import Decider, Decision, bytes_of
from bezoar.cache.execute import clear
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import (
    FOLDER,
    Known,
    PlannedJob,
    Run,
    Step,
    Surroundings,
    clear_forced_runs,
    forced_runs,
    undeclared,
)
from bezoar.cache.objects import Objects, unwritable
from bezoar.cache.prints import Code
from bezoar.cache.proofs import Proofs
from bezoar.cache.records import Records
from bezoar.cache.resolved import Resolved
from bezoar.cache.runs import identity
from bezoar.cache.storable import check_paths
from bezoar.cache.trace import Verifier
from bezoar.errors import problem
from bezoar.requests.job import SPENT
from bezoar.text import printable

logger = logging.getLogger("bezoar")
OFFLINE = "BEZOAR_OFFLINE"
STAGE = "BEZOAR_STAGE"  # set by `bezoar build`: the run makes this stage, and DVC writes dvc.lock


class Build:
    """A graph with its cache.

    Args:
        resolved: The run's values.
        plots: By rule, DVC's plots of its output.
        included: The Snakefile and all files that it includes.
        packaged: Whether rules take scripts of the package.
        varies: Whether results depend on environment variables or facts of the machine, which no file shows.
        sharing: Scripts that can do several jobs in one process.
    """

    def __init__(
        self,
        resolved: Resolved,
        plots: dict[str, dict[str, Any]] | None = None,
        included: Iterable[str] = (),
        *,
        packaged: bool = False,
        varies: bool = False,
        sharing: Collection[str] = (),
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
        self.verifier = Verifier(self.hasher)
        self.acceptances = Acceptances.read()
        self.included, self._packaged, self._varies = list(included), packaged, varies
        self._scripts = sharing
        self.sharing: dict[str, tuple[str, ...]] = {}  # by planned job, those that may share its process
        self.steps: list[Step] = []
        self.stages: dict[str, stages.DvcStage] = {}
        self.decision = Decision()
        self.whole = True  # whether the graph is that of all results, not of some targets only
        self.complete = True  # whether it has all jobs of all results
        self.counts: Counter[str] = Counter()  # what became of the run's jobs, by history.COUNTS
        self.restored: list[str] = []  # names of the steps that were restored before jobs ran
        self._began = time.time()
        self._targets: list[str] = []
        self._forced: set[str] = set()
        self._lost: set[str] = set()  # objects that are missing or damaged on the remote

    @property
    def pipeline(self) -> str:
        """The text of dvc.yaml, if the graph has all jobs of all results."""
        return stages.pipeline(self.stages, self.plots, self._code_stage)

    @property
    def _code_stage(self) -> dict[str, Any]:
        inside = [path for path in self.included if not path.startswith(("..", "/"))]  # others have no fixed path
        return stages.code_stage([*inside, *self.code.more], elsewhere=self.code.elsewhere or self._varies)

    def take(self, steps: list[Step]) -> None:
        """Set the steps of the graph, in topological order, and read their code."""
        self.steps, self.stages = steps, stages.stages_of(steps)
        self.code = self._read_code()

    def decide(self, steps: list[Step], targets: Iterable[str], forced: set[str]) -> Decision:
        """Decide which steps run; steps are in topological order. Outputs don't change.

        Raises:
            CacheError: A file or the remote can't be read, or git tracks a link among the outputs.
        """
        self._targets, self._forced = list(targets), forced
        committed.check_links(self._tracked, steps)
        self.take(steps)
        decider = self._decider()
        made = frozenset(forced_runs())  # of a run that was killed before it wrote dvc.lock
        if not self.remote:
            self.decision = decider.decide(self._targets, forced, None, made)
            return self.decision
        from bezoar.cache.remote import available, fetch_lists  # slow to import

        if lists := decider.lists():
            fetch_lists(lists, self.objects)
        requested: set[str] = set()
        while True:  # if a step's outputs can't be fetched, its inputs are needed next
            self.decision = decider.decide(self._targets, forced, self._lost, made)
            lacking = {md5 for one in self.decision.fetch for md5 in self.objects.missing(one)} - requested
            if not lacking:
                break
            requested |= lacking
            self._lost |= lacking - available(lacking)
        return self.decision

    def warn(self) -> None:
        """Report outputs on which two records of one job disagree, and records of an earlier version."""
        old = [one for found in self.decision.reasons.values() for one in found if one.kind == "untraced"]
        if old:
            logger.warning(f"{len(old)} job{'s' * (len(old) > 1)} to run once again: {old[0]}")
        for one in self.decision.contradictions:
            logger.warning(str(one))
        untrusted: dict[str, dict[str, None]] = {}  # stages by the reason that their records don't count
        for step in self.steps:
            for reason in self.decision.reasons.get(step.name, []):
                if reason.kind == "untrusted":
                    untrusted.setdefault(reason.was, {})[step.stage] = None
        for why, names in untrusted.items():
            message = f"{', '.join(names)}: the record in {dvc.LOCK} doesn't count: {why}"
            logger.warning(printable(message, lines=False))

    def prepare(self, command_of: Callable[[Step], list[str]], around: Callable[[Step], Surroundings]) -> bool:
        """Restore needed outputs, do all checks before money is spent, and write the plan.

        Returns whether the decision changed because an output can't be restored.

        Raises:
            CacheError: dvc.lock is in conflict, dvc.yaml can't be updated, the cache can't be written, or an artifact's
                folder has a file that isn't in the cache.
        """
        git.check_merged(dvc.LOCK, records.TRACES_LOCK)
        self.objects.keep_lists()
        self._replace_links()
        self._store_again()
        changed = self._restore()
        self._tell_aside(generated.bring_into_step(self, by_dvc=STAGE in os.environ))
        self._clear_folders()
        if self.decision.reasons:
            check_paths({out for one in self.steps if one.name in self.decision.reasons for out in one.outs})
            self._check_writable()
            self._remember()
            self._keep()
            self._write_plan(command_of, around)
            for step in self.steps:
                if step.name in self.decision.reasons and locks.is_free(step.name):
                    self.spare(step)
        else:  # jobs of an earlier run in a cluster's queue aren't needed any more
            shutil.rmtree(Path(FOLDER, "jobs"), ignore_errors=True)
            self._record_run(Counter())
        self._check_what_dvc_reads()
        self.fold()
        self.hasher.save()
        return changed

    def bring_back(self, steps: list[Step]) -> None:
        """Restore proven outputs of some steps, unless a job is making them now; other outputs don't change.

        Those on disk that the cache lacks are stored.

        Raises:
            CacheError: The remote can't be read, or an output can't be restored.
        """
        self.decide(steps, [output for step in steps for output in step.outputs], set())
        self.decision.restore = [name for name in self.decision.restore if locks.is_free(name)]
        self.objects.keep_lists()
        self._replace_links()
        self._store_again()
        self._restore()
        self.hasher.save()

    def finish(self) -> None:
        """Write the proofs of the run's jobs into dvc.lock."""
        self._record_run(history.outcomes())
        self.hasher = Hasher()  # jobs have read and written files since
        self.hasher.recall_all()
        self.objects = Objects(self.cache, self.hasher)
        self.verifier = Verifier(self.hasher)
        self.proofs = Proofs(self.cache)
        made = frozenset(self.decision.reasons)
        self.decision = self._decider().decide([], set(), made=made)
        self._warn_of_refuted(made)
        self._check_what_dvc_reads()
        self._store_again()
        self._fold_proofs()
        if STAGE not in os.environ:
            self.code = self._read_code()  # match the current code
            self._write_code()
            self._fold_code()
            clear_forced_runs()
        self.hasher.save()

    def _record_run(self, outcomes: Counter[str]) -> None:
        """Record what became of the jobs, for `bezoar cache`."""
        restored, planned = len(self.decision.restore), len(self.decision.reasons)
        counts = outcomes + Counter(restored=restored, up_to_date=len(self.steps) - planned - restored)
        self.counts, self.restored = counts, list(self.decision.restore)
        by = "dvc" if STAGE in os.environ else "snakemake"
        history.record(counts, run=identity(), by=by, began=self._began)

    def _warn_of_refuted(self, made: frozenset[str]) -> None:
        """Report outputs of this run that differ from a record that doesn't count."""
        outputs = {path for step in self.steps if step.name in made for path in step.outputs}
        for one in self.decision.contradictions:
            if one.path in outputs:
                logger.warning(str(one))

    def _read_code(self) -> Code:
        locked = dvc.read(dvc.LOCK)
        return Code(self.stages, locked, records.read(), self.hasher, self.verifier, packaged=self._packaged)

    def _decider(self) -> Decider:
        return self.decider(dvc.read(dvc.LOCK), records.read())

    def decider(self, locked: dict[str, Any], recorded: Records) -> Decider:
        """A decider with other records than those of this folder."""
        return Decider(
            self.steps,
            self.stages,
            locked,
            recorded,
            self.hasher,
            self.objects,
            self.proofs,
            self.verifier,
            self.acceptances,
        )

    def _replace_links(self) -> None:
        """Put copies in the place of links to folders inside of what DVC stores, unless a job is at work there."""
        pairs = (pair for step in self.steps for pair in zip(step.outputs, step.outs, strict=True))
        if linked := linked_folders(pairs):
            busy = {path for step in self.steps if not locks.is_free(step.name) for path in step.outputs}
            for place, paths in linked.items():
                if busy.isdisjoint(paths):
                    replace_link(place, paths)

    def _restore(self) -> bool:
        """Restore outputs; decides again if an object is missing, and returns whether one was."""
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
                    set_aside(path, self.hasher, self.objects, made=name in self.decision.recorded)
                    self.objects.restore(content.md5, path)
        if self.decision.restore:
            logger.info(f"restored {len(self.decision.restore)} artifacts, {bytes_of(self.decision):,} bytes")
        return changed

    def _tell_aside(self, names: list[str]) -> None:
        if names:
            logger.warning(
                problem(
                    f"{', '.join(names)}: not recorded in {dvc.LOCK}",
                    found=f"no such stage in {dvc.PIPELINE}",
                    expected="a stage that results need",
                    hint="if results need it, run `bezoar dvc`; if not, add its output to the inputs of the first rule",
                )
            )

    def _refuse_at_work(self, name: str) -> None:
        if not locks.is_free(name):
            raise CacheError(
                problem(
                    f"{name} can't be restored: a job of an earlier run is making it with other inputs",
                    found="a running job",
                    expected="none",
                    hint="wait until it has ended, or stop it; on a cluster see `squeue` and `scancel`",
                )
            )

    def spare(self, step: Step) -> None:
        """Move files aside that a job would overwrite, unless they are recorded outputs.

        Raises:
            CacheError: A file can't be read.
        """
        last = self.decision.recorded.get(step.name)
        for path in step.outputs:
            recorded = [last.outputs[path].md5] if last else []
            set_aside(path, self.hasher, self.objects, recorded, made=bool(last))

    def _fetch(self, contents: list[str]) -> None:
        from bezoar.cache.remote import fetch  # slow to import

        fetch(contents, self.objects)

    def _clear_folders(self) -> None:
        """Remove files of a recipe with more shards or tasks from folders that DVC stores as a whole."""
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

    def _write_plan(self, command_of: Callable[[Step], list[str]], around: Callable[[Step], Surroundings]) -> None:
        """Write the plan for the jobs' processes, with a copy of all values: edits affect the next run only."""
        text = self.resolved.text.encode()
        self._check_values()
        run = identity()
        copy = Path(FOLDER, f"params-{hashlib.sha256(text).hexdigest()[:12]}.yaml")
        _clear_but(Path(FOLDER), SPENT / run, copy)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != text:  # a killed run's job may read this very file, and no new one
            copy.write_bytes(text)
        steps = [step for step in self.steps if step.name in self.decision.reasons]
        scripts = sorted({step.script for step in steps})
        closures = {script: self.code.closures.contents(script) for script in scripts}
        prints = {script: self.code.closures.print_of(script) for script in scripts}
        Run(self.cache, str(copy), self.remote, closures, prints, git.state(records.GENERATED), run).write()
        jobs = []
        for step in steps:
            found = self.decision.recorded_match.get(step.name)
            if found and found.trace:
                self.proofs.traces.add(found.trace)  # so that jobs needn't read traces.lock
            known = [Known(found.action.inputs, found.outputs, found.trace.digest)] if found and found.trace else []
            jobs.append(PlannedJob(step, command_of(step), step.name not in self._forced, known, around(step)))
        for job in together.planned(jobs, self._scripts):
            job.write()
            self.sharing[job.step.name] = job.together

    def _remember(self) -> None:
        """Make proofs of dvc.lock's records before entries for other values or code replace them.

        Only of committed entries, which count as long as the commit is part of the history, and of trusted ones.
        """
        reasons, recorded, untrusted = self.decision.reasons, self.decision.recorded, self.decision.untrusted
        steps = [step for step in self.steps if step.name in reasons and step.stage not in untrusted]
        last = [(step.stage, recorded.get(step.name)) for step in steps]
        unknown = [
            (stage, proof)
            for stage, proof in last
            if proof and proof.trace and self.proofs.find(proof.action, proof.trace.__eq__) is None
        ]
        commit = git.last_commit(dvc.LOCK) if unknown else None
        if commit is None:
            return
        now, then = dvc.read(dvc.LOCK), dvc.stages_in(git.version(commit, dvc.LOCK), dvc.LOCK)
        for stage, proof in unknown:
            if typed_digest(now[stage]) == typed_digest(then.get(stage)):
                self.proofs.add(replace(proof, origin=commit))

    def _keep(self) -> None:
        """Store recorded outputs on disk for jobs that may not have to run: Snakemake removes the outputs first."""
        for name in self.decision.reasons.keys() & self.decision.recorded_match.keys():
            for path, content in self.decision.recorded_match[name].outputs.items():
                if self.objects.missing(content.md5) and self.hasher.holds(path, content.md5):
                    self.objects.store(path, content)

    def _check_values(self) -> None:
        """Compare the graph's values with the recipe's.

        Raises:
            CacheError: `--config` has other values.
        """
        for name, value in {name: value for step in self.steps for name, value in step.params.items()}.items():
            found = _leaf(name, self.resolved.values)
            if typed_digest(found) == typed_digest(value):
                continue
            raise CacheError(
                problem(
                    f"{self.resolved.path}: {name} changed since this run started",
                    found=f"{found!r}",
                    expected=f"{value!r}",
                    hint="start again; values come from that file only, not from `--config`",
                )
            )

    def _check_what_dvc_reads(self) -> None:
        """Check that values and code are still those of the start: DVC records what it finds when a stage ends."""
        if STAGE not in os.environ:
            return
        if not os.path.exists(dvc.RESOLVED) or Path(dvc.RESOLVED).read_text(encoding="utf-8") != self.resolved.text:
            raise _changed(dvc.RESOLVED, "values")
        if generated.prints_in(dvc.CODE_LOCK).get(os.environ[STAGE]) != self.code.prints[os.environ[STAGE]]:
            raise _changed(dvc.CODE_LOCK, "fingerprints")

    def _store_again(self) -> None:
        count = recover.outputs(self.decision.proofs.values(), self.hasher, self.objects)
        if count:
            logger.warning(f"the cache lacked {count} outputs that are sound on disk; they are stored again")

    def fold(self) -> None:
        """Write the proofs into dvc.lock and traces.lock, and the state of the code."""
        self._fold_proofs()
        self._fold_code()

    def _fold_proofs(self) -> None:
        written = dvc.read(dvc.PIPELINE)
        if not written:
            return
        before = self.code.prints
        self.code.learn(self._fold(written), records.read(), self.verifier)
        if self.code.prints != before:  # with the new traces, which hold
            self._fold(written)
            self._write_code()
        if new := generated.add_code(self.code.more):  # files that jobs were seen to read
            lock.fold_new_code(new, self.hasher)

    def _fold(self, written: dict[str, Any]) -> dict[str, Any]:
        return lock.fold(
            self.stages,
            self.decision.proofs,
            self.hasher,
            self.objects,
            written,
            self.code.prints,
            by_dvc=STAGE in os.environ,
        )

    def _write_code(self) -> None:
        """Write code.lock; in a run by DVC into dvc.lock, too, so that the stage `code` stays as it is."""
        before = self.hasher.content(dvc.CODE_LOCK)
        if generated.write_code(self) and STAGE in os.environ:
            lock.fold_code_lock(before, self.hasher)

    def _fold_code(self) -> None:
        """Write the entry of the stage `code` into dvc.lock, if code.lock has been made from the whole graph."""
        stage = dvc.read(dvc.PIPELINE).get(stages.CODE_STAGE)
        if stage and self.complete and STAGE not in os.environ and self.resolved.path == dvc.PARAMS:
            lock.fold_code(stage, self.hasher, self.resolved.content)


def _changed(path: str, kind: str) -> CacheError:
    return CacheError(
        problem(
            f"{path} was changed while {os.environ[STAGE]} was made",
            found=f"other {kind}",
            expected="those of the start",
            hint="start again",
        )
    )


def _clear_but(folder: Path, *kept: Path) -> None:
    """Remove everything in a folder except some paths in it."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if any(path in one.parents for one in kept):
            _clear_but(path, *kept)
        elif path in kept:
            continue
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _leaf(name: str, params: Any) -> Any:
    """The value of parameters under a dotted name; None without one."""
    try:
        return reduce(lambda block, key: block[key], name.split("."), params)
    except (KeyError, TypeError):
        return None
