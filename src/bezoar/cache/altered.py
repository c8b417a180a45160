"""What a user has put in an artifact's place: files are moved out of it; copies replace links to folders."""

import logging
import os
import shutil
from collections.abc import Container, Iterable

from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects

logger = logging.getLogger("bezoar")
ALTERED = "scratch/altered"
UNSEEN = {".git", ".hg", ".dvc"}  # not part of a directory's content, but a user may have files in it


def set_aside(path: str, hasher: Hasher, objects: Objects, recorded: Container[str] = (), *, made: bool = True) -> None:
    """Move a file or directory to scratch/altered, unless the cache has it; recorded content goes to the cache.

    Args:
        recorded: MD5s of contents in records.
        made: Whether an artifact is recorded there, for the message.

    Raises:
        CacheError: It can't be read or stored.
    """
    content = hasher.content(path)
    if content is None:
        return
    if not _has_unseen(path):
        empty = os.path.isdir(path) and not content.files
        if not empty and content.md5 in recorded and objects.missing(content.md5):
            objects.store(path, content)
        if empty or not objects.missing(content.md5):
            return
    kept = _free(os.path.join(ALTERED, f"{path}.{content.md5[:8]}"))
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    shutil.move(path, kept)
    found = "was changed after it was made" if made else "is in no record"
    logger.warning(f"{path} {found} and is replaced; it was moved to {kept}")


def linked_folders(outs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Links to folders inside of what DVC stores, which follows none: outputs by link, outer links first.

    Args:
        outs: Outputs, each with the path that DVC stores: itself, or a folder around it. A link there may stay.
    """
    known: dict[str, bool] = {}
    found: dict[str, list[str]] = {}
    for path, out in outs:
        place = path
        while len(place) > len(out):
            if place not in known:
                known[place] = os.path.islink(place) and os.path.isdir(place)
            if known[place]:
                found.setdefault(place, []).append(path)
            place = os.path.dirname(place)
    return dict(sorted(found.items()))


def replace_link(place: str, paths: list[str]) -> None:
    """Put copies of outputs in the place of a link to a folder with them."""
    if not os.path.islink(place) or not os.access(os.path.dirname(place), os.W_OK):
        return
    target = os.path.realpath(place)
    os.unlink(place)
    for path in paths:
        source = os.path.join(target, os.path.relpath(path, place))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, path)
        elif os.path.exists(source):
            shutil.copyfile(source, path)
    logger.warning(f"{place} was a link to {target}, which DVC doesn't follow; copies of its outputs take its place")


def _has_unseen(path: str) -> bool:
    return os.path.isdir(path) and any(not UNSEEN.isdisjoint(names) for _, names, _ in os.walk(path))


def _free(path: str) -> str:
    """The path, with a number if it exists already."""
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}-{number}"
    return name
