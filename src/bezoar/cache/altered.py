"""What somebody put in an artifact's place is kept, and named, before anything else takes that place."""

import logging
import os
import shutil
from collections.abc import Container

from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects

logger = logging.getLogger("bezoar")
ALTERED = "scratch/altered"
UNSEEN = {".git", ".hg", ".dvc"}  # what a directory's content doesn't include, and somebody may have worked in


def set_aside(path: str, hasher: Hasher, objects: Objects, recorded: Container[str] = (), *, made: bool = True) -> None:
    """Move what is at a path to scratch/altered, unless the cache holds it; what a record says goes to the cache.

    Args:
        recorded: MD5s of contents that records know.
        made: Whether a record says that an artifact was made there; for the message.

    Raises:
        CacheError: What is there can't be read, or not be stored.
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
    found = "was altered since it was made" if made else "is in no record"
    logger.warning(f"{path} {found} and is replaced; it was moved to {kept}")


def _has_unseen(path: str) -> bool:
    return os.path.isdir(path) and any(not UNSEEN.isdisjoint(names) for _, names, _ in os.walk(path))


def _free(path: str) -> str:
    """The path itself, or with a number behind it if something is there."""
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}-{number}"
    return name
