"""Permissions of stored files: their owner's, or a group's if DVC's `cache.shared` says so.

The mode of the cache's folder shows which, so that jobs, which must start fast, don't read DVC's configuration.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from bezoar.cache import CacheError

GROUP_FOLDER, GROUP_FILE = 0o2775, 0o664  # DVC's modes; new entries get the folder's group
OWN_FOLDER, OWN_FILE = 0o700, 0o600
PARTS = {"files", "proofs", "imported", "code", "runs", "tmp"}  # folders of a cache, DVC's and ours


def share(cache: str) -> None:
    """Give the cache's folder to its group, unless the folder has other files, too."""
    os.makedirs(cache, exist_ok=True)
    if not (os.path.isdir(os.path.join(cache, "files", "md5")) or set(os.listdir(cache)) <= PARTS):
        return
    with suppress(PermissionError):  # another user's, who has done it
        os.chmod(cache, GROUP_FOLDER)


def is_shared(cache: str) -> bool:
    """Whether the cache's folder belongs to its group."""
    try:
        return os.stat(cache).st_mode & (stat.S_ISGID | stat.S_IWGRP) == stat.S_ISGID | stat.S_IWGRP
    except OSError:
        return False


def make_folder(path: str | Path, cache: str) -> None:
    """Make a folder in the cache, and its parents, with the cache's mode if a group shares it."""
    path = Path(path)
    if path.is_dir():
        return
    shared = is_shared(cache)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing if shared else []:
        with suppress(PermissionError):  # another user has made it at the same time
            folder.chmod(GROUP_FOLDER)


def settle(path: str | Path, cache: str) -> None:
    """Let the group write a new file of a shared cache, whatever the umask is."""
    if is_shared(cache):
        os.chmod(path, GROUP_FILE)


def of_responses() -> tuple[int, int]:
    """Modes of folders and files of `responses/`: prompts and paid answers belong to their owner, or to the group.

    The owner decides: a committed file can open the cache, whose contents are shared anyway, but not these.
    """
    from bezoar.cache.config import shared_by_group

    with suppress(CacheError):  # a run refuses such a configuration earlier
        if shared_by_group(committed=False):
            return 0o2770, 0o660
    return OWN_FOLDER, OWN_FILE


def make_response_folder(path: Path) -> int:
    """Make a folder in `responses/`, close an older one that others could read, and return the mode of its files."""
    folder_mode, file_mode = of_responses()
    for folder in (path.parent, path):
        with suppress(PermissionError):  # another member's of the group
            folder.mkdir(mode=folder_mode, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o7777 != folder_mode:
                folder.chmod(folder_mode)
    return file_mode
