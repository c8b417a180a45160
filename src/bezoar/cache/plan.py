"""`bezoar plan`: what to run and why, what is restored from where, and the cost."""

import difflib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bezoar import yaml12
from bezoar.cache import CacheError, foreign
from bezoar.cache.acceptances import ACCEPTED, COMMAND
from bezoar.cache.build import Build
from bezoar.cache.decide import Reason
from bezoar.cache.dvc import PARAMS, RESOLVED, Dumper
from bezoar.cache.graph import loaded
from bezoar.cache.inventory import duration
from bezoar.cache.job import Step
from bezoar.errors import problem
from bezoar.text import printable

PARAMS_VARIABLE = "BEZOAR_PARAMS"  # the params file of the Snakefile
SHOWN = 4  # reasons in a line
RESTORED = 10  # artifacts that are named


@dataclass(frozen=True)
class JobToRun:
    """A job that runs.

    Attributes:
        name: Its first output.
        seconds: Its time in the last build; None if that isn't known.
    """

    name: str
    stage: str
    seconds: float | None
    reasons: list[Reason]


@dataclass(frozen=True)
class PlannedStage:
    """The jobs of one stage that run.

    Attributes:
        rule: The rule that they are of.
        jobs: How many of its jobs run, of `of`.
        certain: False if all of them only run if their inputs, which are made again, come out different.
        new: Whether none of them was ever built.
        seconds: Their total time in the last build; None if that isn't known for all.
        outputs: Their outputs.
    """

    stage: str
    rule: str
    jobs: int
    of: int
    certain: bool
    new: bool
    seconds: float | None
    reasons: list[Reason]
    outputs: list[str]


@dataclass(frozen=True)
class Restored:
    """An artifact to restore.

    Attributes:
        source: `cache` or `remote`.
    """

    path: str
    bytes: int
    source: str


