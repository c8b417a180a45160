"""DVC's stages: one for each rule and named block of the graph, and dvc.yaml."""

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bezoar.cache import CacheError
from bezoar.cache.dvc import CODE_LOCK, PARAMS, PIPELINE, RESOLVED, Dumper
from bezoar.cache.job import Step
from bezoar.errors import problem

CODE_STAGE = "code"
SCRIPTS = "scripts"
PACKAGE = "src/bezoar"  # in a checkout
CODE_OUTS = (CODE_LOCK, RESOLVED)
BUILD = "bezoar build"
RESULTS, METRICS = "results/", "results/metrics/"  # outputs there are scores; those of DVC's tables
HEAD = "# Generated from the Snakefile and params.yaml. Don't edit: `bezoar dvc` writes it.\n"


class Stale(CacheError):
    """dvc.yaml is out of date."""


@dataclass(frozen=True)
class DvcStage:
    """A rule and a named block, with all their steps in the graph."""

    name: str
    steps: list[Step]
    deps: list[str]

    @property
    def outs(self) -> list[str]:
        """The outputs that DVC stores, sorted."""
        return sorted({out for step in self.steps for out in step.outs})

    @property
    def params(self) -> dict[str, Any]:
        """All values that its steps read, by name: a part may read some of its own."""
        return {name: value for step in self.steps for name, value in step.params.items()}

    @property
    def complete(self) -> bool:
        """Whether all its steps are in the graph, not only those of one target."""
        return len(self.steps) == self.steps[0].parts

    @property
    def command(self) -> str:
        """The command for `dvc repro`; it doesn't depend on values, hosts or numbers of cores."""
        return " ".join((BUILD, self.steps[0].rule, *self.steps[0].block))


def stages_of(steps: Iterable[Step]) -> dict[str, DvcStage]:
    """The stages of a graph by name.

    Raises:
        CacheError: Two stages would store the same file or folder, or one inside of the other's.
    """
    grouped: dict[str, list[Step]] = {}
    producers: dict[str, tuple[Step, str]] = {}
    for step in steps:
        grouped.setdefault(step.stage, []).append(step)
        producers |= {output: (step, out) for output, out in zip(step.outputs, step.outs, strict=True)}
    stages = {name: DvcStage(name, members, _deps(members, producers)) for name, members in grouped.items()}
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
        problem(
            f"{path} would be stored by two stages",
            found=f"{one} and {other}",
            expected="every output in one stage",
            hint="give each rule its own folder",
        )
    )


def _deps(steps: list[Step], producers: dict[str, tuple[Step, str]]) -> list[str]:
    """The steps' inputs; a folder if each step takes one of its files, or if another stage has many parts in it."""
    uses = Counter(path for step in steps for path in step.inputs)
    deps = set()
    for path, count in uses.items():
        step, out = producers.get(path, (None, path))
        deps.add(out if step and (step.parts > 1 or count < len(steps)) else path)
    return sorted(deps)


def pipeline(stages: dict[str, DvcStage], plots: dict[str, dict[str, Any]], code: dict[str, Any]) -> str:
    """The text of dvc.yaml.

    Args:
        stages: The stages of the whole graph.
        plots: By rule: `file` inside its output, unless that is the file, and DVC's plot settings. A list of names
            as `y` makes a plot of each, with a curve for each of the rule's stages. `template` is the template's path.
        code: The stage `code`.
    """
    written: dict[str, Any] = {CODE_STAGE: code}
    for name, stage in sorted(stages.items()):
        metrics = _metrics(stage)
        outs = [out for out in stage.outs if out not in metrics]
        entry = {
            "cmd": stage.command,
            "deps": stage.deps,
            "params": _params(stage),
            "outs": [_kept(out) for out in outs],
            "metrics": [_kept(out) for out in metrics],
        }
        written[name] = {field: value for field, value in entry.items() if value}
    drawn = [plot for rule, how in sorted(plots.items()) for plot in _plots(rule, how, stages)]
    text = yaml.dump({"stages": written, **({"plots": drawn} if drawn else {})}, Dumper=Dumper, sort_keys=False)
    return HEAD + text


def _plots(rule: str, how: dict[str, Any], stages: dict[str, DvcStage]) -> Iterator[dict[str, Any]]:
    """DVC's plots of the outputs of a rule's stages."""
    settings = {name: value for name, value in how.items() if name not in ("file", "y")}
    if "template" in settings:
        settings["template"] = template_name(settings["template"])
    outs = [stage.outs[0] for _, stage in sorted(stages.items()) if stage.steps[0].rule == rule]
    files = [f"{out}/{how['file']}" if "file" in how else out for out in outs]
    for y in how["y"] if files else []:
        name = f"{rule}: {y}"
        yield {name: {**settings, "y": dict.fromkeys(files, y), "y_label": y, "title": name}}


