"""Objects from the DVC remote that `.dvc/config` names, whatever kind it is.

Also a program, for a job that finds a proof but not its objects: `python -m bezoar.cache.remote MD5 [MD5 ...]`.
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
CREDENTIALS = {  # by the remote's kind, what to type where they are refused
    "ssh": f"{LOCAL} keyfile PATH`, or a key in ssh-agent; `ssh USER@HOST` has to work",
    "s3": f"{LOCAL} access_key_id ID`, the same for secret_access_key, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
    "webdav": f"{LOCAL} user NAME`, {LOCAL} password PASSWORD`",
    "http": f"{LOCAL} auth basic`, the same for user and password",
    "": "ask who owns the folder to let you read it",
}
OTHERS = "see docs/remotes.md for where credentials of this kind go"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # only ever of this side's disk: a remote is only read here
REFUSED = r"PermissionError|SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied|NoCredentials|\b40[13]\b"
UNREACHABLE = "ConnectionRefused|gaierror|ConnectError|ConnectTimeout|EndpointConnection|No route to host"
BROKEN = "Connection|Disconnect|ReadError|ProtocolError|Payload|IncompleteRead|Timeout|SFTP|Closed|Streaming"


def fetch(contents: Iterable[str], objects: Objects) -> None:
    """Bring what is missing of some contents from the remote to the cache, as far as the remote has it sound.

    Of directories, their lists and then their files.

    Raises:
        CacheError: The remote can't be read, or the cache can't be written.
    """
    wanted = list(contents)
    first = set(all_missing(objects, wanted))
    fetch_objects(first, objects)
    fetch_objects(set(all_missing(objects, wanted)) - first, objects)  # files of directories whose lists have come


def fetch_objects(md5s: Iterable[str], objects: Objects) -> None:
    """Bring single objects from the remote to the cache: of a directory, its list alone.

    An object comes to its place whole and checked, or not at all; what the remote lacks, or has with wrong bytes,
    stays away. What came before an error stays, so that the next try goes on there.

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
    """Let the remote's directory lists be known without a copy in the cache: a question changes nothing there.

    Raises:
        CacheError: The remote can't be read, or a list isn't one.
    """
    wanted = list(md5s)
    with tempfile.TemporaryDirectory() as folder:
        apart = Objects(folder, Hasher(None))
        fetch_objects(wanted, apart)
        objects.take_lists(apart, wanted)


def available(md5s: Iterable[str]) -> set[str]:
    """Those of some objects that the remote has; nothing is copied.

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
    """Bring objects from DVC's store of a remote, some at a time; the first error ends it."""
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
    """Copy an object beside its place, and put it there if it is sound; the MD5 that it has, None if there is none.

    DVC's own download isn't used, since it puts what came before a connection broke in the object's place.
    """
    partial, path = f"{target}.{os.urandom(6).hex()}.partial", store.oid_to_path(md5)
    options = {"max_concurrency": store.fs.jobs if alone else 1} if hasattr(store.fs.fs, "max_concurrency") else {}
    try:
        if md5.endswith(".dir") and _size(store, path) > MOST_BYTES:
            return None  # no list is as large: it counts as not there
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
    with suppress(FileNotFoundError):  # over HTTP also if it is refused: reading the object says why
        return store.fs.info(path).get("size") or 0
    return 0


def _check_absent(store: Any, md5: str) -> None:
    """Read an object that a remote is said to lack: over HTTP, that is said of every failure."""
    try:
        store.fs.fs.cat_file(store.oid_to_path(md5), start=0, end=1)
    except FileNotFoundError as error:
        _check_place(error)


def _check_place(error: FileNotFoundError) -> None:
    """Pass an error on if it isn't the object that is missing, but the bucket."""
    if "NoSuchBucket" in _names(error):
        raise error


@contextmanager
def _store() -> Iterator[Any]:
    """DVC's store of the remote's objects, in which every failure is an error with a way out."""
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
    except Exception as error:  # each kind of remote has a library with errors of its own
        raise _unreadable(error, opened.get("remote", {})) from error


@contextmanager
def _site_cache() -> Iterator[str]:
    """A folder for what DVC remembers of a repository, its owner's alone: DVC reads pickles there.

    DVC's own, /var/tmp/dvc, is everybody's, so that another user of the machine may have made it first.
    """
    folder = os.path.abspath(".dvc/tmp/bezoar-site")
    try:
        for path in (folder, f"{folder}/repo"):  # DVC makes the second for everybody
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
    except OSError:  # a tree that can't be written
        with TemporaryDirectory() as other:
            yield other
        return
    yield folder


@cache
def _opened(folder: str) -> dict[str, Any]:
    """What a process has opened for a repository, and keeps open to its end.

    A connection takes longer than most of what goes over it. And sshfs closes a forgotten one in whichever event loop
    happens to run when it is collected: in Snakemake's, which then waits for that forever.
    """
    return {}


def _unreadable(error: Exception, remote: dict[str, Any]) -> CacheError:
    """What to say when a remote can't be read, without its secrets."""
    said = next((text for one in _chain(error) if (text := str(one)) not in ("", "None")), "")
    found, expected, hint = _trouble(error, said, remote)
    found = " ".join(
        _clean(found, *(str(value) for option, value in remote.items() if SECRET.fullmatch(option))).split()
    )
    return CacheError(problem("the DVC remote can't be read", found=found, expected=expected, hint=hint))


def _trouble(error: Exception, said: str, remote: dict[str, Any]) -> tuple[str, str, str]:
    """What was found, what was expected and the way out, for an error of any remote's library."""
    name, url = remote.get("name", ""), _clean(str(remote.get("url", "")))
    kind = url.partition("://")[0] if "://" in url else ""
    kind = {"webdavs": "webdav", "https": "http"}.get(kind, kind)
    names, other = _names(error), "BEZOAR_OFFLINE=1 builds without it"
    found = f"{type(error).__name__}: {said}"
    if package := re.search(r"requires '([\w-]+)' to be installed", said):
        return said, "the package for this kind of remote", f"pip install {package[1]}"
    if "ConfigError" in names:
        return said, "options that DVC knows for this kind of remote", "mend .dvc/config and .dvc/config.local"
    if "NoSuchBucket" in names:
        return f"no bucket for {url}", "a bucket that exists", f"create it, or `dvc remote modify {name} url URL`"
    if kind == "webdav" and isinstance(error, TypeError):  # webdav4 joins user and password without a look at them
        found, names = f"a user without a password for {url}", "PermissionError"
    if re.search(REFUSED, names):
        credentials = CREDENTIALS.get(kind, OTHERS).format(name=name)
        return found, f"credentials that {url} accepts", f"{credentials}; {other}"
    if re.search(UNREACHABLE, names):
        return found, f"a server that answers at {url}", f"try again later, or check the address; {other}"
    if re.search(BROKEN, names):
        return found, f"a connection to {url} that lasts", f"start again: what has come stays; {other}"
    return found, "a remote as in .dvc/config", f"try `dvc status --cloud`; {other}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> str:
    """What the errors of a chain are called and say, to be looked through for words."""
    return " ".join(f"{' '.join(kind.__name__ for kind in type(one).__mro__[:-3])} {one}" for one in _chain(error))


def _damaged(md5: str, found: object, path: object) -> str:
    return problem(
        f"the remote's object {md5} is damaged and isn't used",
        found=f"bytes with MD5 {found}",
        expected="what its name says",
        hint=f"remove {path}, then `dvc push` where it is sound",
    )


def _clean(text: str, *secrets: str) -> str:
    """A text without `user:password@` and without some values."""
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
