"""Contents by MD5 in DVC's own cache, so that `dvc push` and `dvc checkout` work with them."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bezoar.cache import CacheError, Unwritable, foreign
from bezoar.cache.hashing import Content, Hasher, Listing, listing_bytes, listing_of
from bezoar.cache.modes import make_folder
from bezoar.errors import problem

CHUNK = 1 << 30  # bytes per system call
NO_KERNEL_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class Objects:
    """The object store in a DVC cache folder.

    An object counts only if its bytes have the MD5 of its name; the hasher remembers that, so that an unchanged object
    is read once.
    """

    def __init__(self, cache: str, hasher: Hasher) -> None:
        self.cache = cache
        self.hasher = hasher
        self._lists: dict[str, list[Listing]] = {}  # valid directory lists that were read
        self._taken: dict[str, bytes] = {}  # lists of another store that this one lacks

    def path(self, md5: str) -> str:
        """The path of an object, which may not exist.

        Raises:
            Malformed: The MD5 isn't one, so the path could be anywhere.
        """
        foreign.content_md5(md5)
        return os.path.join(self.cache, "files", "md5", md5[:2], md5[2:])

    def sound(self, md5: str) -> bool:
        """Whether the object of a file or a directory list exists with the right bytes."""
        try:
            return self.hasher.file(self.path(md5)).md5 == md5.removesuffix(".dir")
        except OSError:
            return False

    def listing(self, md5: str) -> list[Listing] | None:
        """The files of a directory; None if its list is missing.

        Raises:
            CacheError: It has the right bytes, but names files outside of the directory, or isn't a list.
        """
        if md5 not in self._lists:
            if not self.sound(md5):
                return None
            self._lists[md5] = _listing(md5, self.path(md5))
        return self._lists[md5]

    def take_lists(self, others: "Objects", md5s: Iterable[str]) -> None:
        """Add directory lists of another store in memory; nothing is written.

        Raises:
            CacheError: One names files outside of its directory, or isn't a list.
        """
        for md5 in md5s:
            if others.sound(md5):
                self._lists[md5] = _listing(md5, others.path(md5))
                self._taken[md5] = Path(others.path(md5)).read_bytes()

    def take_list(self, md5: str, files: list[Listing]) -> None:
        """Add a directory list in memory; nothing is written."""
        self._lists[md5] = files
        self._taken[md5] = listing_bytes(files)

    def keep_lists(self) -> None:
        """Write these lists for DVC and for the processes of jobs.

        Raises:
            CacheError: The disk is full, or the store can't be written.
        """
        for md5, data in self._taken.items():
            if not self.sound(md5):
                with self._writing(md5) as partial:
                    Path(partial).write_bytes(data)
        self._taken = {}

    def missing(self, md5: str) -> list[str]:
        """The objects that a content needs and that are missing or damaged."""
        if not md5.endswith(".dir"):
            return [] if self.sound(md5) else [md5]
        files = self.listing(md5)
        return [md5] if files is None else [one.md5 for one in files if not self.sound(one.md5)]

    def forget_unsound(self, md5: str) -> None:
        """Remove an object with wrong bytes, so that a sound one can replace it."""
        with suppress(OSError):
            if not self.sound(md5):
                os.unlink(self.path(md5))

    def store(self, path: str, content: Content) -> None:
        """Copy a file or a directory into the store.

        Raises:
            CacheError: It has changed since `content` was read, the disk is full, or the store can't be written.
        """
        if content.md5.endswith(".dir"):
            files = self.hasher.listing(path)
            for one in files:
                self._put(os.path.join(path, one.relpath), one.md5)
            self.store_listing(content.md5, files, path)
        else:
            self._put(path, content.md5)

    def store_listing(self, md5: str, files: list[Listing], path: str) -> None:
        """Write the list of a directory's files.

        Raises:
            CacheError: The list has another MD5, the disk is full, or the store can't be written.
        """
        if not self.sound(md5):
            data = listing_bytes(files)
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
                raise _changed(path)
            with self._writing(md5) as partial, open(partial, "wb") as file:
                file.write(data)

    def restore(self, md5: str, path: str) -> None:
        """Restore a content to a path, in place of anything there; completely or not at all.

        Raises:
            CacheError: An object is missing or damaged, or the disk is full.
        """
        lacking = self.missing(md5)
        if lacking:
            raise CacheError(
                problem(
                    f"{path} can't be restored",
                    found=f"no sound object {lacking[0]} in {self.cache}",
                    expected="the objects that its record names",
                    hint="`dvc fetch`, or build it again",
                )
            )
        partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.partial")
        try:
            remove(partial)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            if md5.endswith(".dir"):
                for one in self.listing(md5) or []:
                    target = os.path.join(partial, one.relpath)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    copy(self.path(one.md5), target)
                os.makedirs(partial, exist_ok=True)  # a directory without files
            else:
                copy(self.path(md5), partial)
            if os.path.isdir(path) or md5.endswith(".dir"):
                remove(path)
            os.replace(partial, path)
        except OSError as error:
            raise CacheError(
                problem(
                    f"{path} can't be restored",
                    found=error.strerror,
                    expected="a writable folder with room",
                    hint="free some space there, or make it writable for you",
                )
            ) from error
        finally:
            remove(partial)
        self._learn(md5, path)

    def _learn(self, md5: str, path: str) -> None:
        if md5.endswith(".dir"):
            for one in self.listing(md5) or []:
                self.hasher.learn(os.path.join(path, one.relpath), one.md5)
        else:
            self.hasher.learn(path, md5)

    def _put(self, path: str, md5: str) -> None:
        if self.sound(md5):
            return
        try:
            with self._writing(md5) as partial:
                copy(path, partial)
                if self.hasher.file(path).md5 != md5:
                    raise _changed(path)
        except FileNotFoundError as error:
            raise _changed(path) from error

    def _writing(self, md5: str) -> "_Writing":
        return _Writing(self, md5)


class _Writing:
    """A file beside an object to write to; at the end it is renamed and read-only, as in DVC."""

    def __init__(self, objects: Objects, md5: str) -> None:
        self.objects = objects
        self.md5 = md5
        self.path = objects.path(md5)
        self.partial = f"{self.path}.{os.urandom(6).hex()}.partial"  # unique to this process on any machine

    def __enter__(self) -> str:
        try:
            make_folder(os.path.dirname(self.path), self.objects.cache)
        except OSError as error:
            raise unwritable(self.objects.cache, error) from error
        return self.partial

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                os.chmod(self.partial, 0o444)
                os.replace(self.partial, self.path)
                self.objects.hasher.learn(self.path, self.md5.removesuffix(".dir"))
        except OSError as problem:
            raise unwritable(self.objects.cache, problem) from problem
        finally:
            with suppress(OSError):
                os.unlink(self.partial)
        if isinstance(error, OSError) and error.filename in (None, self.partial):
            raise unwritable(self.objects.cache, error) from error


def _listing(md5: str, path: str) -> list[Listing]:
    try:
        return listing_of(foreign.read(path))
    except foreign.Malformed as error:
        raise CacheError(
            problem(
                f"object {md5} is not a list of a directory's files",
                found=error,
                expected="for each file its MD5 and its path inside the directory, as DVC stores them",
                hint=f"no build writes such a list; `git log -S{md5} dvc.lock` says who did: remove that entry",
            )
        ) from error


def _changed(path: str) -> CacheError:
    return CacheError(
        problem(
            f"{path} changed while it was stored",
            found="a process that still writes to it",
            expected="a finished artifact",
            hint="let the script wait for what it starts",
        )
    )


def unwritable(cache: str, error: OSError) -> Unwritable:
    """The error if the cache can't be written."""
    hints = {
        errno.ENOSPC: "free some space there, or move the cache with `dvc cache dir --local`",
        errno.EDQUOT: "free some of your quota, or move the cache with `dvc cache dir --local`",
    }
    hint = hints.get(error.errno or 0, "make it writable for you, or choose another one with `dvc cache dir --local`")
    return Unwritable(
        problem(
            "the cache can't be written to",
            found=f"{error.strerror} in {cache}",
            expected="a writable folder with room",
            hint=hint,
        )
    )


def copy(source: str, target: str) -> None:
    """Copy a file by the kernel, which shares the blocks if the file system supports that."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), CHUNK):
                pass
        except OSError as error:
            if error.errno not in NO_KERNEL_COPY or writer.tell():
                raise
            shutil.copyfileobj(reader, writer, 1 << 20)


def is_partial(path: str) -> bool:
    """Whether this is incomplete because its process was killed."""
    return any(part.startswith(".") and part.endswith(".partial") for part in path.split("/"))


def remove(path: str) -> None:
    """Remove a file or a directory, if it exists."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)


def all_missing(objects: Objects, contents: Iterable[str]) -> list[str]:
    """The missing objects of several contents, each once, in order."""
    return list(dict.fromkeys(lacking for md5 in contents for lacking in objects.missing(md5)))
