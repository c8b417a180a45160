"""Snakemake's graph with our decision in it. All uses of Snakemake's internals are here, in form.py and producers.py.

Written for snakemake 9.27.1; tests/workflow/test_contracts.py fails if a newer one behaves differently. The uses:
`snakemake.workflow.DAG` is replaced by a subclass before the graph is built. The subclass overrides
`update_output_index` (producers.py), `update_needrun`, `delete_omitfrom_jobs`, `postprocess`, `check_output_mtime` and
`ready_jobs`, reads `_finished` and the jobs that the workflow's `scheduler` has `running`, and writes `_needrun`,
`_n_until_ready`, `_ready_jobs`, `_checkpoint_jobs`, `_len` and the jobs' reasons. A wrapper runs before jobs'
`remove_existing_output`. For executors other than the local one, the workflow's `global_resources` and
`group_job_factory` are changed, and entries of `iocache.exists_local` are dropped. Control characters in the output of
`snakemake.logging.DefaultFormatter` are escaped. For a report, the workflow's `create_report` is wrapped, and
`FilePersistence.metadata` is replaced. `loaded` calls the workflow's `_prepare_dag` and `_build_dag`, with a
subclass in place of `snakemake.workflow.FilePersistence`.
"""

import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TextIO

import snakemake.api  # before snakemake.workflow, which imports it in a circle
import snakemake.workflow
from snakemake.dag import DAG
from snakemake.exceptions import MissingRuleException, RuleException, WorkflowError
from snakemake.io import is_flagged
from snakemake.jobs import GroupJobFactory, Job
from snakemake.logging import DefaultFormatter, logger
from snakemake.persistence.file import FilePersistence
from snakemake_interface_common.exceptions import ApiError

from bezoar import installed, terminal
from bezoar.cache import CacheError, absent, committed, git, locks, progress, runtimes
from bezoar.cache.action import MADE
from bezoar.cache.build import STAGE, Build
from bezoar.cache.decide import Decision, Reason
from bezoar.cache.dvc import PARAMS
from bezoar.cache.ending import summary
from bezoar.cache.form import command_of, conda_file, shell_syntax
from bezoar.cache.job import Network, Step, Surroundings
from bezoar.cache.layout import Parts, RuleLayout
from bezoar.cache.producers import Producers
from bezoar.cache.resolved import Resolved
from bezoar.cache.trace import provenance
from bezoar.cache.why import unmade
from bezoar.errors import problem, unusable
from bezoar.logs import guard
from bezoar.text import printable

NO_LOOKUP = "BEZOAR_NO_LOOKUP"  # for `dvc repro --force`, which can't pass the force to a stage's command
GRAPH_ERRORS = (ApiError, RuleException, WorkflowError)
Networks = Mapping[str, Callable[[Any], Network | None]]
Closing = Callable[[list[str]], list[Any]]
Ended = Callable[[Build], list[str]]


def _print_safely() -> None:
    """Escape control characters in Snakemake's output; its handler adds colours later."""
    formatted = DefaultFormatter.format
    if not hasattr(formatted, "__wrapped__"):

        @functools.wraps(formatted)
        def safe(self: Any, record: Any) -> str | None:
            text = formatted(self, record)
            return text if text is None else printable(str(text))

        DefaultFormatter.format = safe
    guard()


_print_safely()  # before the first message


class Spending(Protocol):
    """What steps spend in addition to time."""

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Any]:
        """Their spending, a line for each stage."""
        ...

    def summary(self, found: list[Any]) -> str:
        """The total, beside the budget."""
        ...

    def check(self, steps: list[Step], commands: dict[str, list[str]]) -> None:
        """Raise CacheError if they may not spend it."""
        ...


