"""Contents of files as MD5 in DVC's form, and a database of them, so that unchanged files aren't read again.

MD5 names contents because DVC's remotes use it; it doesn't protect against forged files.
"""

import errno
import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.storable import IGNORED, IGNORED_FOLDERS, is_exact
from bezoar.errors import problem
from bezoar.files import walk

STATE = ".dvc/tmp/bezoar.sqlite"
TABLE = (
    "CREATE TABLE IF NOT EXISTS files"
    " (path TEXT PRIMARY KEY, mtime INT, ctime INT, size INT, inode INT, md5 TEXT) WITHOUT ROWID"
)
COLUMNS = "path, mtime, ctime, size, inode, md5"
CHUNK = 1 << 18  # bytes per read
TICK = 10_000_000  # nanoseconds; a file system may give two changes in it the same time


class Content(NamedTuple):
    """The content of a path: MD5 of a file, or of the list of a directory's files, with the suffix `.dir`.

    `size` is the total in bytes; `files` is 0 for a file, else the number of a directory's files.
    """

    md5: str
    size: int
    files: int = 0


def content_of(found: Any) -> Content:
    """A content in a proof or a job's plan: MD5, size and, for a directory, number of files.

    Raises:
        Malformed: It isn't one.
    """
    values = foreign.array(found)
    if len(values) != len(Content._fields):
        raise foreign.Malformed(f"{len(values)} values for a content")
    md5, size, files = values
    return Content(foreign.content_md5(md5), foreign.count(size), foreign.count(files))


class Listing(NamedTuple):
    """A file of a directory: MD5, and path relative to the directory with `/` between its parts."""

    md5: str
    relpath: str


def listing_bytes(files: list[Listing]) -> bytes:
    """The list of a directory's files as DVC stores it."""
    entries = [{"md5": one.md5, "relpath": one.relpath} for one in sorted(files, key=lambda one: one.relpath)]
    return json.dumps(entries, sort_keys=True).encode()


def listing_of(data: bytes) -> list[Listing]:
    """The files in a stored list.

    Raises:
        Malformed: It isn't a list of files below one directory.
    """
    md5s, names = [], []
    for number, entry in enumerate(foreign.array(foreign.from_json(data)), 1):
        try:
            found = foreign.table(entry)
            md5s.append(foreign.md5(found.get("md5")))
            names.append(foreign.relpath(found.get("relpath")))
        except foreign.Malformed as error:
            raise foreign.Malformed(f"{error} in entry {number}") from error
    foreign.check_apart(names)
    return [Listing(md5, name) for md5, name in zip(md5s, names, strict=True)]


