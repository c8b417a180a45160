"""Who may read and write what is stored: its owner, or a group where DVC's `cache.shared` says so.

The cache's own folder carries the answer, so that jobs, which must start fast, needn't read DVC's configuration.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from bezoar.cache import CacheError

GROUP_FOLDER, GROUP_FILE = 0o2775, 0o664  # as DVC has them; new entries get the folder's group
OWN_FOLDER, OWN_FILE = 0o700, 0o600
PARTS = {"files", "proofs", "imported", "code", "runs", "tmp"}  # what a cache holds, DVC's and ours


def share(cache: str) -> None:
    """Make the cache's folder its group's, but for a folder that holds something else, too."""
    os.makedirs(cache, exist_ok=True)
    if not (os.path.isdir(os.path.join(cache, "files", "md5")) or set(os.listdir(cache)) <= PARTS):
        return
    with suppress(PermissionError):  # somebody else's, who has done it
        os.chmod(cache, GROUP_FOLDER)


def is_shared(cache: str) -> bool:
    """Whether the cache's folder is its group's."""
    try:
        return os.stat(cache).st_mode & (stat.S_ISGID | stat.S_IWGRP) == stat.S_ISGID | stat.S_IWGRP
    except OSError:
        return False


def make_folder(path: str | Path, cache: str) -> None:
    """Make a folder in the cache, and those around it, with the cache's own mode where that is a group's."""
    path = Path(path)
    if path.is_dir():
        return
    shared = is_shared(cache)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing if shared else []:
        with suppress(PermissionError):  # made by somebody else at the same time
            folder.chmod(GROUP_FOLDER)


def settle(path: str | Path, cache: str) -> None:
    """Let the group write a new file of the cache, whatever this process's umask is."""
    if is_shared(cache):
        os.chmod(path, GROUP_FILE)


def of_responses() -> tuple[int, int]:
    """Modes of folders and files of `responses/`: prompts and paid answers are their owner's, or the group's.

    The owner decides: a committed file can open the cache, whose contents are shared anyway, but not these.
    """
    from bezoar.cache.config import shared_by_group

    with suppress(CacheError):  # a run has refused it before
        if shared_by_group(committed=False):
            return 0o2770, 0o660
    return OWN_FOLDER, OWN_FILE


def make_response_folder(path: Path) -> int:
    """Make a folder in `responses/`, close an older one that others could read, and return the mode of its files."""
    folder_mode, file_mode = of_responses()
    for folder in (path.parent, path):
        with suppress(PermissionError):  # somebody else's of the group
            folder.mkdir(mode=folder_mode, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o7777 != folder_mode:
                folder.chmod(folder_mode)
    return file_mode
