"""`bezoar plan`: what would run and why, what would be restored from where, and what that would cost."""

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
from bezoar.cache.build import Build
from bezoar.cache.code import ACCEPTED, acceptances, changes
from bezoar.cache.decide import Reason
from bezoar.cache.dvc import PARAMS, RESOLVED, Dumper
from bezoar.cache.graph import loaded
from bezoar.cache.job import Step
from bezoar.text import printable

PARAMS_VARIABLE = "BEZOAR_PARAMS"  # names the params file that the Snakefile reads
SHOWN = 4  # reasons that a line shows


@dataclass(frozen=True)
class PlannedStage:
    """The jobs of one stage that would run.

    Attributes:
        jobs: How many of its jobs would run, of `of`.
        certain: False if all of them only run should their inputs, made anew, come out different.
        new: Whether none of them is on record.
        seconds: What these jobs took the last time, together; None if that isn't known of all.
        outputs: What they make.
    """

    stage: str
    jobs: int
    of: int
    certain: bool
    new: bool
    seconds: float | None
    reasons: list[Reason]
    outputs: list[str]


@dataclass(frozen=True)
class Restored:
    """An artifact that would be brought back.

    Attributes:
        source: `cache` or `remote`.
    """

    path: str
    bytes: int
    source: str


@dataclass(frozen=True)
class Plan:
    """What a build would do.

    Attributes:
        proven: Jobs that wouldn't run.
        accepted: Code names that stand for an earlier fingerprint, and why.
        changed: What differs from that earlier code, as computed here.
        spending: What would be asked of models over a network, stage by stage (bezoar.recipe.estimate.Expected).
        summary: What that comes to, against the budget.
        contradictions: What records of one job don't agree upon.
    """

    stages: list[PlannedStage]
    proven: int
    restored: list[Restored]
    accepted: dict[str, str]
    changed: dict[str, str] = field(default_factory=dict)
    spending: list[Any] = field(default_factory=list)
    summary: str = ""
    contradictions: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """What the jobs took the last time, as far as that is known."""
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
            "changed": self.changed,
        }
        data["contradictions"] = self.contradictions
        data["spending"] = [asdict(one) for one in self.spending]
        return json.dumps(
            {**data, "seconds": self.seconds},
            indent=2,
        )

    def text(self) -> str:
        """The plan for people."""
        count = sum(stage.jobs for stage in self.stages)
        unknown = sum(stage.jobs for stage in self.stages if stage.seconds is None)
        lines = [f"{count:,} job{'s' * (count != 1)} would run, {self.proven:,} needn't" if count else "nothing to run"]
        if count:
            known = f"about {_duration(self.seconds)} of work, by the last time" if self.seconds else ""
            missing = f"no time known for {unknown:,} of them" if unknown else ""
            lines.append("; ".join(part for part in (known, missing) if part))
        width = max((len(stage.stage) for stage in self.stages), default=0)
        for stage in self.stages:
            jobs = f" ({stage.jobs:,} of {stage.of:,} jobs)" if stage.of > 1 else ""
            lines.append(f"  {stage.stage:<{width}}  {_why(stage)}{jobs}")
        lines += [f"asks {one}" for one in self.spending]
        lines += [self.summary] * bool(self.summary)
        for source in ("cache", "remote"):
            found = [one for one in self.restored if one.source == source]
            if found:
                size = sum(one.bytes for one in found)
                lines.append(f"restored from the {source}: {len(found):,} artifacts, {size:,} bytes")
                lines += [f"  {one.path}" for one in found[:10]]
                lines += [f"  and {len(found) - 10:,} more"] * (len(found) > 10)
        for name, reason in self.accepted.items():
            lines.append(f"accepted in {ACCEPTED}: {name} as what it was: {reason}; changed: {self.changed[name]}")
        return "\n".join([*lines, *self.contradictions])


def _why(stage: PlannedStage) -> str:
    if stage.new:
        return "no record of it"
    if not stage.certain:
        more = f" and {len(stage.reasons) - SHOWN} more" * (len(stage.reasons) > SHOWN)
        return f"if other than before: {', '.join(one.name for one in stage.reasons[:SHOWN])}{more}"
    reasons = [str(one) for one in stage.reasons if one.kind != "upstream"]
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plan(targets: Iterable[str], settings: Iterable[str]) -> Plan:
    """What a build of the targets would do with other values; nothing is run or changed.

    Args:
        targets: Files or rules; all results without any.
        settings: `stages.dpo_hh.beta=0.2`, for a name that params.yaml has or leaves to a default; or
            `+stages.dpo_hh.beta=0.2`, as DVC wants it for a name that params.yaml hasn't. Values as in YAML.

    Raises:
        CacheError: params.yaml has no such name, the recipe with that value has problems, a target isn't known.
    """
    with _set(list(settings)), loaded(targets) as attached:
        found = planned(attached.build)
        if attached.spending and found.stages:
            asked = attached.spending()
            spending = asked.expected(attached.planned(), attached.commands())
            return replace(found, spending=spending, summary=asked.summary(spending) if spending else "")
        return found