@dataclass(frozen=True)
class Plan:
    """What a build will do.

    Attributes:
        proven: Number of jobs that are up to date.
        accepted: Changes that count as none, and why.
        spending: Model requests by stage (bezoar.recipe.estimate.Expected).
        summary: Their total, beside the budget.
        contradictions: Outputs on which two records of one job disagree.
        notes: What else the recipe says of the jobs that run.
        jobs: Each job that runs, in topological order.
    """

    stages: list[PlannedStage]
    proven: int
    restored: list[Restored]
    accepted: dict[str, str]
    spending: list[Any] = field(default_factory=list)
    summary: str = ""
    contradictions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    jobs: list[JobToRun] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The known time of the jobs in the last build."""
        return sum(stage.seconds or 0 for stage in self.stages)

    def json(self) -> str:
        """The plan for programs."""
        stages = [
            {**asdict(stage), "reasons": [{**one._asdict(), "text": str(one)} for one in stage.reasons]}
            for stage in self.stages
        ]
        restored = [asdict(one) for one in self.restored]
        data: dict[str, Any] = {
            "stages": stages,
            "proven": self.proven,
            "restored": restored,
            "accepted": self.accepted,
        }
        data["contradictions"] = self.contradictions
        data["notes"] = self.notes
        data["spending"] = [asdict(one) for one in self.spending]
        return json.dumps(
            {**data, "seconds": self.seconds},
            indent=2,
        )

    def head(self) -> list[str]:
        """How many jobs run, and how long they took in the last build."""
        count = sum(stage.jobs for stage in self.stages)
        if not count:
            return ["nothing to run"]
        unknown = sum(stage.jobs for stage in self.stages if stage.seconds is None)
        known = f"about {duration(self.seconds)} of work, by the last build" if self.seconds else ""
        missing = f"time unknown for {unknown:,} of them" if unknown else ""
        times = "; ".join(part for part in (known, missing) if part)
        return [f"{count:,} to run, {self.proven:,} up to date", *([times] if times else [])]

    def text(self, *, every: bool = False) -> str:
        """The plan for people, a line for each stage; with `every`, one for each job and artifact."""
        lines = self.head()
        if every:
            lines += [f"  {one.name}  {'; '.join(map(str, one.reasons))}" for one in self.jobs]
            return "\n".join([*lines, *self.rest(every=True)])
        width = max((len(stage.stage) for stage in self.stages), default=0)
        for stage in self.stages:
            jobs = f" ({stage.jobs:,} of {stage.of:,} jobs)" if stage.of > 1 else ""
            lines.append(f"  {stage.stage:<{width}}  {_why(stage)}{jobs}")
        return "\n".join([*lines, *self.rest()])

    def rest(self, *, every: bool = False) -> list[str]:
        """Lines about requests, devices, artifacts to restore, accepted changes and contradictions."""
        lines = [f"model requests of {one}" for one in self.spending]
        lines += [self.summary] * bool(self.summary)
        lines += self.notes
        for source in ("cache", "remote"):
            found = [one for one in self.restored if one.source == source]
            if found:
                size, plural = sum(one.bytes for one in found), "s" * (len(found) != 1)
                lines.append(f"restored from the {source}: {len(found):,} artifact{plural}, {size:,} bytes")
                shown = found if every else found[:RESTORED]
                lines += [f"  {one.path}" for one in shown]
                lines += [f"  and {len(found) - len(shown):,} more"] * (len(found) > len(shown))
        for name, reason in self.accepted.items():
            lines.append(f"accepted in {ACCEPTED}: a change of {name}: {reason}")
        return [*lines, *self.contradictions]


def _why(stage: PlannedStage) -> str:
    if stage.new:
        return "never built"
    if not stage.certain:
        more = f" and {len(stage.reasons) - SHOWN} more" * (len(stage.reasons) > SHOWN)
        return f"if changed: {', '.join(one.name for one in stage.reasons[:SHOWN])}{more}"
    reasons = list(dict.fromkeys(str(one) for one in stage.reasons if one.kind != "upstream"))  # of several jobs
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def plan(targets: Iterable[str], settings: Iterable[str]) -> Plan:
    """The plan of a build of the targets with other values; nothing is run or changed.

    Args:
        targets: Files or rules; all results by default.
        settings: `stages.dpo_hh.beta=0.2`, for a name that params.yaml has or leaves to a default; or
            `+stages.dpo_hh.beta=0.2`, as DVC wants it for a name that params.yaml lacks. Values as in YAML.

    Raises:
        CacheError: params.yaml has no such name, the recipe with that value has problems, or a target is unknown.
    """
    with _set(list(settings)), loaded(targets) as attached:
        found = replace(planned(attached.build), notes=attached.notes(attached.planned()))
        if attached.spending and found.stages:
            approval = attached.spending()
            spending = approval.expected(attached.planned(), attached.commands())
            return replace(found, spending=spending, summary=approval.summary(spending) if spending else "")
        return found


@contextmanager
def _set(settings: list[str]) -> Iterator[None]:
    """Let the Snakefile read a copy of params.yaml with other values; errors name the values, not the copy."""
    if not settings:
        yield
        return
    before = os.environ.get(PARAMS_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PARAMS)
        path.write_text(yaml.dump(_changed(settings), Dumper=Dumper, sort_keys=False), encoding="utf-8")
        os.environ[PARAMS_VARIABLE] = str(path)
        try:
            yield
        except CacheError as error:
            given = f"{PARAMS} with {' '.join(f'-S {one}' for one in settings)}"
            raise CacheError(re.sub(rf"{re.escape(str(path))}(:\d+)?", lambda _: given, str(error))) from error
        finally:
            del os.environ[PARAMS_VARIABLE]
            if before is not None:
                os.environ[PARAMS_VARIABLE] = before


def planned(build: Build) -> Plan:
    """The plan of a build after its decision."""
    stages = []
    jobs = [
        JobToRun(step.name, step.stage, _seconds(build, step), build.decision.reasons[step.name])
        for step in build.steps
        if step.name in build.decision.reasons
    ]
    for stage in build.stages.values():
        steps = [step for step in stage.steps if step.name in build.decision.reasons]
        if steps:
            found = [one for step in steps for one in build.decision.reasons[step.name]]
            reasons = list(
                {repr(one): one for one in found}.values()
            )  # values may be lists, which can't be keys of a dict
            times = [_seconds(build, step) for step in steps]
            recorded = any(step.name in build.decision.recorded for step in steps)
            stages.append(
                PlannedStage(
                    stage=stage.name,
                    rule=stage.steps[0].rule,
                    jobs=len(steps),
                    of=len(stage.steps),
                    certain=any(one.kind != "upstream" for one in reasons),
                    new=not (recorded or any(one.kind not in ("unrecorded", "upstream") for one in reasons)),
                    seconds=None if None in times else round(sum(one or 0 for one in times), 3),
                    reasons=reasons,
                    outputs=[output for step in steps for output in step.outputs],
                )
            )
    why = acceptances_used(build)
    contradictions = list(map(str, build.decision.contradictions))
    proven, restored = len(build.decision.proofs), _restored(build)
    return Plan(stages, proven, restored, why, contradictions=contradictions, jobs=jobs)


def _seconds(build: Build, step: Step) -> float | None:
    """The time of a job's last run, here or where its record was made."""
    last = build.decision.recorded.get(step.name)
    return last.cost.get("seconds") if last else None


