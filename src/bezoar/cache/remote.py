"""Objects from the DVC remote that `.dvc/config` names, whatever kind it is.

Also a program for jobs with a proof and missing objects: `python -m bezoar.cache.remote MD5 [MD5 ...]`.
"""

import errno
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

from bezoar import installed
from bezoar.cache import CacheError
from bezoar.cache.config import SECRET, settings
from bezoar.cache.foreign import MOST_BYTES
from bezoar.cache.hashing import Hasher, md5_of
from bezoar.cache.modes import make_folder
from bezoar.cache.objects import Objects, all_missing, copy, unwritable
from bezoar.errors import problem
from bezoar.logs import guard
from bezoar.text import show

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
logger = logging.getLogger("bezoar")

LOCAL = "`dvc remote modify --local {name}"
CREDENTIALS = {  # by the remote's kind: commands that set credentials
    "ssh": f"{LOCAL} keyfile PATH`, or a key in ssh-agent; `ssh USER@HOST` has to work",
    "s3": f"{LOCAL} access_key_id ID`, the same for secret_access_key, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
    "webdav": f"{LOCAL} user NAME`, {LOCAL} password PASSWORD`",
    "http": f"{LOCAL} auth basic`, the same for user and password",
    "": "ask who owns the folder to let you read it",
}
OTHERS, PAGE = "see {page} for where credentials of this kind go", "docs/how-to/remotes.md"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors of this machine's disk, since the remote is only read
REFUSED = r"PermissionError|SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied|NoCredentials|\b40[13]\b"
UNREACHABLE = "ConnectionRefused|gaierror|ConnectError|ConnectTimeout|EndpointConnection|No route to host"
BROKEN = "Connection|Disconnect|ReadError|ProtocolError|Payload|IncompleteRead|Timeout|SFTP|Closed|Streaming"


def fetch(contents: Iterable[str], objects: Objects) -> None:
    """Fetch missing objects of some contents from the remote, if they are sound there.

    For directories, first their lists, then their files.

    Raises:
        CacheError: The remote can't be read, or the cache can't be written.
    """
    wanted = list(contents)
    first = set(all_missing(objects, wanted))
    fetch_objects(first, objects)
    fetch_objects(set(all_missing(objects, wanted)) - first, objects)  # files of directories with fetched lists


def fetch_objects(md5s: Iterable[str], objects: Objects) -> None:
    """Fetch single objects from the remote: for a directory, its list only.

    An object is put in place complete and checked, or not at all; missing and damaged objects are skipped. Objects that
    were fetched before an error stay, so that the next try continues.

    Raises:
        CacheError: The remote can't be read, or the cache can't be written.
    """
    lacking = sorted(set(md5s))
    try:
        for folder in {objects.cache, *(os.path.dirname(objects.path(md5)) for md5 in lacking)}:
            make_folder(folder, objects.cache)
    except OSError as error:
        raise unwritable(objects.cache, error) from error
    if lacking:
        for md5 in lacking:
            objects.forget_unsound(md5)
        with _store() as store:
            _bring_all(store, lacking, objects)


def fetch_lists(md5s: Iterable[str], objects: Objects) -> None:
    """Read the remote's directory lists without copying them into the cache: a query changes nothing there.

    Raises:
        CacheError: The remote can't be read, or a list isn't one.
    """
    wanted = list(md5s)
    with tempfile.TemporaryDirectory() as folder:
        apart = Objects(folder, Hasher(None))
        fetch_objects(wanted, apart)
        objects.take_lists(apart, wanted)


def available(md5s: Iterable[str]) -> set[str]:
    """The objects that the remote has; nothing is copied.

    Raises:
        CacheError: The remote can't be read.
    """
    wanted = list(md5s)
    with _store() as store:
        found = set(store.oids_exist(wanted))
        for md5 in [md5 for md5 in wanted if md5 not in found][:1]:
            _check_absent(store, md5)
    return found


def _bring_all(store: Any, md5s: list[str], objects: Objects) -> None:
    """Fetch objects from DVC's store of a remote, several at a time; the first error ends it."""
    from dvc.fs.callbacks import TqdmCallback

    with (
        TqdmCallback(desc="Fetching", unit="file", size=len(md5s)) as bar,
        ThreadPoolExecutor(min(store.fs.jobs, len(md5s))) as pool,
    ):
        started = {pool.submit(_bring, store, md5, objects.path(md5), len(md5s) == 1, bar): md5 for md5 in md5s}
        try:
            for done in as_completed(started):
                md5, found = started[done], done.result()
                bar.relative_update()
                if found == md5.removesuffix(".dir"):
                    objects.hasher.learn(objects.path(md5), found)
                elif found:
                    path = _clean(store.fs.unstrip_protocol(store.oid_to_path(md5)))
                    logger.warning(_damaged(md5, found, path))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise unwritable(objects.cache, error) from error
            raise
        finally:
            for one in started:
                one.cancel()


def _bring(store: Any, md5: str, target: str, alone: bool, bar: Any) -> str | None:
    """Download an object beside its place, and rename it if it is sound; returns its MD5, or None if it is missing.

    DVC's own download would leave an incomplete object in place when a connection breaks.
    """
    partial, path = f"{target}.{os.urandom(6).hex()}.partial", store.oid_to_path(md5)
    options = {"max_concurrency": store.fs.jobs if alone else 1} if hasattr(store.fs.fs, "max_concurrency") else {}
    try:
        if md5.endswith(".dir") and _size(store, path) > MOST_BYTES:
            return None  # lists are smaller: it counts as missing
        if store.fs.protocol == "local":
            copy(path, partial)
        else:
            with bar.branched(path, partial) as part:
                store.fs.get_file(path, partial, callback=part, **options)
        found = md5_of(partial)
        if found == md5.removesuffix(".dir"):
            os.chmod(partial, 0o444)
            os.replace(partial, target)
        return found
    except FileNotFoundError as error:
        _check_place(error)
        return None
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _size(store: Any, path: str) -> int:
    """Bytes of an object; 0 if the remote doesn't say."""
    with suppress(FileNotFoundError):  # over HTTP also if access is refused: reading the object tells
        return store.fs.info(path).get("size") or 0
    return 0


