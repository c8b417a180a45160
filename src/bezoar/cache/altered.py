"""Move a user's files out of an artifact's place, with a log line, before the artifact replaces them."""

import logging
import os
import shutil
from collections.abc import Container

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


def _has_unseen(path: str) -> bool:
    return os.path.isdir(path) and any(not UNSEEN.isdisjoint(names) for _, names, _ in os.walk(path))


def _free(path: str) -> str:
    """The path, with a number if it exists already."""
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}-{number}"
    return name