def template_name(path: str) -> str:
    """The name by which DVC finds the template of a plot among those of the repository."""
    return Path(path).stem


def _metrics(stage: DvcStage) -> list[str]:
    """The outputs that `dvc metrics` shows: scores, or if a stage has some in METRICS, only those."""
    scores = [out for out in stage.outs if out.startswith(RESULTS) and not out.endswith((".csv", ".html"))]
    return [out for out in scores if out.startswith(METRICS)] or scores


def _kept(out: str) -> dict[str, dict[str, bool]]:
    """An output that DVC doesn't remove before it runs the stage: `bezoar build` first checks whose file it is."""
    return {out: {"persist": True}}


def _params(stage: DvcStage) -> list[dict[str, list[str]]]:
    """The values of a stage and its digest in code.lock, as DVC's `params`."""
    found = {CODE_LOCK: [f"stages.{stage.name}"], RESOLVED: sorted(stage.params)}
    return [{path: names} for path, names in found.items() if names]


def code_stage(more: Iterable[str] = (), *, elsewhere: bool = False) -> dict[str, Any]:
    """The stage `code`: it shows edited code and values to `dvc repro` through code.lock and params.resolved.yaml.

    They persist: otherwise DVC would remove them first, and restore versions of other packages.

    Args:
        more: Files and folders with code, beside the usual ones.
        elsewhere: Whether something counts that no file of the project shows, such as code of the package or a
            variable: then the stage always runs.
    """
    usual = ["Snakefile", "code.accepted.yaml", "constraints.txt", PARAMS, "rules", SCRIPTS, PACKAGE]
    other = sorted(path for path in set(more) if cover(path, usual) is None)
    return {
        "cmd": "bezoar fingerprint",
        **({"always_changed": True} if elsewhere else {}),
        "deps": [path for path in (*usual, *other) if os.path.exists(path)],
        "outs": [{path: {"cache": False, "persist": True}} for path in CODE_OUTS],
    }


def check(stages: dict[str, DvcStage], written: dict[str, Any], *, whole: bool = True) -> list[str]:
    """Compare the graph with dvc.yaml.

    Returns stages that dvc.yaml may lack: it has the stages of all results, and these belong to another target.

    Args:
        stages: The graph's stages.
        written: The stages in dvc.yaml.
        whole: Whether the graph is that of all results.

    Raises:
        Stale: A stage is missing, or has another command, parameters, inputs or outputs.
    """
    aside = []
    for stage in stages.values():
        if not stage.complete:
            continue
        there = written.get(stage.name, {})
        if not there and not whole:
            aside.append(stage.name)
            continue
        deps = set(there.get("deps", []))
        uses = {path for one in stage.steps for path in one.inputs}
        covering = {cover(path, deps) for path in uses}
        outs = sorted(
            [*there.get("outs", []), *there.get("metrics", [])], key=str
        )  # edited by hand, it may have anything
        kept = sorted(map(_kept, stage.outs), key=str)
        same = (there.get("cmd"), outs, there.get("params"), deps) == (stage.command, kept, _params(stage), covering)
        if not same:
            raise stale(f"{'another' if there else 'no'} stage {stage.name}")
    return aside


def check_whole(stages: dict[str, DvcStage], written: dict[str, Any]) -> None:
    """Compare the graph of all results with dvc.yaml, if there is one.

    Raises:
        Stale: A stage is missing, differs, or isn't in the graph.
    """
    if written:
        check(stages, written)
    for name, stage in written.items():
        if name not in stages and str(stage.get("cmd")).startswith(f"{BUILD} "):
            raise stale(f"a stage {name}, which isn't in the rules")


def stale(found: str) -> Stale:
    """The error if dvc.yaml is out of date."""
    return Stale(
        problem(
            f"{PIPELINE} doesn't match the Snakefile and {PARAMS}",
            found=found,
            expected="the stages of the rules",
            hint="run `bezoar dvc`",
        )
    )


def cover(path: str, folders: Container[str]) -> str | None:
    """The path itself, or its parent folder among the folders."""
    while path not in folders:
        parent = os.path.dirname(path)
        if parent in ("", path):  # an absolute path ends at /
            return None
        path = parent
    return path