def _restored(build: Build) -> list[Restored]:
    remote = set(build.decision.fetch)
    return [
        Restored(path, one.size, "remote" if one.md5 in remote else "cache")
        for name in build.decision.restore
        for path, one in build.decision.proofs[name].outputs.items()
        if not build.hasher.holds(path, one.md5)
    ]


def acceptances_used(build: Build) -> dict[str, str]:
    """Reasons of acceptances in use, by the changed module, package or command."""
    stages = {f"{COMMAND}{name}" for name in build.stages}
    used = [one for one in build.acceptances.entries if one in build.acceptances.used or one.what in stages]
    return {printable(one.what, lines=False): printable(one.reason, lines=False) for one in used}


def _changed(settings: list[str]) -> Any:
    """The content of params.yaml with other values."""
    params = _read(PARAMS, Path(PARAMS).read_bytes())
    defaults = _read(RESOLVED, Path(RESOLVED).read_bytes()) if os.path.exists(RESOLVED) else None
    known = set(_names(params)) | set(_names(defaults))
    for setting in settings:
        name, mark, text = setting.partition("=")
        new, name = name.startswith("+"), name.removeprefix("+")
        *parents, last = _keys(params, name)
        block = params if mark and (new or name in known) else None
        for parent in parents:
            block = block.setdefault(parent, {}) if isinstance(block, dict) else None
        if not isinstance(block, dict):
            what = f"{PARAMS} has no such value" if mark else "no value is given"
            raise CacheError(
                problem(
                    f"-S {setting}: {what}",
                    found=name,
                    expected=f"NAME=VALUE, with a dotted name that {PARAMS} has or leaves to a default",
                    hint=_hint(name, mark, known),
                )
            )
        block[last] = _read(f"-S {setting}", text.encode())
    return params


def _read(what: str, data: bytes) -> Any:
    try:
        return foreign.plain(yaml12.load(data.decode()))  # refuses a list that contains itself
    except (yaml.YAMLError, UnicodeDecodeError, foreign.Malformed) as error:
        raise CacheError(problem(f"{what}: not YAML", found=error, expected=f"a value as in {PARAMS}")) from error


def _hint(name: str, mark: str, names: set[str]) -> str:
    """A hint with the nearest known name."""
    known = sorted(names)
    if name in known and not mark:
        return f"-S {name}=VALUE"
    near = difflib.get_close_matches(name, known, n=1)
    near = near or [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    if not near:
        ends = difflib.get_close_matches(name.rpartition(".")[2], [one.rpartition(".")[2] for one in known], n=1)
        near = [one for one in known if ends and one.rpartition(".")[2] == ends[0]]
    return f"did you mean `{near[0]}`?" if near else "`bezoar recipe check` names the blocks"


def _keys(block: Any, name: str) -> list[str]:
    """The keys of a dotted name, one of which may have dots itself, such as a value that a level of a matrix sets."""
    key, mark, rest = name.partition(".")
    if not mark or (isinstance(block, dict) and name in block):
        return [name]
    return [key, *_keys(block.get(key) if isinstance(block, dict) else None, rest)]


def _names(block: Any, before: str = "") -> Iterator[str]:
    for key, value in block.items() if isinstance(block, dict) else []:
        yield f"{before}{key}"
        yield from _names(value, f"{before}{key}.")