@dataclass
class Attached:
    """The arguments of `attach`, and the run's build.

    Attributes:
        parts: For each wildcard that splits a block's work, a function from the other wildcards to its values.
        plots: By rule, DVC's plots of its output: `file` inside it, `x`, `y` and so on.
        resolved: The parameters, and their file.
        spending: Makes the Spending that estimates and approves costs; None if nothing costs money.
        servers: By rule, a function from a job's wildcards to its `bezoar.cluster.servers.Server`, or None.
        network: By rule, a function from a job's wildcards to its Network, or None.
        notes: What a plan says of steps that run, in addition to why and what they cost.
        packaged: Whether rules use scripts of the package.
        environment: Values of the environment variables that results depend on, by name, and of the facts in
            `rerun_on`, by name with `made.` before it.
        varies: Whether the Snakefile names such variables or facts, set or not.
        together: Scripts that can do several jobs in one process.
        closing: What the end of a run shows of the outputs that are up to date, for rich.
        ended: Writes files about a run that has ended, and returns their paths.
        decides: Whether to decide what runs once the graph is made.
    """

    workflow: Any
    parts: Parts
    plots: dict[str, dict[str, Any]]
    resolved: Resolved
    spending: Callable[[], Spending] | None
    servers: Mapping[str, Callable[[Any], Any]]
    network: Networks
    notes: Callable[[list[Step]], list[str]]
    packaged: bool
    environment: dict[str, str]
    varies: bool
    together: frozenset[str]
    closing: Closing
    ended: Ended
    decides: bool = True
    started: float = field(default_factory=time.monotonic)

    @cached_property
    def build(self) -> Build:
        """The run's build; made after the rules are known."""
        paths = [str(one.get_path_or_uri(secret_free=True)) for one in self.workflow.included]
        included = [os.path.relpath(installed.name_of(path)) for path in paths]  # no path of an installation
        return Build(
            self.resolved,
            self.plots,
            included,
            packaged=self.packaged,
            varies=self.varies,
            sharing=self.together,
        )

    def close(self) -> None:
        """End the output of a run with what it did and made; the runs that make up a `dvc repro` don't."""
        if STAGE in os.environ:
            return
        proofs = self.build.decision.proofs
        about = self.describe()
        made = [path for step in self.build.steps if step.name in proofs for path in step.outputs]
        taken = time.monotonic() - self.started
        parts = [terminal.line(summary(self.build.counts, taken), "bold"), *self.closing([*made, *about])]
        logger.info(terminal.plain(*parts), extra={"drawn": parts})

    def describe(self) -> list[str]:
        """Write files about the run; returns their paths. A failure is a warning, since the results are there."""
        if STAGE in os.environ:
            return []
        try:
            return self.ended(self.build)
        except Exception as error:
            logger.warning(f"the page about this run can't be written: {type(error).__name__}: {error}")
            return []

    def make_graph(self, *, decide: bool = True) -> None:
        """Make the graph of the targets and, unless only its steps are needed, decide what runs.

        Raises:
            GRAPH_ERRORS: It can't be made.
        """
        self.decides = decide
        self.workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True)
        self.workflow._build_dag()

    def planned(self) -> list[Step]:
        """The steps that run."""
        return [step for step in self.build.steps if step.name in self.build.decision.reasons]

    def commands(self) -> dict[str, list[str]]:
        """The command of each step of the graph, by the step's name."""
        return {step.name: command_of(job) for job, step in self.workflow.dag.steps.items()}

    def surroundings(self) -> dict[str, Surroundings]:
        """What each step touches beside its inputs, by the step's name."""
        return {step.name: self.workflow.dag.around(job) for job, step in self.workflow.dag.steps.items()}

    def threads(self) -> dict[str, int]:
        """The threads of each step's job with all cores of this machine, by the step's name."""
        return {step.name: job.threads for job, step in self.workflow.dag.steps.items()}


