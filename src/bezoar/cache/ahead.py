"""Restore all stages of a `dvc repro` when it starts the first one, and store again what its cache lost.

DVC starts each stage with an output that is missing, or that its cache lacks, and Snakemake with it; in a fresh clone,
or without the cache, that is every stage. It doesn't start a stage whose output is in both places.
"""

import os
import sys
from collections import Counter
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from bezoar.cache import CacheError, dvc, history, recover
from bezoar.cache.build import Build
from bezoar.cache.config import settings
from bezoar.cache.graph import NO_LOOKUP, loaded
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import Step
from bezoar.cache.objects import Objects
from bezoar.cache.runs import identity, words_of_dvc
from bezoar.cache.stages import CODE_STAGE
from bezoar.text import show

MARK = Path(".snakemake/bezoar-brought-back")  # holds the last run that restored everything
# with these flags, DVC doesn't check the stages before the named one
ONE_STAGE = {"-s", "--single-item", "-d", "--downstream"}


def bring_back(stage: str, run: str | None) -> None:
    """Once per run, restore the proven outputs of all stages that DVC will check, if any output or object is missing.

    Objects of outputs that are sound on disk are stored again. The started stage's own outputs don't count. Errors are
    only reported: each stage looks for its own proofs, too.

    Args:
        stage: The stage that DVC has started.
        run: The name of DVC's run; None if unknown.
    """
    words = words_of_dvc()
    if NO_LOOKUP in os.environ or not ONE_STAGE.isdisjoint(words):
        return
    try:
        if run and _is_marked(run):
            return
        written = dvc.read(dvc.PIPELINE)
        if not _is_missing(written, stage) and not _is_lost(written.keys() - {stage, CODE_STAGE}):
            return
        with loaded(decide=False) as attached:
            attached.build.bring_back(_named(attached.build, words))
            restored = len(attached.build.decision.restore)
        history.record(Counter({history.RESTORED: restored}), run=identity(), by="dvc")
        if restored:
            show(f"restored {restored} artifacts of all stages at once", file=sys.stderr)
    except (CacheError, OSError) as error:
        show(f"only {stage} is restored, not all stages at once: {str(error).splitlines()[0]}", file=sys.stderr)


def _is_missing(written: dict[str, Any], stage: str) -> bool:
    """Whether an output of another stage is missing."""
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for name, entry in written.items()
        for out in (*entry.get("outs", []), *entry.get("metrics", []))
        if name != stage
    ]
    return not all(map(os.path.lexists, outs))


def _is_lost(stages: Set[str]) -> bool:
    """Whether the cache lacks an object of these stages' outputs: DVC would start them for it."""
    recorded = dvc.read(dvc.LOCK)
    contents = [one["md5"] for name in stages & recorded.keys() for one in dvc.as_list(recorded[name], "outs")]
    return recover.lost(contents, Objects(settings()[0], Hasher()))


def _is_marked(run: str) -> bool:
    """Whether this run has tried before; marks it as tried."""
    with suppress(FileNotFoundError):
        if MARK.read_text(encoding="utf-8") == run:
            return True
    MARK.parent.mkdir(exist_ok=True)
    MARK.write_text(run, encoding="utf-8")
    return False


def _named(build: Build, words: list[str]) -> list[Step]:
    """The steps of the stages in DVC's command line, with all steps before them; all steps if it names none."""
    names = set(words) | {word.rpartition(":")[2] for word in words}
    named = [stage for stage in build.stages.values() if not names.isdisjoint((stage.name, *stage.outs))]
    if not named:
        return build.steps
    producers = {output: step for step in build.steps for output in step.outputs}
    wanted = {step.name for stage in named for step in stage.steps}
    for step in reversed(build.steps):  # in topological order
        if step.name in wanted:
            wanted |= {producers[path].name for path in step.inputs if path in producers}
    return [step for step in build.steps if step.name in wanted]
