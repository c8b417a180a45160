"""Snakemake's graph with our decision in it. All uses of Snakemake's internals are in this module.

Written for snakemake 9.27.1; tests/workflow/test_contracts.py fails if a newer one behaves differently. The uses:
`snakemake.workflow.DAG` is replaced by a subclass before the graph is built. The subclass overrides `update_needrun`,
`delete_omitfrom_jobs`, `postprocess` and `check_output_mtime`, reads `_finished`, and writes `_needrun`,
`_n_until_ready`, `_ready_jobs`, `_checkpoint_jobs`, `_len` and the jobs' reasons. A wrapper runs before jobs'
`remove_existing_output`. For executors other than the local one, the workflow's `global_resources` and
`group_job_factory` are changed, and entries of `iocache.exists_local` are dropped. Control characters in the output of
`snakemake.logging.DefaultFormatter` are escaped. `loaded` calls the workflow's `_prepare_dag` and `_build_dag`, with a
subclass in place of `snakemake.workflow.FilePersistence`.
"""

import functools
import itertools
import math
import os
import re
import shlex
import tempfile
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Protocol

import snakemake.api  # before snakemake.workflow, which imports it in a circle
import snakemake.workflow
from snakemake.dag import DAG
from snakemake.exceptions import RuleException, WorkflowError
from snakemake.io import is_flagged
from snakemake.jobs import GroupJobFactory, Job
from snakemake.logging import DefaultFormatter
from snakemake.persistence.file import FilePersistence
from snakemake.shell import shell
from snakemake.utils import QuotedFormatter, SequenceFormatter
from snakemake_interface_common.exceptions import ApiError

from bezoar import installed
from bezoar.cache import CacheError, committed, foreign, git
from bezoar.cache.action import MADE, typed_digest
from bezoar.cache.build import STAGE, Build
from bezoar.cache.decide import Decision, Reason
from bezoar.cache.dvc import PARAMS
from bezoar.cache.hashing import digest_of, md5_of
from bezoar.cache.job import Network, Step, Surroundings
from bezoar.cache.resolved import Resolved
from bezoar.cache.trace import provenance
from bezoar.errors import problem, unusable
from bezoar.logs import guard
from bezoar.text import printable

NO_LOOKUP = "BEZOAR_NO_LOOKUP"  # for `dvc repro --force`, which can't pass the force to a stage's command
QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|\{[^{}]*\}", re.DOTALL)
SYNTAX = re.compile(r"\d*[<>]|[|&;`\n]|\$[({\w]")
NAME_IN_PATH = re.compile(r"[^/.\s]+")
WILDCARD = re.compile(r"\{(\w+)(?:,(?:[^{}]|\{[^{}]*\})*)?\}")
GRAPH_ERRORS = (ApiError, RuleException, WorkflowError)
Parts = Mapping[str, Callable[[Any], Iterable[str]]]
Networks = Mapping[str, Callable[[Any], Network | None]]


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
        packaged: Whether rules use scripts of the package.
        environment: Values of the environment variables that results depend on, by name, and of the facts in
            `rerun_on`, by name with `made.` before it.
        varies: Whether the Snakefile names such variables or facts, set or not.
        decides: Whether to decide what runs once the graph is made.
    """

    workflow: Any
    parts: Parts
    plots: dict[str, dict[str, Any]]
    resolved: Resolved
    spending: Callable[[], Spending] | None
    servers: Mapping[str, Callable[[Any], Any]]
    network: Networks
    packaged: bool
    environment: dict[str, str]
    varies: bool
    decides: bool = True

    @cached_property
    def build(self) -> Build:
        """The run's build; made after the rules are known."""
        paths = [str(one.get_path_or_uri(secret_free=True)) for one in self.workflow.included]
        included = [os.path.relpath(installed.name_of(path)) for path in paths]  # no path of an installation
        return Build(self.resolved, self.plots, included, packaged=self.packaged, varies=self.varies)

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
        return {step.name: _command(job) for job, step in self.workflow.dag.steps.items()}

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
    packaged: bool = False,
    environment: Iterable[str] = (),
    rerun_on: Iterable[str] = (),
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
        packaged: Whether rules use scripts of the package (`bezoar.installed`), not only the project's.
        environment: Names of environment variables that results depend on: jobs get them, and their values are part of
            every job's action. Jobs get no others of yours.
        rerun_on: Facts of where a result is made (`python`, `machine`, `processor`, `gpus`) that are a reason to make
            it again; by default they are recorded only.
    """
    if workflow.is_main_process:
        resolved = Resolved(params, values)
        names, facts_ = list(environment), facts(rerun_on)
        depends = {name: os.environ[name] for name in names if name in os.environ} | facts_
        ProvenDAG.attached = Attached(
            workflow, parts, plots, resolved, spending, servers, network, packaged, depends, bool(names or facts_)
        )
        snakemake.workflow.DAG = ProvenDAG
        Job.remove_existing_output = _spare_and_remove
        workflow.onsuccess(_finish)
        workflow.onerror(_finish)
        workflow.log_provenance_info = lambda: None  # advice about Snakemake's own records, which don't count here


def facts(names: Iterable[str]) -> dict[str, str]:
    """Facts of this machine, as part of a job's environment."""
    wanted = list(names)
    found = provenance() if wanted else {}
    return {f"{MADE}{name}": found.get(name, "") for name in wanted}