def attach(
    workflow: Any,
    *,
    parts: Parts,
    plots: dict[str, dict[str, Any]],
    params: str = PARAMS,
    values: Any = None,
    spending: Callable[[], Spending] | None = None,
    servers: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
    network: Networks = MappingProxyType({}),
    notes: Callable[[list[Step]], list[str]] = lambda steps: [],
    packaged: bool = False,
    environment: Iterable[str] = (),
    rerun_on: Iterable[str] = (),
    together: Iterable[str] = (),
    closing: Closing = lambda outputs: [],
    ended: Ended = lambda build: [],
) -> None:
    """Let proofs decide what Snakemake runs. A Snakefile calls it before its rules; jobs' processes ignore it.

    Args:
        workflow: Snakemake's workflow object.
        parts: For each wildcard that splits a block's work (shards, tasks), a function from the others to its values.
        plots: By rule, DVC's plots of its output: `file` inside it, `x`, `y` and so on.
        params: The params file.
        values: All values, with defaults; by default the content of the params file.
        spending: Makes the Spending that estimates and approves costs.
        servers: By rule, a function from a job's wildcards to its server, if it needs one; for executors.
        network: By rule, a function from a job's wildcards to its Network, or None; other jobs connect to nobody.
        notes: A function from the steps that run to lines of `bezoar plan` about them.
        packaged: Whether rules use scripts of the package (`bezoar.installed`), not only the project's.
        environment: Names of environment variables that results depend on: jobs get them, and their values are part of
            every job's action. Jobs get no others of yours.
        rerun_on: Facts of where a result is made (`python`, `machine`, `processor`, `gpus`) that are a reason to make
            it again; by default they are recorded only.
        together: Scripts that can do several jobs in one process (`bezoar.together`). Jobs of one block that differ in
            their part only share one then.
        closing: A function from the outputs that are up to date to what the end of a run shows of them, for rich.
        ended: A function from a run's build to the paths of files that it writes about the run. Such a file is no
            output of the graph: it holds what differs from run to run.
    """
    Job.remove_existing_output = _spare_and_remove
    if workflow.is_main_process:
        resolved = Resolved(params, values)
        names, facts_ = list(environment), facts(rerun_on)
        depends = {name: os.environ[name] for name in names if name in os.environ} | facts_
        ProvenDAG.attached = Attached(
            workflow,
            parts,
            plots,
            resolved,
            spending,
            servers,
            network,
            notes,
            packaged,
            depends,
            bool(names or facts_),
            frozenset(together),
            closing,
            ended,
        )
        snakemake.workflow.DAG = ProvenDAG
        workflow.onsuccess(_succeed)
        workflow.onerror(_fail)
        workflow.create_report = functools.partial(_create_report, workflow.create_report)
        workflow.log_provenance_info = lambda: None  # advice about Snakemake's own records, which don't count here


def _create_report(create: Callable[..., None], **settings: Any) -> None:
    """Let Snakemake's report take runtimes from proofs, since there are no records of Snakemake's own."""
    found: dict[str, dict[str, Any]] = {}

    def metadata(persistence: Any, target: Any) -> Any:
        if not found and ProvenDAG.attached:
            found.update(runtimes.records(ProvenDAG.attached.build))
        return found.get(str(target))

    FilePersistence.metadata = metadata
    create(**settings)


def facts(names: Iterable[str]) -> dict[str, str]:
    """Facts of this machine, as part of a job's environment."""
    wanted = list(names)
    found = provenance() if wanted else {}
    return {f"{MADE}{name}": found.get(name, "") for name in wanted}


_remove = Job.remove_existing_output


async def _spare_and_remove(job: Any) -> None:
    """Before Snakemake removes a job's outputs, wait for who makes them, and move unrecorded files aside.

    A job that SLURM has lost with its node may write there still, and in its room it can't write in a folder that takes
    the place of a removed one. The logs of a job that may have been made in another one's process stay: if it runs, it
    writes them anew.
    """
    if job.output:
        locks.wait(os.path.normpath(job.output[0]))
    attached = ProvenDAG.attached
    step = attached.workflow.dag.steps.get(job) if attached else None
    logs: list[str] = []
    if attached and step:
        with _reported():
            attached.build.spare(step)
        logs = [str(path) for path in job.log if attached.build.sharing.get(step.name) and os.path.isfile(path)]
    for path in logs:
        os.replace(path, f"{path}.kept")
    await _remove(job)
    for path in logs:
        os.replace(f"{path}.kept", path)


