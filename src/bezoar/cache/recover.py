"""Objects that the cache has lost, taken from artifacts that lie sound on disk.

So after `rm -rf .dvc/cache`, or a `dvc gc`, nothing runs that needn't, and what is restored later is there.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from bezoar.cache import CacheError
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof


def lists(folders: Iterable[tuple[str, str]], hasher: Hasher, objects: Objects) -> None:
    """Compute missing lists of directories that are on disk, in memory only: `Objects.keep_lists` writes them.

    Args:
        folders: Paths of directories and the MD5s that they have on record.

    Raises:
        CacheError: A list of the cache names files outside of its directory, or isn't a list.
    """
    for path, md5 in folders:
        if objects.listing(md5) is None:
            with suppress(CacheError):  # a file there that can't be read: the list stays missing
                if hasher.reads(path, md5):
                    objects.take_list(md5, hasher.listing(path))


def outputs(proofs: Iterable[Proof], hasher: Hasher, objects: Objects) -> int:
    """Store proven outputs on disk that the cache lacks; returns how many.

    They were lost, or the disk was full when they were made.
    """
    count = 0
    with suppress(CacheError):  # a cache that can't be written, or is still full: the next run tries again
        objects.keep_lists()
    for proof in proofs:
        for path, content in proof.outputs.items():
            if objects.missing(content.md5) and hasher.reads(path, content.md5):
                with suppress(CacheError):
                    objects.store(path, content)
                    count += 1
    return count


def lost(contents: Iterable[str], objects: Objects) -> bool:
    """Whether an object of some contents is gone; damaged ones don't count, so no object is read but for lists."""
    for md5 in contents:
        if not os.path.exists(objects.path(md5)):
            return True
        if md5.endswith(".dir"):
            files = objects.listing(md5)
            if files is None or not all(os.path.exists(objects.path(one.md5)) for one in files):
                return True
    return False
