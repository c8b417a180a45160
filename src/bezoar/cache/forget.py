"""`bezoar forget`: drop proofs of this cache. Artifacts and dvc.lock stay."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bezoar.cache import CacheError, foreign
from bezoar.cache.build import Build
from bezoar.cache.graph import loaded
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
        steps = [step.name for name in names for step in build.stages[name].steps]
        return [name for name in steps if _forget(build, name)]


def _forget(build: Build, name: str) -> bool:
    proof = build.decision.proofs.get(name)
    return proof is not None and sum(map(_remove, _files(Path(build.proofs.path(proof.action.digest))))) > 0


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