_remove = Job.remove_existing_output


async def _spare_and_remove(job: Any) -> None:
    """Before Snakemake's own preparation of a job, move unrecorded files aside."""
    attached = ProvenDAG.attached
    step = attached.workflow.dag.steps.get(job) if attached else None
    if attached and step:
        with _reported():
            attached.build.spare(step)
    await _remove(job)


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
        super().__init__(workflow, rules, **{**options, "ignore_incomplete": True})  # outputs with a proof are complete
        if workflow.non_local_exec:  # this machine's cores don't limit those of a node
            workflow.global_resources["_cores"] = None
            self.group_job_factory = Groups(getattr(workflow.executor_settings, "group_cores", None))

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
                plan = (lambda step: _command(jobs[step.name])), (lambda step: self.around(jobs[step.name]))
                if self.attached.build.prepare(*plan):
                    self._apply(list(self.toposorted()), self.attached.build.decision)
            for output in itertools.chain.from_iterable(job.output for job in self._needrun):
                self.workflow.iocache.exists_local.pop(output, None)  # it may have been moved aside since then
        await super().postprocess(*arguments, check_initial=check_initial, **options)

    def around(self, job: Any) -> Surroundings:
        """What a job touches beside its inputs."""
        assert self.attached
        network = self.attached.network.get(job.rule.name, lambda wildcards: None)
        folders = tuple(str(path) for path in job.output if is_flagged(path, "directory"))
        return Surroundings(folders, tuple(map(str, job.log)), network(job.wildcards))

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
        return self._shape(job.rule).step(job, self.attached)

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
                    hint="see docs/your-own-rules.md for the form",
                )
            )
        if job.params.get("values") is None:
            raise CacheError(
                problem(
                    f"rule {job.rule.name} doesn't say which parameters it reads",
                    found="no params named values",
                    expected="a map of dotted names to values, empty if it reads none",
                    hint="see docs/your-own-rules.md for the form",
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


class RuleLayout:
    """The folders of a rule's outputs, by its patterns."""

    def __init__(self, rule: Any, inner: frozenset[str]) -> None:
        self.rule = rule.name
        self.patterns = [WILDCARD.sub(r"{\1}", str(path)) for path in rule.output]
        self.names = list(dict.fromkeys(WILDCARD.findall(self.patterns[0])))
        self.inner = [name for name in self.names if name in inner]
        self.outer = [name for name in self.names if name not in inner]
        self.folder = self._folder()
        self._parts: dict[tuple[str, ...], int] = {}  # number of jobs by block
        self.outs = [self._out(pattern, path) for pattern, path in zip(self.patterns, rule.output, strict=True)]

    def _folder(self) -> str | None:
        """The folder pattern with all wildcards, which belongs to one job; None if there isn't one."""
        folders = {self._prefix(pattern) for pattern in self.patterns}
        return folders.pop() if len(folders) == 1 and self.names else None

    def _prefix(self, pattern: str) -> str | None:
        parts = pattern.split("/")
        for length in range(1, len(parts)):
            if set(WILDCARD.findall("/".join(parts[:length]))) == set(self.names):
                return "/".join(parts[:length])
        return None

    def _out(self, pattern: str, path: Any) -> str:
        if self.inner:
            parts = pattern.split("/")
            first = next(n for n, part in enumerate(parts) if set(WILDCARD.findall(part)) & set(self.inner))
            out = "/".join(parts[:first])
            if set(WILDCARD.findall(out)) != set(self.outer):
                raise CacheError(
                    problem(
                        f"rule {self.rule}: {pattern} can't be stored as one folder per block",
                        found=f"{{{self.inner[0]}}} before another wildcard",
                        expected="the wildcards of the block first",
                        hint="put the folder of the parts inside the block's",
                    )
                )
            return out
        return pattern if is_flagged(path, "directory") or not self.folder else self.folder

    def targets(self, block: list[str], parts: Parts) -> list[str]:
        """The first output of every job of a block."""
        if len(block) != len(self.outer):
            raise WorkflowError(problem("no such stage", found=block, expected=f"{self.rule} {' '.join(self.outer)}"))
        outer = dict(zip(self.outer, block, strict=True))
        values = [parts[name](SimpleNamespace(**outer)) for name in self.inner]
        combinations = itertools.product(*values)
        return [self.patterns[0].format(**outer, **dict(zip(self.inner, one, strict=True))) for one in combinations]

    def _count(self, job: Any, parts: Parts) -> int:
        """The number of a block's jobs."""
        return math.prod(len(list(parts[name](job.wildcards))) for name in self.inner)

    def step(self, job: Any, attached: Attached) -> Step:
        """A job as a step of the cache."""
        values = job.wildcards_dict
        block = tuple(values[name] for name in self.outer)
        if block not in self._parts:  # once per block: it may have thousands of jobs
            self._parts[block] = self._count(job, attached.parts)
        params = dict(job.params.get("values"))
        _check_recordable(self.rule, params)
        return Step(
            rule=self.rule,
            block=block,
            parts=self._parts[block],
            inputs=tuple(dict.fromkeys(str(path) for path in job.input if path != job.input.script)),
            form=self._form(job),
            outputs=tuple(map(str, job.output)),
            folder=self.folder.format(**values) if self.folder else None,
            outs=tuple(out.format(**values) for out in self.outs),
            params=params,
            values=typed_digest(params),
            environment=attached.environment,
            script=str(job.input.script),
        )

    def _form(self, job: Any) -> str:
        """Digest of what a job runs, with the names of its inner wildcards in place of their values."""
        own = {job.wildcards_dict[name]: f"{{{name}}}" for name in self.inner}
        form = {
            "command": [installed.name_of(word) if word.startswith("/") else word for word in expanded(job)],
            "inputs": [[role, paths] for role, paths in _roles(job)],
            "outputs": list(map(str, job.output)),
            "software": _software(job),
        }
        return digest_of(_renamed(form, own) if own else form)


def _check_recordable(rule: str, params: dict[str, Any]) -> None:
    """Refuse values that dvc.lock can't hold before anything runs.

    Raises:
        CacheError: There is one, such as a date.
    """
    for name, value in params.items():
        try:
            foreign.plain(value)
        except foreign.Malformed as error:
            raise CacheError(
                problem(
                    f"rule {rule}: {name} can't be recorded",
                    found=error,
                    expected="text, number, true or false, null, list, or a map with keys of one kind",
                    hint="quote it in params.yaml, so that it is a text",
                )
            ) from error


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """A value with parts of paths renamed: `data/seed/words/{shard}.jsonl` for the job of a shard.

    It can be undone by the outputs, so jobs of one shard with different forms stay different.
    """
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return NAME_IN_PATH.sub(lambda found: names.get(found[0], found[0]), value)


def _software(job: Any) -> dict[str, str]:
    """What a rule says of the environment that its command runs in; none of it by default."""
    conda = conda_file(job)
    spec = conda or getattr(job.conda_env_spec, "name", "") or getattr(job.conda_env_spec, "path", "")
    content = f" {_content(conda, os.stat(conda).st_ctime_ns)}" if os.path.isfile(conda) else ""
    found = {
        "prefix": shell._process_prefix or "",
        "container": str(job.container_img_url or ""),
        "modules": " ".join(job.env_modules.names) if job.env_modules else "",
        "conda": f"{spec}{content}",
    }
    return {name: text for name, text in found.items() if text}


def conda_file(job: Any) -> str:
    """The path or address of the file that describes the conda environment of a job's rule; empty for none."""
    file = getattr(job.conda_env_spec, "file", None)
    path = str(file.get_path_or_uri(secret_free=True)) if file else ""
    return os.path.relpath(path) if os.path.isfile(path) else path


@functools.cache
def _content(path: str, time: int) -> str:
    return md5_of(path)  # once for all jobs of a run


def _roles(job: Any) -> Iterator[tuple[str, list[str]]]:
    """The inputs of a job but the script, by name, or by position for those without a name."""
    names = [name for name in job.input.keys() if name != "script"]  # noqa: SIM118 - not a dict
    named = set()
    for name in names:
        found = job.input.get(name)
        paths = [found] if isinstance(found, str) else list(found)
        named.update(paths)
        yield name, [str(path) for path in paths]
    yield "", [str(path) for path in job.input if path not in named and path != job.input.script]


def _command(job: Any) -> list[str]:
    """The words after `--` in a job's shell line."""
    return _after_mark(job, shlex.split(job.shellcmd.replace("\\\n", " ")))  # a shell joins continued lines


class _Apart:
    """Stands for a value that no result depends on; its attributes, too."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> "_Apart":
        return _Apart(f"{self.name}.{name}")

    def __getitem__(self, key: Any) -> "_Apart":
        return _Apart(f"{self.name}[{key}]")

    def __format__(self, spec: str) -> str:
        return f"{{{self.name}}}"


APART = {name: _Apart(name) for name in ("threads", "resources", "log", "jobid", "bench_iteration")}


def expanded(job: Any) -> list[str]:
    """A job's command as words, as it runs, but for threads, resources and logs."""
    formatter = SequenceFormatter(separator=" ", element_formatter=QuotedFormatter())
    known = {
        "input": job.input,
        "output": job.output,
        "params": job.params,
        "wildcards": job._format_wildcards,
        "name": job.name,
        "rule": job.rule.name,
        "rulename": job.rule.name,
        **APART,
    }
    text = formatter.vformat(job.rule.shellcmd, (), ChainMap(known, job.rule.workflow.globals))
    return _after_mark(job, shlex.split(text.replace("\\\n", " ")))


def _after_mark(job: Any, words: list[str]) -> list[str]:
    """The words after `--` of a shell line.

    Raises:
        CacheError: It doesn't name the rule's first output before it.
    """
    first, mark = str(job.output[0]), words.index("--") if "--" in words else len(words)
    if words[2:3] != [first] or not words[mark + 1 :]:
        raise CacheError(
            problem(
                f"rule {job.rule.name} names another output than the cache does",
                found=" ".join(words[:mark]),
                expected=f"bezoar exec {first} -- COMMAND",
                hint="name the rule's first output after `bezoar exec`",
            )
        )
    return words[mark + 1 :]


def shell_syntax(command: str) -> str:
    """The first part of a rule's command with a meaning for the shell: a redirect, a pipe, a list.

    Quoted text is a word, and so are Snakemake's `{placeholders}`.
    """
    text = re.sub(r"\\\n", " ", command).strip()
    found = SYNTAX.search(QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text))
    return text[found.start() :].strip().split("\n")[0][:60] if found else ""


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
        CacheError: The Snakefile or a target can't be used; Snakemake has reported why.
    """
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
