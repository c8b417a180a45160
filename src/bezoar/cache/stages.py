"""Stages: the graph as DVC sees it, one stage for each rule and named block, and dvc.yaml made of them."""

import os
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from bezoar.cache import CacheError
from bezoar.cache.code import LOCK as CODE_LOCK
from bezoar.cache.code import PACKAGE, SCRIPTS
from bezoar.cache.dvc import PARAMS, PIPELINE, RESOLVED, Dumper
from bezoar.cache.hashing import digest_of
from bezoar.cache.job import Step

CODE_STAGE = "code"
CODE_OUTS = (CODE_LOCK, RESOLVED)
BUILD = "bezoar build"
RESULTS = "results/"  # what lies there is scores
HEAD = "# Generated from the Snakefile and params.yaml. Don't edit: `bezoar dvc` writes it.\n"


class Stale(CacheError):
    """dvc.yaml is behind the rules."""


@dataclass(frozen=True)
class Stage:
    """A rule and a named block, with all steps that they stand for in the graph."""

    name: str
    steps: list[Step]
    deps: list[str]

    @property
    def outs(self) -> list[str]:
        """What DVC stores of it, sorted."""
        return sorted({out for step in self.steps for out in step.outs})

    @property
    def complete(self) -> bool:
        """Whether all its steps are in the graph, and not just those that one target needs."""
        return len(self.steps) == self.steps[0].parts

    @property
    def command(self) -> str:
        """What `dvc repro` calls; nothing in it changes with a value, a host or a number of cores.

        DVC knows what a stage takes, but not as what; the digest of the roles makes it run when two inputs swap theirs.
        """
        step = self.steps[0]
        return " ".join((BUILD, step.rule, *step.block, "--roles", self.roles))

    @property
    def roles(self) -> str:
        """Digest of which input plays which part in its steps."""
        return digest_of(sorted({step.roles for step in self.steps}))[:8]


def stages_of(steps: Iterable[Step]) -> dict[str, Stage]:
    """The stages of a graph by name.

    Raises:
        CacheError: Two stages would store the same file or folder, or one inside the other's.
    """
    grouped: dict[str, list[Step]] = {}
    producers: dict[str, tuple[Step, str]] = {}
    for step in steps:
        grouped.setdefault(step.stage, []).append(step)
        producers |= {output: (step, out) for output, out in zip(step.outputs, step.outs, strict=True)}
    stages = {name: Stage(name, members, _deps(members, producers)) for name, members in grouped.items()}
    owners: dict[str, str] = {}
    for stage in stages.values():
        for out in stage.outs:
            if owners.setdefault(out, stage.name) != stage.name:
                raise _overlap(out, owners[out], stage.name)
    for out, owner in owners.items():
        parent = os.path.dirname(out)
        while parent:
            if parent in owners:
                raise _overlap(out, owner, owners[parent])
            parent = os.path.dirname(parent)
    return stages


def _overlap(path: str, one: str, other: str) -> CacheError:
    return CacheError(
        f"{path} would be stored by two stages\n  found:    it in {one} and in {other}\n"
        "  expected: every output in one stage\nhint: give each rule a folder of its own"
    )


def _deps(steps: list[Step], producers: dict[str, tuple[Step, str]]) -> list[str]:
    """What the steps take; a folder where they take one of its files each, or where another stage has many parts."""
    uses = Counter(path for step in steps for path in step.inputs)
    deps = set()
    for path, count in uses.items():
        step, out = producers.get(path, (None, path))
        deps.add(out if step and (step.parts > 1 or count < len(steps)) else path)
    return sorted(deps)


