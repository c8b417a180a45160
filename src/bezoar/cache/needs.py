"""What has to stay in a cache: contents that dvc.lock and .dvc files name, in this folder and in commits."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bezoar.cache import CacheError, dvc, foreign, git
from bezoar.cache.hashing import IGNORED_FOLDERS
from bezoar.cache.inventory import Inventory
from bezoar.cache.stages import cover
from bezoar.errors import problem
from bezoar.yaml12 import Loader

WORKSPACE = "the workspace"
DATA = ".dvc"  # the suffix of what `dvc add` and `dvc import` write
LOCKS = ("code.lock", "code.accepted.yaml", "traces.lock")  # name fingerprints and traces
BRANCHES = ("refs/heads", "refs/remotes")
TAGS = ("refs/tags",)
OTHERS, NO_ORIGIN = "(stages that dvc.lock doesn't have)", "(unknown origin)"
DIGEST = re.compile(rb"\b[0-9a-f]{32,64}\b")


@dataclass(frozen=True)
class Refs:
    """The commits that count beside the workspace, as a user names them."""

    branches: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    all_branches: bool = False
    all_tags: bool = False

    def commits(self) -> dict[str, str]:
        """Commit by the name of a branch, a tag or a revision.

        Raises:
            CacheError: There is no such commit, or no repository.
        """
        given = {
            **{f"branch {name}": [f"{folder}/{name}" for folder in BRANCHES] for name in self.branches},
            **{f"tag {name}": [f"{folder}/{name}" for folder in TAGS] for name in self.tags},
            **{f"revision {name}": [name] for name in self.revisions},
        }
        folders = [*(BRANCHES if self.all_branches else ()), *(TAGS if self.all_tags else ())]
        for ref in git.refs(*folders) if folders else []:
            _, kind, name = ref.split("/", 2)
            given[f"{'tag' if kind == 'tags' else 'branch'} {name}"] = [ref]
        return {what: _commit(what, names) for what, names in given.items()}


class Needs:
    """What the workspace and some commits need.

    Attributes:
        sources: The workspace, and the names of the commits.
        digests: Every digest that their files name, also those of code.
        contents: All objects that they need, the files of directories too, whether they are here or not.
        stages: What this folder's dvc.lock names: contents by stage.
        outs: The paths of the stages' outputs, with the stage.
        lists: Directory lists that they name and that aren't here.
    """

    def __init__(self, inventory: Inventory, refs: Refs | None = None) -> None:
        """Read everything.

        Raises:
            CacheError: A file or a commit can't be read.
        """
        commits = refs.commits() if refs else {}
        self.sources = [WORKSPACE, *commits]
        self.digests: set[str] = set()
        self.stages: dict[str, set[str]] = {}
        self.outs: dict[str, str] = {}
        named: set[str] = set()
        for path, data in (*_of_workspace(), *_of_commits(commits)):
            self.digests |= {found.decode() for found in DIGEST.findall(data)}
            named |= set(contents_in(_parsed(path, data)))
        for name, entry in dvc.read(dvc.LOCK).items():
            outs = dvc.as_list(entry, "outs")
            self.stages[name] = {md5 for one in outs for md5 in inventory.whole(one["md5"])}
            self.outs |= {one["path"]: name for one in outs}
        for name in LOCKS:
            if os.path.isfile(name):
                self.digests |= {found.decode() for found in DIGEST.findall(foreign.read(name))}
        self.contents: set[str] = set()
        for md5 in named:
            self.contents |= inventory.whole(md5)
            self.contents |= inventory.folders(md5) if md5.endswith(".dir") else set()
        self.lists = sorted(md5 for md5 in named if md5.endswith(".dir") and md5 not in inventory.objects)


def contents_in(data: Any) -> Iterator[str]:
    """Every MD5 in a file of DVC, wherever it stands."""
    if isinstance(data, dict):
        found = data.get("md5")
        if isinstance(found, str) and foreign.CONTENT.fullmatch(found):
            yield found
    for one in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from contents_in(one)


def _commit(what: str, names: list[str]) -> str:
    for name in names:
        if found := git.commit_of(name):
            return found
    raise CacheError(
        problem(f"no {what}", found="nothing of that name in git", expected="one that `git rev-parse` knows")
    )


def _of_workspace() -> Iterator[tuple[str, bytes]]:
    git.check_merged(dvc.LOCK)
    for folder, folders, names in os.walk("."):
        folders[:] = [name for name in folders if name not in {*IGNORED_FOLDERS, ".snakemake"}]
        for name in names:
            if _counts(name):
                path = os.path.normpath(os.path.join(folder, name))
                yield path, foreign.read(path)


def _of_commits(commits: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for what, commit in commits.items():
        for path, blob in git.blobs(commit).items():
            parts = path.split("/")
            if blob not in seen and _counts(parts[-1]) and IGNORED_FOLDERS.isdisjoint(parts[:-1]):
                seen.add(blob)
                yield f"{path} of {what}", git.content(blob)


def _counts(name: str) -> bool:
    return name == dvc.LOCK or (name.endswith(DATA) and name != DATA)


def _parsed(path: str, data: bytes) -> Any:
    """The content of a dvc.lock or a .dvc file.

    Raises:
        CacheError: It isn't YAML, as after a merge with conflicts: what it needs is unknown.
    """
    try:
        return foreign.from_yaml(data, Loader)
    except foreign.Malformed as error:
        conflict = dvc.marker(data)
        raise CacheError(
            problem(
                f"{path}:{conflict or error.line or 1}: can't be read, so what it needs is unknown",
                found="a merge conflict" if conflict else error,
                expected="what DVC writes",
                hint="correct it, or name other commits",
            )
        ) from error


def stages_of(inventory: Inventory) -> dict[str, int]:
    """Bytes by stage, the largest first: every version of the outputs of this folder's stages that is in the cache.

    What two stages made counts for both.
    """
    needs = Needs(inventory)
    found = {name: set(contents) for name, contents in needs.stages.items()}
    known = set(needs.contents)
    for record in inventory.proofs:
        contents = {one for md5 in record.contents for one in inventory.whole(md5)}
        known |= contents
        for path in record.outputs:
            out = cover(path.lstrip("/"), needs.outs)
            found.setdefault(needs.outs[out] if out else OTHERS, set()).update(contents)
    found[NO_ORIGIN] = inventory.objects.keys() - known
    sizes = {name: inventory.bytes_of(md5s) for name, md5s in found.items()}
    return dict(sorted(((name, size) for name, size in sizes.items() if size), key=lambda item: -item[1]))
