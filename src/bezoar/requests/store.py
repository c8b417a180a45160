"""Stored answers: each process appends to its own file, all processes read them, nothing is changed.

Each job that gets answers writes `<stage>/<part>-<time>-<random>.answers.jsonl`, with a `.ledger.jsonl` and, at its
end, an `.index` beside it. So a shared file system needs no locks, a kill loses at most the last line, and copying
merges two people's folders. A million answers in 100 sessions open in 0.34 s (docs/appendix/benchmarks-requests.md).
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.cache.modes import make_response_folder
from bezoar.requests.calls import decoded
from bezoar.requests.catalogue import Catalogue
from bezoar.requests.index import ANSWERS, ENTRY, INDEX, LEDGER, entries_of, number_of, write_index
from bezoar.requests.open_batches import Batch, open_batches

FOLDER = Path("responses")
SECONDS_BETWEEN_SYNCS = 1.0  # a kill loses nothing that was written, a power cut at most this


class Appender:
    """A JSON-lines file that this process alone appends to; the first line creates it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file: int | None = None
        self._torn = False
        self._synced = 0.0

    def add(self, data: dict[str, Any]) -> tuple[int, int]:
        """Append a line; its offset and its length in bytes."""
        line = (json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()
        if self._file is None:
            mode = make_response_folder(self.path.parent)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, mode)
            os.fchmod(self._file, mode)  # whatever the umask is
        if self._torn:  # the disk was full: end the incomplete line
            self._write(b"\n")
        offset, self._torn = self.size, True
        self._write(line)
        self._torn = False
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()
        return offset, len(line)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            written = os.write(self._file, rest)
            rest, self.size = rest[written:], self.size + written

    def sync(self) -> None:
        """Sync the file to disk."""
        if self._file is not None:
            os.fsync(self._file)
            self._synced = time.monotonic()


class Store:
    """The answers in a folder, and a session that adds to them.

    If a key has several answers, the same job's comes first, then the oldest: a job finds the same answers
    that its artifact was made from.

    Args:
        stage: Stage of the job, which names the folder of its session.
        part: The job's part of the stage, such as a shard.
        folder: Folder of all sessions.
        run: The job's run, whose jobs share a catalogue of the sessions; None for a script by hand, which reads all.
    """

    def __init__(self, stage: str, part: str, folder: Path = FOLDER, run: str | None = None) -> None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.folder = folder
        self.catalogue = Catalogue(folder, run)
        self.own = f"{stage}/{part}-"
        session = folder / stage / f"{part}-{moment}-{secrets.token_hex(4)}"
        self.answers, self.ledger = Appender(Path(f"{session}{ANSWERS}")), Appender(Path(f"{session}{LEDGER}"))
        self._index = Path(f"{session}{INDEX}")
        self._added: dict[str, tuple[int, int]] = {}
        self._began: int | None = None  # the offset of the first answer that isn't settled
        self._files: list[Path] = []
        self._seen: dict[Path, int] = {}  # bytes of each file that were read
        self._entries = np.empty(0, ENTRY)
        self._keys = np.empty(0, np.uint64)  # of the entries, contiguous: numpy would copy them for each search
        self._sources = np.empty(0, np.uint32)
        self.refresh()

    def __len__(self) -> int:
        return len(self.catalogue) + len(self._entries) + len(self._added)

    def refresh(self) -> None:
        """Read what other sessions have written since."""
        found = self._sessions()
        fresh = [path for path, start in found.items() if path != self.answers.path and _size(path) > start]
        if not fresh:
            return
        entries, sources = [self._entries], [self._sources]
        for path in fresh:
            part, read = entries_of(path, found[path])
            entries.append(part)
            sources.append(np.full(len(part), len(self._files), np.uint32))
            self._files.append(path)
            self._seen[path] = read
        everything, origin = np.concatenate(entries), np.concatenate(sources)
        order = np.argsort(everything["key"], kind="stable")
        self._entries, self._sources = everything[order], origin[order]
        self._keys = np.ascontiguousarray(self._entries["key"])

    def _sessions(self) -> dict[Path, int]:
        """Sessions that may have new answers, and where these begin."""
        if self.catalogue.run is None:
            return {path: self._seen.get(path, 0) for path in self.folder.glob(f"*/*{ANSWERS}")}
        new = {self.folder / name: start for name, start in self.catalogue.refresh().items()}
        return {path: max(start, self._seen.get(path, 0)) for path, start in new.items()}

    def find(self, key: str) -> dict[str, Any] | None:
        """The record of a key: an answer, else a refusal, else None."""
        refused = _read(self.answers.path, *self._added[key]) if key in self._added else None
        if refused and "response" in refused:
            return refused
        for path, offset, length in sorted(self._places(number_of(key)), key=lambda place: self._rank(place[0])):
            record = _read(path, offset, length)
            if record and record.get("key") == key:
                if "response" in record:
                    return record
                refused = refused or record
        return refused

    def _places(self, number: int) -> Iterator[tuple[Path, int, int]]:
        """Where answers to a key may be."""
        wanted = np.uint64(number)
        place = int(np.searchsorted(self._keys, wanted))
        while place < len(self._keys) and self._keys[place] == wanted:
            entry = self._entries[place]
            yield self._files[self._sources[place]], int(entry["offset"]), int(entry["length"])
            place += 1
        for name, offset, length in self.catalogue.find(number):
            yield self.folder / name, offset, length

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Append an answer."""
        if self._began is None:
            self._began = self.answers.size
            self.catalogue.begin(self._name(self.answers), self._began)
        self._added[key] = self.answers.add({"key": key, **record})  # the key first: the index is read from the lines

    def settle(self) -> None:
        """Sync all to disk and write the index; more answers may follow."""
        self.answers.sync()
        self.ledger.sync()
        if self._began is not None:
            write_index(self._index, self.answers.path)
            self.catalogue.end(self._name(self.answers), self._began)
            self._began = None

    def expect_batch(self) -> None:
        """Say that the ledger will tell of a batch; before it does."""
        self.catalogue.begin_batch(self._name(self.ledger))

    def open_batches(self, stage: str) -> list[Batch]:
        """Batches of a stage that were submitted and aren't settled."""
        return list(open_batches(self.folder, stage, self.catalogue.ledgers_with_batches()))

    def _name(self, file: Appender) -> str:
        return file.path.relative_to(self.folder).as_posix()

    def _rank(self, path: Path) -> tuple[bool, str]:
        """A session's place among those with an answer to the same call."""
        name = path.relative_to(self.folder).as_posix()
        return not name.startswith(self.own), path.name.removesuffix(ANSWERS)[-24:] + name  # own first, then by time


def lines_of(folder: Path, ending: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every complete line of the files with that ending, by name; a line that a kill cut is left out."""
    for path in sorted(folder.glob(f"*/*{ending}")):
        with path.open("rb") as file:
            for line in file:
                with suppress(ValueError):
                    data = decoded(line)
                    if isinstance(data, dict):
                        yield path, data


def _read(path: Path, offset: int, length: int) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = decoded(file.read(length))
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("response", data.get("failure")), str) else None


def _size(path: Path) -> int:
    """A file's bytes; none if it isn't there, or not yet."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