def pipeline(stages: dict[str, Stage], plots: dict[str, dict[str, Any]], *, code_elsewhere: bool = False) -> str:
    """The text of dvc.yaml.

    Args:
        stages: Of the whole graph.
        plots: By rule: `file` inside its output, and DVC's plot settings.
        code_elsewhere: Whether stages depend on code of the package that no file of the project shows.
    """
    written: dict[str, Any] = {CODE_STAGE: code_stage(elsewhere=code_elsewhere)}
    drawn = []
    for name, stage in sorted(stages.items()):
        step = stage.steps[0]
        outs = [out for out in stage.outs if not out.startswith(RESULTS)]
        metrics = [out for out in stage.outs if out.startswith(RESULTS)]
        entry = {
            "cmd": stage.command,
            "deps": stage.deps,
            "params": _params(step),
            "outs": [_kept(out) for out in outs],
            "metrics": [_kept(out) for out in metrics],
        }
        written[name] = {field: value for field, value in entry.items() if value}
        if step.rule in plots:
            settings_ = dict(plots[step.rule])
            drawn.append({f"{outs[0]}/{settings_.pop('file')}": settings_})
    text = yaml.dump({"stages": written, **({"plots": drawn} if drawn else {})}, Dumper=Dumper, sort_keys=False)
    return HEAD + text


def _kept(out: str) -> dict[str, dict[str, bool]]:
    """An output that DVC doesn't remove before it runs the stage: `bezoar build` looks first whose work it is."""
    return {out: {"persist": True}}


def _params(step: Step) -> list[dict[str, list[str]]]:
    """Where DVC finds the values and the fingerprints that a step depends on, sorted."""
    found = {CODE_LOCK: sorted(step.code), RESOLVED: sorted(step.params)}
    return [{path: names} for path, names in found.items() if names]


def code_stage(*, elsewhere: bool = False) -> dict[str, Any]:
    """The stage by which plain `dvc repro` sees edited code and values: it writes code.lock and params.resolved.yaml.

    They persist: DVC would else remove them first, and put back what it saw of the same files with other packages.

    Args:
        elsewhere: Whether code of the package counts that no file of the project shows: an upgrade of the package is
            seen only by looking, each time.
    """
    candidates = ["Snakefile", "code.accepted.yaml", "constraints.txt", PARAMS, "rules", SCRIPTS, PACKAGE]
    return {
        "cmd": "bezoar fingerprint",
        **({"always_changed": True} if elsewhere else {}),
        "deps": [path for path in candidates if os.path.exists(path)],
        "outs": [{path: {"cache": False, "persist": True}} for path in CODE_OUTS],
    }


def check(stages: dict[str, Stage], written: dict[str, Any], *, whole: bool = True) -> list[str]:
    """Compare the graph with dvc.yaml.

    Returns the stages that aren't there, though they needn't be: dvc.yaml has what all results need, and these are of
    another target.

    Args:
        stages: Of the graph.
        written: Those of dvc.yaml.
        whole: Whether the graph is that of all results.

    Raises:
        Stale: A stage isn't there, or stands there with another command, parameters, inputs or outputs.
    """
    aside = []
    for stage in stages.values():
        if not stage.complete:
            continue
        there = written.get(stage.name, {})
        if not there and not whole:
            aside.append(stage.name)
            continue
        deps, step = set(there.get("deps", [])), stage.steps[0]
        uses = {path for one in stage.steps for path in one.inputs}
        covering = {cover(path, deps) for path in uses}
        outs = sorted([*there.get("outs", []), *there.get("metrics", [])], key=str)  # by hand, anything stands there
        kept = sorted(map(_kept, stage.outs), key=str)
        same = (there.get("cmd"), outs, there.get("params"), deps) == (stage.command, kept, _params(step), covering)
        if not same:
            raise stale(f"{'another' if there else 'no'} stage {stage.name}")
    return aside


def check_whole(stages: dict[str, Stage], written: dict[str, Any]) -> None:
    """Compare the graph of all results with dvc.yaml, if there is one.

    Raises:
        Stale: A stage isn't there, stands there otherwise, or stands there and is no stage of the graph.
    """
    if written:
        check(stages, written)
    for name, stage in written.items():
        if name not in stages and str(stage.get("cmd")).startswith(f"{BUILD} "):
            raise stale(f"a stage {name}, which the rules haven't")


def stale(found: str) -> Stale:
    """What to say of a dvc.yaml that is behind the rules."""
    return Stale(
        f"{PIPELINE} is not what the Snakefile and {PARAMS} say\n  found:    {found}\n"
        "  expected: the stages as the rules have them\nhint: run `bezoar dvc`"
    )


def cover(path: str, folders: Container[str]) -> str | None:
    """The path itself or the folder around it that is among the folders."""
    while path and path not in folders:
        path = os.path.dirname(path)
    return path or None