def _succeed(log: str) -> None:
    _finish(log)
    assert ProvenDAG.attached
    if not ProvenDAG.attached.workflow.touch:
        ProvenDAG.attached.close()


def _fail(log: str) -> None:
    _finish(log)
    assert ProvenDAG.attached
    if not ProvenDAG.attached.workflow.touch:
        ProvenDAG.attached.describe()


def _finish(log: str) -> None:
    assert ProvenDAG.attached
    if not ProvenDAG.attached.workflow.touch:  # which makes nothing, and was given no plan
        with _reported():
            ProvenDAG.attached.build.finish()


@contextmanager
def _reported() -> Iterator[None]:
    """Turn the cache's errors into Snakemake's."""
    try:
        yield
    except CacheError as error:
        raise WorkflowError(str(error)) from error
    except OSError as error:
        raise WorkflowError(unusable(error)) from error


class ProvenDAG(DAG):
    """A graph of jobs in which a job runs if and only if it has no proof.

    Times of files and Snakemake's own records don't count.
    """

    attached: Attached | None = None

    def __init__(self, workflow: Any, rules: Iterable[Any], **options: Any) -> None:
        assert self.attached
        self.steps: dict[Any, Step] = {}
        self.shapes: dict[str, RuleLayout] = {}
        if stage := os.environ.get(STAGE, ""):
            rule = next((rule for rule in rules if stage.split("-")[0] == rule.name), None)
            if rule is None:
                raise WorkflowError(problem("no such stage", found=stage, expected="RULE-BLOCK, as dvc.yaml has them"))
            targets = self._shape(rule).targets(stage.split("-")[1:], self.attached.parts)
            rules, options = [rule], {**options, "targetfiles": set(targets), "targetrules": set()}
        with _reported():
            for path in absent.recorded():
                workflow.iocache.exists_local[path] = True  # decided by its record, and not missing
        super().__init__(workflow, rules, **{**options, "ignore_incomplete": True})  # outputs with a proof are complete
        if workflow.non_local_exec:  # this machine's cores don't limit those of a node
            workflow.global_resources["_cores"] = None
            self.group_job_factory = Groups(getattr(workflow.executor_settings, "group_cores", None))

    def update_output_index(self) -> None:
        """Find the rules that make a file by both of its ends: shards may be thousands."""
        self.output_index = Producers(self.rules)

    async def update_needrun(self, create_inventory: bool = False) -> None:
        """Decide which jobs run, and set Snakemake's reasons."""
        levels = [sorted(level, key=lambda job: (job.rule.name, *job.output)) for level in self.toposorted()]
        with _reported():
            self._check_made([job for level in levels for job in level])
        self._decide(levels)

    def _check_made(self, jobs: list[Any]) -> None:
        """Refuse a file that a rule makes, but no job does: Snakemake takes it as it is if the rule lacks an input.

        Raises:
            CacheError: There is such a file.
        """
        made = {str(path) for job in jobs for path in job.output}
        for path in dict.fromkeys(path for job in jobs for path in job.input if path not in made):
            rule = next((rule for rule in self.rules if rule.is_producer(path)), None)
            if rule is not None:
                lacking = self._lacking(rule, path)
                raise CacheError(
                    problem(
                        f"{path} is on disk, but rule {rule.name} can't make it",
                        found=f"missing input {', '.join(lacking) or 'of the rule'}",
                        expected="all inputs of the rule",
                        hint="restore it, or change the rule; without its rule the file proves nothing",
                    )
                )

    def _lacking(self, rule: Any, path: str) -> list[str]:
        """The inputs that a rule needs for a file and that neither exist nor are made by a rule."""
        needed, *_ = rule.expand_input(rule.get_wildcards(path))
        return [
            str(one) for one in needed if not os.path.exists(one) and not any(r.is_producer(one) for r in self.rules)
        ]

    def _decide(self, levels: list[list[Any]]) -> None:
        assert self.attached
        with _reported():
            build = self.attached.build
            self.steps = {job: self._step(job) for level in levels for job in level if job.output}
            conda = {path for job in self.steps if os.path.isfile(path := conda_file(job))}
            build.included += sorted(conda - {*build.included})
            if not self.attached.decides:
                build.take(list(self.steps.values()))
                return
            forced = {step.name for job, step in self.steps.items() if self._is_forced(job)}
            rules = {job.rule.name for job in self.targetjobs}
            build.whole = STAGE in os.environ or self.workflow.default_target in rules
            build.complete = self._is_complete(rules)
            targets = [str(path) for job in self.targetjobs for path in (job.output or job.input)]
            decision = build.decide(list(self.steps.values()), targets, forced)
            absent.check(step for step in build.steps if step.name in decision.reasons)
        self._apply(levels, decision)

    def _is_complete(self, rules: set[str]) -> bool:
        """Whether the graph has all jobs of the default target."""
        left_out = (self.omitrules, self.omitfiles, self.untilrules, self.untilfiles, self.batch)
        allowed = self.workflow.dag_settings.allowed_rules
        return self.workflow.default_target in rules and not any(left_out) and not allowed

    def delete_omitfrom_jobs(self) -> None:
        """Decide again if `--until`, `--omit-from` or `--batch` leave out jobs: those aren't planned."""
        super().delete_omitfrom_jobs()
        if self.omitrules or self.omitfiles or self.untilrules or self.untilfiles:
            self._decide(list(self.toposorted()))

    async def postprocess(self, *arguments: Any, check_initial: bool = False, **options: Any) -> None:
        """When the run holds Snakemake's lock: restore needed outputs, and write the plan."""
        assert self.attached
        if check_initial:
            self.attached.build.warn()
        if check_initial and not (self.workflow.dryrun or self.workflow.touch):
            jobs = {step.name: job for job, step in self.steps.items()}
            with _reported():
                if self.attached.spending and self._needrun:
                    self.attached.spending().check(self.attached.planned(), self.attached.commands())
                plan = (lambda step: command_of(jobs[step.name])), (lambda step: self.around(jobs[step.name]))
                if self.attached.build.prepare(*plan):
                    self._apply(list(self.toposorted()), self.attached.build.decision)
            if self._needrun:
                self.progress = self._write_progress()  # open, and so locked, until the run ends
            else:  # Snakemake calls no hook then
                self.attached.close()
            for output in itertools.chain.from_iterable(job.output for job in self._needrun):
                self.workflow.iocache.exists_local.pop(output, None)  # it may have been moved aside since then
        await super().postprocess(*arguments, check_initial=check_initial, **options)

    def _write_progress(self) -> TextIO:
        """Write what the run has planned, for `bezoar status`; the file stays locked while it is open."""
        assert self.attached
        jobs = {step.name: job for job, step in self.steps.items()}
        threads = {name: int(job.threads) for name, job in jobs.items()}
        logs = {name: str(next(iter(job.log), "")) for name, job in jobs.items()}
        cores = self.workflow.global_resources["_cores"]
        return progress.of_build(self.attached.build, threads, logs, getattr(cores, "value", cores)).write()

    def around(self, job: Any) -> Surroundings:
        """What a job touches beside its inputs."""
        assert self.attached
        network = self.attached.network.get(job.rule.name, lambda wildcards: None)
        folders = tuple(str(path) for path in job.output if is_flagged(path, "directory"))
        made = {str(path) for paths in self.dependencies[job].values() for path in paths}
        given = tuple(str(path) for path in job.input if path not in made)
        return Surroundings(folders, tuple(map(str, job.log)), network(job.wildcards), given)

    @property
    def ready_jobs(self) -> set[Any]:
        """Jobs that are ready, without those that a running job's process makes, too: they would only wait for it.

        A job that may make others waits for their inputs, if these are being made or can be.
        """
        assert self.attached
        ready: set[Any] = self._ready_jobs
        sharing = self.attached.build.sharing
        if not any(sharing.values()):
            return ready
        scheduler = self.workflow.scheduler
        running = scheduler.running if scheduler else ()
        at_work = {one for job in (*running, *ready) for one in (job if job.is_group() else [job])}
        makers = {step.name: self.dependencies[job].keys() for job, step in self.steps.items() if step.name in sharing}
        taken: set[str] = set()
        found: set[Any] = set()
        for job in [*running, *sorted(ready, key=_first)]:
            steps = [self.steps[one] for one in (job if job.is_group() else [job]) if one in self.steps]
            others = [other for step in steps for other in sharing.get(step.name, ())]
            if job in ready and not all(at_work.isdisjoint(makers.get(other, ())) for other in others):
                continue
            if job not in ready or taken.isdisjoint(step.name for step in steps):
                taken.update(others)
                found.add(job)
        return found & ready

    async def check_output_mtime(self, job: Any, expanded_output: Any) -> None:
        """Times of files don't count."""

    def _apply(self, levels: list[list[Any]], decision: Decision) -> None:
        for place in (self._needrun, self._checkpoint_jobs, self._n_until_ready, self._ready_jobs):
            place.clear()
        for job in itertools.chain(*levels):
            if self.finished(job):
                continue
            self.reason(job).clear()
            step = self.steps.get(job)
            if step and step.name in decision.reasons:
                self._needrun.add(job)
                _explain(self.reason(job), step, decision.reasons[step.name])
            elif not step and any(before in self._needrun for before in self.dependencies[job]):
                self._needrun.add(job)  # a target without outputs
                self.reason(job).updated_input_run.update(job.input)
        for job in self._needrun:
            self._n_until_ready[job] = sum(1 for before in self.dependencies[job] if before in self._needrun)
        self._len = len(self._finished | self._needrun)

    def _is_forced(self, job: Any) -> bool:
        forced = job.rule in self.forcerules or not self.forcefiles.isdisjoint(job.output)
        return forced or NO_LOOKUP in os.environ

    def _shape(self, rule: Any) -> "RuleLayout":
        if rule.name not in self.shapes:
            assert self.attached
            self.shapes[rule.name] = RuleLayout(rule, frozenset(self.attached.parts))
        return self.shapes[rule.name]

    def _step(self, job: Any) -> Step:
        assert self.attached
        script = job.input.get("script")
        self._check_form(job, script)
        return self._shape(job.rule).step(job, self.attached.parts, self.attached.environment)

    def _check_form(self, job: Any, script: Any) -> None:
        """Refuse a rule that the cache can't track.

        Raises:
            CacheError: Its command, its script or its parameters don't have the required form.
        """
        if not (job.rule.shellcmd or "").strip().startswith("bezoar exec ") or not script:
            raise CacheError(
                problem(
                    f"rule {job.rule.name} doesn't go through the cache",
                    found="a command without `bezoar exec`, or no input named script",
                    expected="`bezoar exec OUTPUT -- COMMAND`",
                    hint=f"see {installed.find('docs/how-to/own-rules.md')} for the form",
                )
            )
        if job.params.get("values") is None:
            raise CacheError(
                problem(
                    f"rule {job.rule.name} doesn't say which parameters it reads",
                    found="no params named values",
                    expected="a map of dotted names to values, empty if it reads none",
                    hint=f"see {installed.find('docs/how-to/own-rules.md')} for the form",
                )
            )
        if found := shell_syntax(job.rule.shellcmd):
            raise CacheError(
                problem(
                    f"rule {job.rule.name}: the command uses the shell in a way that the cache can't follow",
                    found=found,
                    expected="one program and its arguments",
                    hint="scripts log to --log and write to --out; for a redirect, `-- bash -c '...'` in quotes",
                )
            )
        assert self.attached
        if not str(script).endswith(".py"):
            raise CacheError(
                problem(
                    f"rule {job.rule.name}: the code of its script can't be followed",
                    found=script,
                    expected="a Python file (.py)",
                    hint="let a Python script call programs in other languages",
                )
            )