def _check_absent(store: Any, md5: str) -> None:
    """Read an object that the remote seems to lack: over HTTP, every failure looks like that."""
    try:
        store.fs.fs.cat_file(store.oid_to_path(md5), start=0, end=1)
    except FileNotFoundError as error:
        _check_place(error)


def _check_place(error: FileNotFoundError) -> None:
    """Raise an error again if the bucket is missing, not the object."""
    if "NoSuchBucket" in _names(error):
        raise error


@contextmanager
def _store() -> Iterator[Any]:
    """DVC's store of the remote's objects; every failure becomes an error with a hint."""
    opened = _opened(os.getcwd())
    try:
        if "store" not in opened:
            from dvc.repo import Repo

            with _site_cache() as folder, Repo(config={"core": {"site_cache_dir": folder}}) as repo:
                name = repo.config["core"].get("remote", "")
                opened["remote"] = {"name": name, **repo.config["remote"].get(name, {})}
                opened["store"] = repo.cloud.get_remote_odb()
        yield opened["store"]
    except CacheError:
        raise
    except Exception as error:  # each kind of remote has a library with its own errors
        raise _unreadable(error, opened.get("remote", {})) from error


@contextmanager
def _site_cache() -> Iterator[str]:
    """A folder for DVC's data on a repository that only its owner can write: DVC reads pickles there.

    DVC's own, /var/tmp/dvc, is open to all, so another user of the machine may have made it first.
    """
    folder = os.path.abspath(".dvc/tmp/bezoar-site")
    try:
        for path in (folder, f"{folder}/repo"):  # DVC makes the second one accessible to all
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
    except OSError:  # a read-only tree
        with TemporaryDirectory() as other:
            yield other
        return
    yield folder


@cache
def _opened(folder: str) -> dict[str, Any]:
    """DVC's repository object, which a process keeps open to its end.

    Connecting takes longer than most transfers. And sshfs closes a forgotten connection in the event loop that happens
    to run when it is collected: Snakemake's would wait for that forever.
    """
    return {}


def _unreadable(error: Exception, remote: dict[str, Any]) -> CacheError:
    """The error if a remote can't be read, without its secrets."""
    said = next((text for one in _chain(error) if (text := str(one)) not in ("", "None")), "")
    found, expected, hint = _trouble(error, said, remote)
    found = " ".join(
        _clean(found, *(str(value) for option, value in remote.items() if SECRET.fullmatch(option))).split()
    )
    return CacheError(problem("the DVC remote can't be read", found=found, expected=expected, hint=hint))


def _trouble(error: Exception, said: str, remote: dict[str, Any]) -> tuple[str, str, str]:
    """Found, expected and hint for an error of any remote's library."""
    name, url = remote.get("name", ""), _clean(str(remote.get("url", "")))
    kind = url.partition("://")[0] if "://" in url else ""
    kind = {"webdavs": "webdav", "https": "http"}.get(kind, kind)
    names, other = _names(error), "BEZOAR_OFFLINE=1 builds without it"
    found = f"{type(error).__name__}: {said}"
    if package := re.search(r"requires '([\w-]+)' to be installed", said):
        return said, "the package for this kind of remote", f"pip install {package[1]}"
    if "ConfigError" in names:
        return said, "options that DVC knows for this kind of remote", "correct .dvc/config and .dvc/config.local"
    if "NoSuchBucket" in names:
        return f"no bucket for {url}", "a bucket that exists", f"create it, or `dvc remote modify {name} url URL`"
    if kind == "webdav" and isinstance(error, TypeError):  # webdav4 joins user and password without checking them
        found, names = f"a user without a password for {url}", "PermissionError"
    if re.search(REFUSED, names):
        credentials = CREDENTIALS.get(kind, OTHERS).format(name=name, page=installed.find(PAGE))
        return found, f"credentials that {url} accepts", f"{credentials}; {other}"
    if re.search(UNREACHABLE, names):
        return found, f"a server that answers at {url}", f"try again later, or check the address; {other}"
    if re.search(BROKEN, names):
        return found, f"a connection to {url} that lasts", f"start again: what has come stays; {other}"
    return found, "a remote as in .dvc/config", f"try `dvc status --cloud`; {other}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> str:
    """Names and messages of a chain of errors, as text to search."""
    return " ".join(f"{' '.join(kind.__name__ for kind in type(one).__mro__[:-3])} {one}" for one in _chain(error))


def _damaged(md5: str, found: object, path: object) -> str:
    return problem(
        f"the remote's object {md5} is damaged and isn't used",
        found=f"bytes with MD5 {found}",
        expected="the MD5 of its name",
        hint=f"remove {path}, then `dvc push` where it is sound",
    )


def _clean(text: str, *secrets: str) -> str:
    """A text without `user:password@` and without these values."""
    text = re.sub(r"//[^/@\s]+@", "//", text)
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text


if __name__ == "__main__":
    guard()
    hasher = Hasher()
    try:
        fetch(sys.argv[1:], Objects(settings()[0], hasher))
    except CacheError as error:
        show(error, file=sys.stderr)
        sys.exit(1)
    finally:
        hasher.save()
