"""Generated files (from rules, code and params.yaml) that are committed; every run updates them."""

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bezoar.cache import dvc, foreign, stages
from bezoar.cache.stages import Stale
from bezoar.files import whole
from bezoar.yaml12 import Loader

if TYPE_CHECKING:
    from bezoar.cache.build import Build

logger = logging.getLogger("bezoar")
HEAD = "# Generated: a digest of each stage's code, command and values, for DVC. `bezoar dvc` writes it.\n"
CONFIG = ".dvc/config"  # DVC's folder
TEMPLATES = Path(".dvc/plots")
MARK = b'"usermeta": {"bezoar"'  # of a template that every run updates


def write(build: "Build") -> list[str]:
    """Write code.lock and params.resolved.yaml if they differ; returns those that did.

    Raises:
        CacheError: The disk is full, or the cache can't be written.
    """
    written = {dvc.CODE_LOCK: write_code(build), dvc.RESOLVED: build.resolved.write()}
    return [path for path, new in written.items() if new]


def write_code(build: "Build") -> bool:
    """Write code.lock if it differs; a partial graph changes its own stages only. Returns whether it was written."""
    known = {} if build.complete else prints_in(dvc.CODE_LOCK)
    file, text = Path(dvc.CODE_LOCK), code_text(known | build.code.prints)
    if file.exists() and file.read_bytes() == text.encode():
        return False
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return True


def code_text(prints: dict[str, str]) -> str:
    """The content of code.lock, by the digests of stages."""
    return HEAD + str(yaml.dump({"stages": dict(sorted(prints.items()))}, Dumper=dvc.Dumper))


def prints_in(path: str) -> dict[str, str]:
    """The digests in code.lock by stage; none if it doesn't exist or isn't one: it is written again."""
    with suppress(OSError, foreign.Malformed):
        found = foreign.table(foreign.from_yaml(foreign.read(path), Loader), "stages")
        return {name: foreign.text(one) for name, one in foreign.table(found["stages"]).items()}
    return {}


def write_pipeline(build: "Build") -> bool:
    """Write dvc.yaml if it differs from the graph of all results; returns whether it did."""
    file, text = Path(dvc.PIPELINE), build.pipeline
    if file.exists() and file.read_bytes() == text.encode():
        return False
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return True


def write_templates(build: "Build") -> list[str]:
    """Write the templates of DVC's plots where DVC looks for them, if they are missing or old; returns those.

    A template without the mark is somebody's own, and stays.
    """
    sources = [Path(how["template"]) for how in build.plots.values() if "template" in how]
    texts = {TEMPLATES / f"{stages.template_name(str(one))}.json": one.read_bytes() for one in sources}
    known = {path: path.read_bytes() if path.exists() else MARK for path in texts}
    new = [path for path, text in texts.items() if known[path] != text and MARK in known[path]]
    new = new if os.path.exists(CONFIG) else []
    for path in new:
        path.parent.mkdir(exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(texts[path])
    return [str(path) for path in new]


def add_code(paths: list[str]) -> list[str]:
    """Add files with code to the stage `code` in dvc.yaml; returns those that it lacked.

    The rest of dvc.yaml stays: a run by DVC, or of some targets, can't write it.
    """
    data = foreign.table(foreign.from_yaml(foreign.read(dvc.PIPELINE), Loader))
    stage = data.get("stages", {}).get(stages.CODE_STAGE)
    new = [path for path in paths if stages.cover(path, stage["deps"]) is None] if stage else []
    if new:
        stage["deps"] = stages.code_stage([*stage["deps"], *new])["deps"]
        with whole(dvc.PIPELINE) as partial:
            partial.write_text(stages.HEAD + yaml.dump(data, Dumper=dvc.Dumper, sort_keys=False), encoding="utf-8")
    return new


def bring_into_step(build: "Build", *, by_dvc: bool) -> list[str]:
    """Update the generated files from the run's graph, and log it; returns the graph's stages that dvc.yaml lacks.

    DVC reads dvc.yaml before it starts a run, so such a run can only compare it. A read-only tree is left unchanged.

    Args:
        build: The build, after its decision.
        by_dvc: Whether DVC started the run.

    Raises:
        CacheError: dvc.yaml can't be read, or is out of date and can't be updated.
    """
    written = dvc.read(dvc.PIPELINE)
    if not os.access(os.curdir, os.W_OK):
        return []
    changed = write(build) if os.path.isdir(build.cache) or build.decision.reasons else []
    if not by_dvc and build.resolved.is_own and _bring_pipeline(build, written):
        changed.append(dvc.PIPELINE)
        written = dvc.read(dvc.PIPELINE)
    changed += write_templates(build) if written else []
    if changed and not by_dvc:
        logger.warning(f"updated {' and '.join(sorted(changed))} to match the rules, the code and {dvc.PARAMS}")
    return stages.check(build.stages, written, whole=build.whole) if written else []


def _bring_pipeline(build: "Build", written: dict[str, Any]) -> bool:
    """Write dvc.yaml if it is out of date, by `bezoar dvc` if this graph is partial; returns whether it was written."""
    if build.complete:
        return (bool(written) or os.path.exists(CONFIG)) and write_pipeline(build)
    if not written or not _is_behind(build, written):
        return False
    bezoar = Path(sys.executable).with_name("bezoar")
    done = subprocess.run([str(bezoar), "dvc"], stdout=subprocess.DEVNULL, check=False)
    return done.returncode == 0 and dvc.read(dvc.PIPELINE) != written


def _is_behind(build: "Build", written: dict[str, Any]) -> bool:
    """Whether a stage of the graph differs in dvc.yaml, or is missing though it will be made."""
    try:
        return bool(stages.check(build.stages, written, whole=build.whole) and build.decision.reasons)
    except Stale:
        return True