class Elsewhere(FilePersistence):
    """Keeps Snakemake's records in another folder, for queries: a read-only tree works, too."""

    def __init__(self, **options: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(**{**options, "path": Path(self._folder.name)})


class Groups(GroupJobFactory):
    """Makes groups of jobs that share a submission, with a limit on their cores."""

    def __init__(self, cores: int | None) -> None:
        super().__init__()
        self.cores = cores

    def new(self, name: str, jobs: Iterable[Any], resources: Any) -> Any:
        """A group."""
        limits = resources.copy()
        limits["_cores"] = self.cores
        return super().new(name, jobs, limits)


def _first(job: Any) -> str:
    """The first output of a job or a group, so that equal graphs are built in one order."""
    return min(map(str, job.output), default="")


def _explain(reason: Any, step: Step, found: list[Reason]) -> None:
    """Set Snakemake's reason for a job."""
    kinds = {one.kind for one in found}
    reason.derived = kinds == {"upstream"}
    reason.forced = "forced" in kinds
    reason.code_changed = bool(kinds & {"code", "rule"})
    reason.updated_input.update(one.name for one in found if one.kind == "input")
    reason.updated_input_run.update(one.name for one in found if one.kind == "upstream")
    if values := [str(one) for one in found if one.kind == "param"]:
        reason.params_changed = "; ".join(values)
    if kinds & {"unrecorded", "untraced", "untrusted", "missing", "environment"}:
        reason.missing_output.update(step.outputs)


@contextmanager
def loaded(targets: Iterable[str] = (), *, graph: bool = True, decide: bool = True) -> Iterator[Attached]:
    """The Snakefile of this folder and, with `graph`, the decision about its jobs; nothing is run or written.

    Args:
        targets: Files or rules; by default the default target.
        graph: Whether to make the graph of jobs.
        decide: Whether to decide which of them run.

    Raises:
        CacheError: The Snakefile can't be used, or no rule makes a target.
    """
    targets = list(targets)
    try:
        with _loaded(targets, graph=graph, decide=decide) as attached:
            yield attached
    except CacheError as error:
        # Snakemake's message has no path by itself
        unknown = [one for one in targets if f"produce {one} (" in str(error)]
        if not unknown or not isinstance(error.__cause__, MissingRuleException):
            raise
        with _loaded([], graph=True, decide=False) as whole:
            raise unmade(unknown[0], whole.build.steps, "a file that a rule makes, or the name of a rule") from error


@contextmanager
def _loaded(targets: list[str], *, graph: bool, decide: bool) -> Iterator[Attached]:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, ExecutionSettings, OutputSettings, Quietness, ResourceSettings

    if not os.path.isfile("Snakefile"):
        raise CacheError(
            problem(
                "no Snakefile here",
                found=f"none in {os.getcwd()}",
                expected="a project",
                hint="`cd` to the repository that you cloned",
            )
        )
    committed.check_own(git.tracked())  # before Snakemake makes .snakemake/log
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        try:
            settings = DAGSettings(targets=frozenset(targets))
            workflow = (
                api.workflow(ResourceSettings(cores=os.cpu_count()), snakefile=Path("Snakefile"))
                .dag(settings)
                .workflow_api._workflow
            )
            workflow.dag_settings = settings
            snakemake.workflow.FilePersistence = Elsewhere
            workflow.execution_settings = ExecutionSettings(lock=False)
            if ProvenDAG.attached is None:
                raise CacheError(
                    problem("the Snakefile doesn't call bezoar.cache.graph.attach", found="none", expected="it")
                )
            if graph:
                ProvenDAG.attached.make_graph(decide=decide)
            yield ProvenDAG.attached
        except GRAPH_ERRORS as error:
            raise CacheError(str(error).strip() or f"{type(error).__name__}") from error
