"""What a commit must not contain: files that only this machine's builds write, and links in the place of artifacts.

A proof, a plan or a stored answer counts as made here, since it is where only builds write. Writing to a link changes
its target, which may be anywhere; a submodule has files and links that git doesn't list here. Untracked links are the
user's own, such as `data` on a larger disk.
"""

import os
from collections.abc import Iterable

from bezoar.cache import CacheError
from bezoar.cache.job import Step
from bezoar.errors import problem
from bezoar.text import printable

OWN = (".dvc/cache", ".dvc/tmp", ".snakemake", "responses")
WRITTEN = ("logs", "scratch")  # in addition to artifacts
LINK, SUBMODULE = "120000", "160000"  # git's modes


def check_own(tracked: dict[str, str], cache: str = OWN[0]) -> None:
    """Refuse tracked files where only builds write, and tracked links in folders that builds write to.

    Every command does so before it writes or removes anything.

    Args:
        tracked: Files that git tracks: mode by path.
        cache: Folder of the DVC cache; the committed configuration can't move it.

    Raises:
        CacheError: There are some.
    """
    cache = os.path.normpath(cache)
    for folder in dict.fromkeys((*OWN, cache)):
        found = sorted(path for path in tracked if folder in (path, ".") or path.startswith(f"{folder}/"))
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise CacheError(
                problem(
                    f"git tracks files in {folder}, where only builds of this machine write",
                    found=f"{printable(found[0], lines=False)}{more}",
                    expected="none, since builds trust files in it",
                    hint=f"`git log -- {folder}` says who added it; `git rm -r {folder}` removes it",
                )
            )
    _check_links(tracked, _with_parents((*OWN, *WRITTEN, cache)), set(WRITTEN))


def check_links(tracked: dict[str, str], steps: Iterable[Step]) -> None:
    """Refuse tracked links and submodules in the place of artifacts: an output, a folder around it, or a file in it.

    Raises:
        CacheError: There is one.
    """
    if not {LINK, SUBMODULE} & set(tracked.values()):
        return
    paths = {path for step in steps for path in (*step.outputs, *step.outs, *([step.folder] if step.folder else []))}
    _check_links(tracked, _with_parents(paths), paths)


def _check_links(tracked: dict[str, str], places: set[str], folders: set[str]) -> None:
    for path, mode in sorted(tracked.items()):
        link = mode == LINK and os.path.islink(path)
        if not link and not (mode == SUBMODULE and os.path.lexists(path)):
            continue
        if path in places or not folders.isdisjoint(_with_parents([path])):
            found = f"a link to {os.readlink(path)!r}" if link else "a submodule"
            shown = printable(path, lines=False)
            raise CacheError(
                problem(
                    f"{shown} was committed as {'a link' if link else 'a submodule'}, but builds write there",
                    found=found,
                    expected="a file, a folder or nothing",
                    hint=f"remove it with `git rm {shown}`; a link that you make yourself and don't commit is fine",
                )
            )


def _with_parents(paths: Iterable[str]) -> set[str]:
    """Paths and all folders around them."""
    found = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return found
