"""`bezoar forget`: drop proofs of this cache. Artifacts and dvc.lock stay."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bezoar.cache import CacheError, foreign
from bezoar.cache.build import Build
from bezoar.cache.graph import loaded
from bezoar.cache.job import Step
from bezoar.cache.proofs import IMPORTED
from bezoar.errors import problem


def forget_stages(names: Iterable[str]) -> list[str]:
    """Remove the proofs that jobs of these stages made here, for their present inputs; returns their outputs.

    Raises:
        CacheError: A stage is unknown.
    """
    with loaded() as attached:
        build = attached.build
        for name in names:
            if name not in build.stages:
                known = ", ".join(sorted(build.stages))
                raise CacheError(problem("no such stage", found=name, expected=f"one of {known}"))
        steps = [step for name in names for step in build.stages[name].steps]
        return [step.name for step in steps if _forget(build, step)]


def _forget(build: Build, step: Step) -> bool:
    """Remove the proofs of a step's action as it is now, whether their traces hold or not; whether there was one."""
    inputs = {path: content.md5 for path in step.inputs if (content := build.hasher.content(path))}
    known = build.decision.proofs.get(step.name)
    actions = {step.action(inputs).digest, *([known.action.digest] if known else [])}
    return sum(_remove(path) for one in actions for path in _files(Path(build.proofs.path(one)))) > 0


def forget_from(build: Build, commit: str) -> int:
    """Remove the proofs that come from a commit's dvc.lock; returns how many.

    Args:
        build: Any build of this folder.
        commit: The commit's hash, in full.
    """
    found = [path for path in _files(Path(build.cache, IMPORTED)) if _origin(path) == commit]
    return sum(map(_remove, found))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json")) if folder.is_dir() else []


def _origin(path: Path) -> str:
    with suppress(OSError, foreign.Malformed):
        return foreign.text(foreign.table(foreign.from_json(foreign.read(str(path)))).get("origin", ""))
    return ""


def _remove(path: Path) -> bool:
    with suppress(FileNotFoundError):
        os.unlink(path)
        return True
    return False
