"""Queries of git: tracked files, commits, and merges, rebases and cherry-picks in conflict."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress

from bezoar.cache import CacheError
from bezoar.errors import problem

BASE, OURS, THEIRS = "base", "ours", "theirs"  # ours is HEAD, theirs is merged into it
COMING = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REBASE_HEAD")
SIDES = {"1": BASE, "2": OURS, "3": THEIRS}
NO_REPOSITORY = "not a git repository (or any "  # parent: git's message about a broken one differs


class NoRepository(CacheError):
    """This folder isn't in a git repository."""


def begin() -> bool:
    """Make this folder a repository unless it is in one; returns whether it was made.

    Raises:
        CacheError: Git can't be called.
    """
    if in_repository():
        return False
    _git("init", "--quiet")
    return True


def unmerged() -> dict[str, dict[str, str]]:
    """Files in conflict, by path relative to this folder: the blob of each side that has the file.

    Raises:
        CacheError: This isn't a git repository, or git can't be called.
    """
    found: dict[str, dict[str, str]] = {}
    for line in _git("ls-files", "--unmerged", "-z").decode().split("\0"):
        if line:
            about, path = line.split("\t", 1)
            _, blob, side = about.split()
            found.setdefault(path, {})[SIDES[side]] = blob
    return found


def tracked(*paths: str) -> dict[str, str]:
    """Tracked files below this folder, or of some paths: mode by path; none without a repository.

    Raises:
        CacheError: There is a repository, but git can't read it: it may belong to another user.
    """
    try:
        listed = _git("ls-files", "--stage", "-z", "--", *paths)
    except NoRepository:
        return {}
    found = {}
    for line in os.fsdecode(listed).split("\0"):
        about, _, path = line.partition("\t")
        if path:
            found[path] = about.partition(" ")[0]
    return found


def last_commit(path: str) -> str | None:
    """The last commit of this history that changed a file, if any."""
    with suppress(CacheError):
        return _git("log", "-1", "--format=%H", "--", path).decode().strip() or None
    return None


def version(commit: str, path: str) -> bytes:
    """A file of a commit."""
    return _git("show", f"{commit}:./{path}")


def commit_of(name: str) -> str | None:
    """The commit that a name stands for; None if there is none.

    Raises:
        NoRepository: This isn't a git repository.
    """
    _git("rev-parse", "--git-dir")
    with suppress(CacheError):
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().split()[-1]
    return None


def refs(*folders: str) -> list[str]:
    """All refs in folders such as `refs/tags`.

    Raises:
        CacheError: This isn't a git repository, or git can't be called.
    """
    return _git("for-each-ref", "--format=%(refname)", *folders).decode().split()


def blobs(commit: str) -> dict[str, str]:
    """The files of a commit below this folder: blob by path.

    Raises:
        CacheError: Git can't read it.
    """
    found = {}
    for line in os.fsdecode(_git("ls-tree", "-r", "-z", commit)).split("\0"):
        about, _, path = line.partition("\t")
        if path:
            found[path] = about.split()[2]
    return found


def heads() -> dict[str, str]:
    """The commit of this folder, and the other one of an unfinished merge, rebase or cherry-pick."""
    found: dict[str, str] = {}
    for side, names in ((OURS, ("HEAD",)), (THEIRS, COMING)):
        for name in names:
            with suppress(CacheError):
                found.setdefault(side, _git("rev-parse", "--verify", "--quiet", name).decode().strip())
    return found


def commit(name: str) -> str:
    """The hash of a commit.

    Raises:
        CacheError: There is no such commit.
    """
    return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()


def state(but: Iterable[str] = ()) -> dict[str, str]:
    """The commit of this folder, and whether tracked files differ from it; empty without a repository or a commit.

    Args:
        but: Files that may differ.
    """
    with suppress(CacheError):
        commit = _git("rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
        others = [f":(exclude){path}" for path in but]
        edited = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *others).strip()
        return {"commit": commit, "edited": "yes" if edited else "no"}
    return {}


def in_history(commit: str) -> bool:
    """Whether a commit is part of this history, or of one that is being merged."""
    for head in heads().values():
        with suppress(CacheError):
            _git("merge-base", "--is-ancestor", commit, head)
            return True
    return False


def content(blob: str) -> bytes:
    """The bytes of a blob."""
    return _git("cat-file", "blob", blob)


def check_merged(*paths: str) -> None:
    """Refuse files in conflict: a build with one version would repeat the other side's work.

    Raises:
        CacheError: One of them is in conflict.
    """
    conflicts: dict[str, dict[str, str]] = {}
    with suppress(NoRepository):  # there are none
        conflicts = unmerged()
    found = [path for path in paths if path in conflicts]
    if found:
        raise CacheError(
            problem(
                f"{found[0]} is in conflict: what one side has built would be built again",
                found=", ".join(conflicts[found[0]]),
                expected="one version",
                hint=f"run `bezoar dvc --resolve`, then `git add {' '.join(found)}`",
            )
        )


def _git(*arguments: str) -> bytes:
    english = {**os.environ, "LC_ALL": "C"}  # its message is compared
    try:
        return subprocess.run(("git", *arguments), capture_output=True, check=True, env=english).stdout
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        kind = NoRepository if NO_REPOSITORY in said else CacheError
        hint = "run this in the folder that you cloned" if kind is NoRepository else "do what git says"
        raise _refused(kind, " ".join(said.split()), hint) from error
    except OSError as error:
        kind = CacheError if in_repository() else NoRepository
        raise _refused(kind, str(error), "install git") from error


def _refused(kind: type[CacheError], said: str, hint: str) -> CacheError:
    return kind(problem("git can't be asked about this folder", found=said, expected="a git repository", hint=hint))


def in_repository() -> bool:
    """Whether this folder is in a repository, without git."""
    here = os.getcwd()
    while not os.path.lexists(os.path.join(here, ".git")):
        if here == (here := os.path.dirname(here)):
            return False
    return True