def directory(files: dict[str, Content]) -> Content:
    """The content of a directory with these files, by relative path."""
    data = listing_bytes([Listing(content.md5, name) for name, content in files.items()])
    size = sum(content.size for content in files.values())
    return Content(hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir", size, len(files))


def files_below(folder: str) -> Iterator[str]:
    """Paths of the files of a directory that DVC would see, relative to it, in no particular order.

    Raises:
        OSError: A folder can't be read; with `ELOOP`, a cycle of links leads around.
        CacheError: A name isn't UTF-8.
    """
    for parent, names in walk(folder, IGNORED_FOLDERS):
        relative = parent[len(folder) :].lstrip("/")
        for name in names:
            if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
                raise CacheError(
                    problem(
                        f"{parent}: a file's name isn't UTF-8", found=f"{name!r}", expected="text", hint="rename it"
                    )
                )
            if name not in IGNORED:
                yield f"{relative}/{name}" if relative else name


def md5_of(path: str, opener: Callable[[str, int], int] | None = None) -> str:
    """MD5 of a file's bytes, in hexadecimal digits; an opener is one for `open`."""
    digest = hashlib.md5(usedforsecurity=False)
    # hashlib.file_digest would fill a large buffer even for a small file
    with open(path, "rb", buffering=0, opener=opener) as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


Signature = tuple[int, int, int, int]


def signature(path: str) -> Signature:
    """Times of changes of content and status in nanoseconds, size in bytes, inode: a write changes it.

    Raises:
        OSError: There is no such file, or it isn't a regular one: reading a named pipe would wait forever.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class Hasher:
    """Contents by path, read once and remembered as long as a file's signature is the same.

    The database in `.dvc/tmp` is only a shortcut: if it can't be read or written (a file system without locks, a full
    disk), files are read again.
    """

    def __init__(self, memory: str | None = STATE) -> None:
        """Use a database, or None for none."""
        self._known: dict[str, tuple[Signature, str]] = {}
        self._new: dict[str, tuple[Signature, str]] = {}
        self._memory = memory
        self._database: sqlite3.Connection | None = None
        self._whole = False

    def content(self, path: str) -> Content | None:
        """The content of a path; None if nothing is there.

        Raises:
            CacheError: It exists, but can't be read.
        """
        try:
            if os.path.isdir(path):
                return directory({name: self.file(os.path.join(path, name)) for name in files_below(path)})
            return self.file(path)
        except OSError as error:
            if error.filename == path and isinstance(error, FileNotFoundError | NotADirectoryError):
                return None
            cycle = error.errno == errno.ELOOP
            expected = "a folder without cycles of links" if cycle else "a readable file"
            hint = "remove the link" if cycle else "make it readable, or remove it"
            what = f"{error.filename or path} can't be read"
            raise CacheError(problem(what, found=error.strerror, expected=expected, hint=hint)) from error

    def listing(self, folder: str) -> list[Listing]:
        """The files of a directory.

        Raises:
            OSError: There is no such directory, or a file can't be read.
        """
        return [Listing(self.file(os.path.join(folder, name)).md5, name) for name in files_below(folder)]

    def holds(self, path: str, md5: str) -> bool:
        """Whether a path is what would be restored from this content."""
        return self.reads(path, md5) and (not md5.endswith(".dir") or is_exact(path))

    def reads(self, path: str, md5: str) -> bool:
        """Whether a path's files have this content; there may also be links and empty folders."""
        content = self.content(path)
        return content is not None and content.md5 == md5

    def file(self, path: str) -> Content:
        """The content of a file.

        Raises:
            OSError: There is no such file, or it can't be read.
        """
        before = signature(path)
        known = self._new.get(path) or self._recall(path)
        if known is None or known[0] != before:
            before = _settled(path, before)
            known = (before, md5_of(path))
            self._new[path] = known
        return Content(known[1], before[2])

    def learn(self, path: str, md5: str) -> None:
        """Remember the content of a file that was just written."""
        self._new[path] = (signature(path), md5)

    def recall_all(self) -> None:
        """Load the whole database at once: faster than a query for each of thousands of files."""
        rows = self._ask(f"SELECT {COLUMNS} FROM files")
        self._known = {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in rows}
        self._whole = True

    def save(self) -> None:
        """Write contents that were read since the start to the database, unless the files changed meanwhile.

        A file that was read within the clock tick of its change could change again without a new signature, so such
        files are checked again after the tick.
        """
        if not self._new or not self._memory:
            return
        newest = max(max(found[0], found[1]) for found, _ in self._new.values())
        if 0 <= time.time_ns() - newest < TICK:
            time.sleep(TICK / 1e9)
        rows = [(path, *found, md5) for path, (found, md5) in self._new.items() if _still(path, found)]
        self._known.update(self._new)
        self._new = {}
        try:
            os.makedirs(os.path.dirname(self._memory), exist_ok=True)
            with self._open() as database:
                database.execute(TABLE)
                database.executemany(f"INSERT OR REPLACE INTO files ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError):
            pass

    def _recall(self, path: str) -> tuple[Signature, str] | None:
        if path not in self._known and not self._whole:
            for row in self._ask(f"SELECT {COLUMNS} FROM files WHERE path = ?", path):
                self._known[path] = ((row[1], row[2], row[3], row[4]), row[5])
        return self._known.get(path)

    def _ask(self, query: str, *values: str) -> list[tuple[str, int, int, int, int, str]]:
        if not self._memory or not os.path.exists(self._memory):
            return []
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.Error:
            return []

    def _open(self) -> sqlite3.Connection:
        assert self._memory
        if self._database is None:
            self._database = sqlite3.connect(self._memory, timeout=10, check_same_thread=False)
            self._database.execute("PRAGMA synchronous = OFF")  # a power cut may lose a shortcut
        return self._database


def _settled(path: str, found: Signature) -> Signature:
    """A file's signature after a clock tick since its last write: another write will change it."""
    age = time.time_ns() - max(found[0], found[1])
    if not 0 <= age < TICK:
        return found
    time.sleep((TICK - age) / 1e9)
    return signature(path)


def _still(path: str, found: Signature) -> bool:
    try:
        return signature(path) == found
    except OSError:
        return False


def canonical(data: object) -> bytes:
    """Data as canonical JSON: sorted keys, no whitespace, UTF-8."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: object) -> str:
    """Sha256 of data as canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(canonical(data)).hexdigest()