@contextmanager
def _set(settings: list[str]) -> Iterator[None]:
    """Let the Snakefile read other values than params.yaml has; errors name what was given, and not the copy."""
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
    """The plan that a decided build stands for."""
    stages = []
    for stage in build.stages.values():
        steps = [step for step in stage.steps if step.name in build.decision.reasons]
        if steps:
            found = [one for step in steps for one in build.decision.reasons[step.name]]
            reasons = list({repr(one): one for one in found}.values())  # values may be lists, which can't be keys
            times = [_seconds(build, step) for step in steps]
            stages.append(
                PlannedStage(
                    stage=stage.name,
                    jobs=len(steps),
                    of=len(stage.steps),
                    certain=any(one.kind != "upstream" for one in reasons),
                    new=not any(step.name in build.decision.last for step in steps),
                    seconds=None if None in times else round(sum(one or 0 for one in times), 3),
                    reasons=reasons,
                    outputs=[output for step in steps for output in step.outputs],
                )
            )
    why = accepted(build)
    changed = {name: _changed_code(build, name) for name in why}
    contradictions = list(map(str, build.decision.contradictions))
    return Plan(stages, len(build.decision.proofs), _restored(build), why, changed, contradictions=contradictions)


def _seconds(build: Build, step: Step) -> float | None:
    """What a job took the last time that somebody with this cache ran it."""
    last = build.decision.last.get(step.name)
    found = build.proofs.find(last.key) if last else None
    return found.cost.get("seconds") if found else None


def _restored(build: Build) -> list[Restored]:
    remote = set(build.decision.fetch)
    return [
        Restored(path, one.size, "remote" if one.md5 in remote else "cache")
        for name in build.decision.restore
        for path, one in build.decision.proofs[name].outputs.items()
        if not build.hasher.holds(path, one.md5)
    ]


def accepted(build: Build) -> dict[str, str]:
    """Why code of the graph stands for earlier code, by its name in code.lock."""
    known = acceptances()
    used = {name for step in build.steps for name in step.code}
    found = {name: known.get((name, build.code.found[name])) for name in sorted(used)}
    return {name: printable(entry["reason"], lines=False) for name, entry in found.items() if entry}


def _changed_code(build: Build, name: str) -> str:
    was, now = build.code.prints[name], build.code.found[name]
    return told(changes(name, was, now, build.cache, build.code.parts.get(name)))


def told(changed: list[str] | None) -> str:
    """What changed of a script, in words."""
    return "not known here, since this cache never saw the earlier code" if changed is None else ", ".join(changed)


def _changed(settings: list[str]) -> Any:
    """The content of params.yaml with other values."""
    params = _read(PARAMS, Path(PARAMS).read_bytes())
    defaults = _read(RESOLVED, Path(RESOLVED).read_bytes()) if os.path.exists(RESOLVED) else None
    known = set(_names(params)) | set(_names(defaults))
    for setting in settings:
        name, mark, text = setting.partition("=")
        new, name = name.startswith("+"), name.removeprefix("+")
        *parents, last = name.split(".")
        block = params if mark and (new or name in known) else None
        for parent in parents:
            block = block.setdefault(parent, {}) if isinstance(block, dict) else None
        if not isinstance(block, dict):
            what = f"{PARAMS} has no such value" if mark else "no value is given"
            raise CacheError(
                f"-S {setting}: {what}\n  found:    {name}\n"
                f"  expected: NAME=VALUE, with a dotted name that {PARAMS} has or leaves to a default\n"
                f"hint: {_hint(name, mark, known)}"
            )
        block[last] = _read(f"-S {setting}", text.encode())
    return params


def _read(what: str, data: bytes) -> Any:
    try:
        return foreign.plain(yaml12.load(data.decode()))  # no list that holds itself
    except (yaml.YAMLError, UnicodeDecodeError, foreign.Malformed) as error:
        raise CacheError(f"{what}: not YAML\n  found:    {error}\n  expected: a value as in {PARAMS}") from error


def _hint(name: str, mark: str, names: set[str]) -> str:
    """The nearest name that there is."""
    known = sorted(names)
    if name in known and not mark:
        return f"-S {name}=VALUE"
    near = difflib.get_close_matches(name, known, n=1)
    near = near or [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    if not near:
        ends = difflib.get_close_matches(name.rpartition(".")[2], [one.rpartition(".")[2] for one in known], n=1)
        near = [one for one in known if ends and one.rpartition(".")[2] == ends[0]]
    return f"did you mean `{near[0]}`?" if near else "`bezoar recipe check` names the blocks"


def _names(block: Any, before: str = "") -> Iterator[str]:
    for key, value in block.items() if isinstance(block, dict) else []:
        yield f"{before}{key}"
        yield from _names(value, f"{before}{key}.")
