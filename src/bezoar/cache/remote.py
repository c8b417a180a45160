"""Objects from the DVC remote that `.dvc/config` names, whatever kind it is.

Also a program, for a job that finds a proof but not its objects: `python -m bezoar.cache.remote MD5 [MD5 ...]`.
"""

import os
import sys
from collections.abc import Iterable

from bezoar.cache import CacheError
from bezoar.cache.dvc import settings
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects, all_missing, unwritable

os.environ.setdefault("DVC_NO_ANALYTICS", "1")


def fetch(contents: Iterable[str], objects: Objects) -> None:
    """Bring what is missing of some contents from the remote to the cache, as far as the remote has it sound.

    Of directories, their lists and then their files.

    Raises:
        CacheError: The remote can't be read, or the cache can't be written.
    """
    wanted = list(contents)
    for _ in range(2):  # a directory's list first, then its files
        fetch_objects(all_missing(objects, wanted), objects)


def fetch_objects(md5s: Iterable[str], objects: Objects) -> None:
    """Bring single objects from the remote to the cache: of a directory, its list alone.

    Raises:
        CacheError: The remote can't be read.
    """
    lacking = list(md5s)
    try:
        os.makedirs(objects.cache, exist_ok=True)
    except OSError as error:
        raise unwritable(objects.cache, error) from error
    if lacking:
        for md5 in lacking:
            objects.forget_unsound(md5)
        _pull(lacking)
        for md5 in lacking:
            objects.forget_unsound(md5)  # what came is checked: a remote can hold wrong bytes


def available(md5s: Iterable[str]) -> set[str]:
    """Those of some objects that the remote has; nothing is copied.

    Raises:
        CacheError: The remote can't be read.
    """
    from dvc.repo import Repo

    wanted = list(md5s)
    try:
        with Repo() as repo:
            odb = repo.cloud.get_remote_odb()
            return set(odb.oids_exist(wanted))
    except Exception as error:  # each kind of remote has a library with errors of its own
        raise _unreadable(error) from error


def _pull(md5s: list[str]) -> None:
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        with Repo() as repo:
            repo.cloud.pull({HashInfo("md5", md5) for md5 in md5s})
    except Exception as error:  # each kind of remote has a library with errors of its own
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> CacheError:
    return CacheError(
        f"the DVC remote can't be read\n  found:    {type(error).__name__}: {error}\n"
        "  expected: a remote as in .dvc/config\nhint: try `dvc status --cloud`; BEZOAR_OFFLINE=1 builds without it"
    )


if __name__ == "__main__":
    hasher = Hasher()
    try:
        fetch(sys.argv[1:], Objects(settings()[0], hasher))
    except CacheError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
    finally:
        hasher.save()
