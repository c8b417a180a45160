"""What a cache contains: objects, records of jobs, and what is left of killed processes.

Reading it leaves the times of last use as they are, as far as the system allows that.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bezoar.cache import foreign
from bezoar.cache.hashing import Content, Listing, content_of, directory, listing_of

OBJECTS = os.path.join("files", "md5")
PROOFS = ("proofs", "imported")
RECORDS = (*PROOFS, "traces", "runs", "code")
DAMAGED = "damaged"  # what `bezoar cache --scrub` moved away
PARTIAL = ".partial"
OBJECT = re.compile(r"([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)")
NAMED = re.compile(rb'"([0-9a-f]{32,64}(?:\.dir)?)"')
DOLLAR = 1800  # seconds of a job's time that count as much: a GPU costs about two dollars per hour
UNKNOWN = float("inf")


class Entry(NamedTuple):
    """A file of the cache: its path, its bytes, and when it was last written or read (seconds since 1970)."""

    path: str
    size: int
    used: float


@dataclass(frozen=True, eq=False)
class Record:
    """A proof, as far as it says what its job made.

    Attributes:
        action: What names the job: proofs of one action have inputs with the same contents.
        named: Every digest in the proof: contents of inputs and outputs, traces, fingerprints.
        cost: Seconds, with dollars as seconds; None if it isn't recorded.
    """

    entry: Entry
    action: str
    outputs: dict[str, Content]
    named: frozenset[str]
    cost: float | None

    @cached_property
    def contents(self) -> frozenset[str]:
        """The contents of its outputs."""
        return frozenset(one.md5 for one in self.outputs.values())

    @property
    def inputs(self) -> frozenset[str]:
        """The contents of its inputs, among other digests."""
        return self.named - self.contents


class Inventory:
    """The files of a cache folder; files of unknown kinds are left out.

    Attributes:
        objects: By MD5; those of directory lists end in `.dir`.
        records: By folder: proofs, traces and the like.
        useless: Files of killed processes, and damaged objects that were moved away.
        unreadable: Why a record can't be read, by path.
    """

    def __init__(self, cache: str) -> None:
        self.cache = cache
        self.objects: dict[str, Entry] = {}
        self.useless = list(_files(os.path.join(cache, DAMAGED)))
        self.unreadable: dict[str, str] = {}
        for entry in _files(os.path.join(cache, OBJECTS)):
            found = OBJECT.fullmatch(os.path.relpath(entry.path, os.path.join(cache, OBJECTS)))
            if found:
                self.objects[found[1] + found[2]] = entry
            elif entry.path.endswith(PARTIAL):
                self.useless.append(entry)
        self.records: dict[str, list[Entry]] = {}
        for name in RECORDS:
            entries = list(_files(os.path.join(cache, name)))
            self.records[name] = [one for one in entries if not one.path.endswith(PARTIAL)]
            self.useless += [one for one in entries if one.path.endswith(PARTIAL)]
        self._wholes: dict[str, frozenset[str]] = {}

    @cached_property
    def kinds(self) -> dict[str, list[Entry]]:
        """All files by kind."""
        lists = [entry for md5, entry in self.objects.items() if md5.endswith(".dir")]
        files = [entry for md5, entry in self.objects.items() if not md5.endswith(".dir")]
        return {"files": files, "directory lists": lists, **self.records, "damaged and unfinished": self.useless}

    @property
    def size(self) -> int:
        """All bytes."""
        return sum(one.size for entries in self.kinds.values() for one in entries)

    @cached_property
    def proofs(self) -> list[Record]:
        """All proofs that can be read. Proofs of one action share its cost."""
        read = [one for name in PROOFS for entry in self.records[name] if (one := self._proof(entry, name))]
        known: dict[str, float] = {}
        for one in read:
            if one.cost is not None:
                known[one.action] = max(one.cost, known.get(one.action, 0))
        return [Record(one.entry, one.action, one.outputs, one.named, known.get(one.action)) for one in read]

    def _proof(self, entry: Entry, folder: str) -> Record | None:
        try:
            data = foreign.read(entry.path, quietly)
            found = foreign.table(foreign.from_json(data))
            outputs = {path: content_of(one) for path, one in foreign.table(found["outputs"]).items()}
            cost = {name: foreign.quantity(value) for name, value in foreign.table(found.get("cost", {})).items()}
        except (OSError, foreign.Malformed, KeyError) as error:
            self.unreadable[entry.path] = f"no proof: {error}"
            return None
        parts = os.path.relpath(entry.path, os.path.join(self.cache, folder)).split(os.sep)
        stem = parts[-1].removesuffix(".json")
        action = parts[1] if len(parts) > 2 else stem
        named = frozenset({stem, *(one.decode() for one in NAMED.findall(data))})
        return Record(entry, action, outputs, named, _seconds(cost))

    def listing(self, md5: str) -> list[Listing] | None:
        """The files of a directory; None if its list is missing, damaged, or not a list."""
        with suppress(OSError, foreign.Malformed, KeyError):
            data = foreign.read(self.objects[md5].path, quietly)
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir"):
                return listing_of(data)
        return None

    def whole(self, md5: str) -> frozenset[str]:
        """A content with the files of a directory, whether they are here or not."""
        if not md5.endswith(".dir"):
            return frozenset({md5})
        if md5 not in self._wholes:
            self._wholes[md5] = frozenset({md5, *(one.md5 for one in self.listing(md5) or [])})
        return self._wholes[md5]

    def folders(self, md5: str) -> set[str]:
        """The lists of folders in a directory: a rule's output may be a part of what DVC stores as one."""
        folders: dict[str, dict[str, Content]] = {}
        for found, name in self.listing(md5) or []:
            for end in (at for at, letter in enumerate(name) if letter == "/"):
                folders.setdefault(name[:end], {})[name[end + 1 :]] = Content(found, 0)
        return {directory(files).md5 for files in folders.values()}

    def bytes_of(self, md5s: Iterable[str]) -> int:
        """The bytes of objects, as far as they are here."""
        return sum(self.objects[md5].size for md5 in md5s if md5 in self.objects)


def quietly(path: str, flags: int) -> int:
    """An opener for `open` that keeps the time of last use: Linux allows that for one's own files."""
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return os.open(path, flags)


def size_below(folder: str) -> int:
    """The bytes of all files below a folder."""
    return sum(entry.size for entry in _files(folder))


def _files(folder: str) -> Iterator[Entry]:
    """All files below a folder; links aren't followed, and files may vanish meanwhile."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for one in entries:
            if one.is_dir(follow_symlinks=False):
                yield from _files(one.path)
                continue
            with suppress(FileNotFoundError):
                found = one.stat(follow_symlinks=False)
                yield Entry(one.path, found.st_size, max(found.st_mtime, found.st_atime))


def _seconds(cost: dict[str, float]) -> float | None:
    if "seconds" not in cost:
        return None
    return cost["seconds"] + DOLLAR * cost.get("dollars", 0)


def amount(size: float) -> str:
    """Bytes for people, such as `1.5 GB`."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people, such as `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def columns(rows: list[list[Any]]) -> str:
    """A table as text: the first column to the left, the others to the right."""
    widths = [max(len(str(one)) for one in column) for column in zip(*rows, strict=True)]
    lines = ([str(row[0]).ljust(widths[0]), *map(str.rjust, map(str, row[1:]), widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
