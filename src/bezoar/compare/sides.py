"""The two sides of a comparison: whose results they are, and how their files are read without checking anything out."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.cache import CacheError, dvc, foreign, git, remote
from bezoar.cache.config import settings
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cache.stages import RESULTS, cover
from bezoar.errors import InputError, problem
from bezoar.steps.data.lines import Read

PARAMS_VARIABLE = "BEZOAR_PARAMS"


@dataclass(frozen=True)
class Side:
    """Results of one state of a project.

    Attributes:
        label: What it is, in words.
        reports: Paths of results by evaluation.
        read: Reads them, and other artifacts.
        hint: What to do if something is missing.
    """

    label: str
    reports: Mapping[str, str]
    read: Read
    hint: str


class Stored:
    """Files of the cache, and of its remote if they aren't in it, by the MD5 of the output that they belong to."""

    def __init__(self, outs: Mapping[str, str]) -> None:
        folder, self.has_remote = settings()
        self.outs = outs
        self.objects = Objects(folder, Hasher())

    def read(self, path: str) -> bytes | None:
        """The content of a path; None if no output has it.

        Raises:
            CacheError: An output has it, but neither the cache nor the remote.
        """
        out = cover(path, self.outs)
        if out is None:
            return None
        md5 = self.outs[out]
        if path == out:
            return None if md5.endswith(".dir") else self._content(md5, path)
        if not md5.endswith(".dir"):
            return None
        self._bring(md5, out)
        names = {one.relpath: one.md5 for one in self.objects.listing(md5) or []}
        inside = names.get(path[len(out) + 1 :])
        return self._content(inside, path) if inside else None

    def _content(self, md5: str, path: str) -> bytes:
        self._bring(md5, path)
        return foreign.read(self.objects.path(md5))

    def _bring(self, md5: str, path: str) -> None:
        """Fetch one object: of a folder, only the list of its files."""
        if not self.objects.sound(md5) and self.has_remote:
            remote.fetch_objects([md5], self.objects)
        if not self.objects.sound(md5):
            place = "nor on the remote" if self.has_remote else "and there is no remote"
            what, expected = f"{path} is on record, but not here", "its bytes in the cache or on a remote"
            found = f"no sound object {md5} in {self.objects.cache}, {place}"
            raise CacheError(problem(what, found=found, expected=expected, hint="`dvc fetch`, or build it again"))


def of_folder(path: Path, label: str) -> Side:
    """A project's folder, a folder of results, or one result; per-item data lie in data/ beside results/."""
    results = path / RESULTS if (path / RESULTS).is_dir() else path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(results.glob("*.json"))
    root = results.parent

    def read(name: str) -> bytes | None:
        place = Path(name) if name in reports.values() else root / name
        return foreign.read(str(place)) if place.is_file() else None

    reports = {one.stem: str(one) for one in files}
    return Side(label, reports, read, "build them there, or name a folder with results")


def of_workspace() -> Side:
    """This folder; artifacts that aren't on disk come from the cache, by dvc.lock."""
    here = of_folder(Path(), "this folder")
    stored = Stored(_outs(dvc.read(dvc.LOCK)))

    def read(path: str) -> bytes | None:
        found = here.read(path)
        return stored.read(path) if found is None else found

    return Side(here.label, _reports(stored.outs) | dict(here.reports), read, "`snakemake` makes them")


def of_revision(name: str, commit: str) -> Side:
    """A commit: files that it has, and artifacts that its dvc.lock names."""
    blobs = git.blobs(commit)
    lock = git.content(blobs[dvc.LOCK]) if dvc.LOCK in blobs else b""
    stored = Stored(_outs(dvc.stages_in(lock, dvc.LOCK)))
    reports = _reports({**dict.fromkeys(blobs, ""), **stored.outs})
    if not reports:
        found = "a dvc.lock without results" if lock else "no dvc.lock and no file in results/"
        what, expected = f"revision {name} has no results", "results that were built before the commit"
        raise InputError(problem(what, found=found, expected=expected, hint="commit dvc.lock after a build"))

    def read(path: str) -> bytes | None:
        return git.content(blobs[path]) if path in blobs else stored.read(path)

    return Side(f"revision {name}", reports, read, "commit dvc.lock after all are built")


def of_recipe(path: Path) -> Side:
    """A params file: what is proven to be up to date with its values."""
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake

    with _params(path), loaded() as attached:
        proofs = attached.build.decision.proofs.values()
        outs = {out: content.md5 for proof in proofs for out, content in proof.outputs.items()}
    command = f"`bezoar recipe use {path.stem}`, then `snakemake`"
    if not _reports(outs):
        what, expected = f"no results of {path} are built", "results that are up to date with its values"
        raise InputError(problem(what, found="no proof of any", expected=expected, hint=command))
    return Side(f"recipe {path}", _reports(outs), Stored(outs).read, command)


@contextmanager
def _params(path: Path) -> Iterator[None]:
    """Let the Snakefile read another params file."""
    before = os.environ.get(PARAMS_VARIABLE)
    os.environ[PARAMS_VARIABLE] = str(path)
    try:
        yield
    finally:
        del os.environ[PARAMS_VARIABLE]
        if before is not None:
            os.environ[PARAMS_VARIABLE] = before


def _outs(stages: Mapping[str, Any]) -> dict[str, str]:
    return {one["path"]: one["md5"] for entry in stages.values() for one in dvc.as_list(entry, "outs")}


def _reports(paths: Mapping[str, Any]) -> dict[str, str]:
    """Results by evaluation; files in folders below results/ are something else."""
    found = [path for path in paths if path.startswith(RESULTS) and path.endswith(".json")]
    return {Path(path).stem: path for path in sorted(found) if path.count("/") == RESULTS.count("/")}


def side_of(text: str, recipes: Mapping[str, Path]) -> Side:
    """The side that a user names.

    Args:
        text: A folder, a result, a params file, the name of a recipe, or a revision of git.
        recipes: The recipes by name.

    Raises:
        InputError: It is none of them, or more than one.
    """
    path = Path(text)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return of_recipe(path)
    if path.exists():
        return of_workspace() if path.resolve() == Path.cwd() else of_folder(path, text)
    commit = _commit(text)
    if commit and text in recipes:
        found, expected = f"recipe {recipes[text]}, and commit {commit[:12]}", "one of them"
        hint = f"write {recipes[text]}, or the commit"
        raise InputError(problem(f"{text} is two things", found=found, expected=expected, hint=hint))
    if text in recipes:
        return of_recipe(recipes[text])
    if commit:
        return of_revision(text, commit)
    expected = "two checkpoints of one evaluation, or each a revision of git, a recipe, a result or a folder"
    hint = f"recipes: {', '.join(recipes) or 'none'}; `.` is this folder"
    raise InputError(problem("nothing to compare by this name", found=text, expected=expected, hint=hint))


def _commit(name: str) -> str | None:
    try:
        return git.commit_of(name)
    except git.NoRepository:
        return None
