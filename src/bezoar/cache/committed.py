"""What a commit must not bring: files that only this machine's builds write, and links in the place of artifacts.

A proof, a plan or a stored answer counts as made here, since it lies where only builds write. A link takes whatever is
restored to its place to anywhere. Links that git doesn't hold are somebody's own, such as `data` on a larger disk.
"""

import os
from collections.abc import Iterable

from bezoar.cache import CacheError
from bezoar.cache.job import Step

OWN = (".dvc/cache", ".dvc/tmp", ".snakemake", "responses")
WRITTEN = ("logs", "scratch/altered", "scratch/verify")  # besides artifacts
LINK = "120000"  # the mode by which git knows one


def check_own(tracked: dict[str, str], cache: str) -> None:
    """Refuse files of git where only builds write.

    Args:
        tracked: What git holds: mode by path.
        cache: Folder of the DVC cache.

    Raises:
        CacheError: There are some.
    """
    for folder in dict.fromkeys((*OWN, os.path.normpath(cache))):
        found = sorted(path for path in tracked if path == folder or path.startswith(f"{folder}/"))
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise CacheError(
                f"git holds files in {folder}, where only the builds of this machine write\n"
                f"  found:    {found[0]}{more}\n  expected: none: a commit could pass anything off as built here\n"
                f"hint: `git log -- {folder}` says who added it; `git rm -r {folder}` removes it"
            )
    _check_links(tracked, _with_parents((*OWN, *WRITTEN)), set())


def check_links(tracked: dict[str, str], steps: Iterable[Step]) -> None:
    """Refuse links of git where artifacts belong: at an output, at a folder around it, or inside it.

    Raises:
        CacheError: There is one.
    """
    if LINK not in tracked.values():
        return
    paths = {path for step in steps for path in (*step.outputs, *step.outs, *([step.folder] if step.folder else []))}
    _check_links(tracked, _with_parents(paths), paths)


def _check_links(tracked: dict[str, str], places: set[str], folders: set[str]) -> None:
    for path, mode in sorted(tracked.items()):
        if mode == LINK and os.path.islink(path) and (path in places or not folders.isdisjoint(_with_parents([path]))):
            raise CacheError(
                f"{path} is a link that somebody committed, where builds write\n"
                f"  found:    a link to {os.readlink(path)!r}\n  expected: a file or a folder, or nothing\n"
                f"hint: `git rm {path}`; a link of your own, which git doesn't hold, may stand there"
            )


def _with_parents(paths: Iterable[str]) -> set[str]:
    """Paths and all folders around them."""
    found = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return found
