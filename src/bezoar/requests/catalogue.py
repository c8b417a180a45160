"""The catalogue: where each stored answer is, for all jobs of a run, so that a job opens no session but new ones.

The first job of a run reads all sessions, as a job by hand does, and writes what it found as one sorted segment. From
then on each session says when it begins to add answers, and when they are complete. Of those that are complete, some at
a time become a segment, and equal segments are merged. So a job reads few segments, and the sessions that are at work.

The catalogue holds nothing that isn't in the sessions: a run makes it anew, and it may be deleted between runs. One
lock guards its changes. A kill at any moment leaves it as it was before the change, or after it.
"""

import fcntl
import mmap
import os
import secrets
import shutil
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from bezoar.cache.modes import of_responses
from bezoar.requests.index import ANSWERS, entries_of
from bezoar.requests.open_batches import unsettled

CATALOGUE = Path(".snakemake/bezoar-answers")
STATE, LOCK, SESSIONS = "state.json", "lock", "sessions"
REST = np.dtype([("offset", "<u8"), ("session", "<u4"), ("length", "<u4")])  # of a segment's entries, after their keys
ENTRY_BYTES = 8 + REST.itemsize
AT_ONCE = 16  # complete sessions that become a segment together
FAN = 4  # segments of one level that become one of the next
FIRST = 99  # level of the first segment, which is never merged
RUNS = 8  # that are remembered: jobs of an earlier run may still be at work
MOMENT = 24  # characters of a session's time and random name
TRIES = 3  # to open it, while others make it anew
LONGEST_PAUSE = 48 * 3600.0  # seconds between two answers of a session that is still at work: a batch takes a day

Place = tuple[str, int, int]  # an answer's session, offset and length


class State(BaseModel):
    """What the catalogue has.

    Attributes:
        generation: Name of the folder of its segments.
        runs: Runs for which all sessions were read.
        segments: Level and number of entries of each segment's file, by its name.
        began: Where sessions that are at work have their first answer that is in no segment.
        complete: Sessions whose answers are complete, with the same.
        batches: Ledgers with batches that may not be settled.
    """

    generation: str
    runs: list[str] = []
    segments: dict[str, tuple[int, int]] = {}
    began: dict[str, int] = {}
    complete: list[tuple[str, int]] = []
    batches: list[str] = []


class Segment:
    """A file of entries, sorted by key; nothing changes it."""

    def __init__(self, path: Path, count: int) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._map) != count * ENTRY_BYTES:
            raise ValueError(f"{path}: {len(self._map)} bytes for {count} entries")
        self.keys = memoryview(self._map)[: 8 * count].cast("Q")
        self.rest = np.frombuffer(self._map, REST, offset=8 * count)

    def find(self, number: int) -> Iterator[tuple[int, int, int]]:
        """Session, offset and length of each entry of a key."""
        place = bisect_left(self.keys, number)
        while place < len(self.keys) and self.keys[place] == number:
            offset, session, length = self.rest[place].item()
            yield session, offset, length
            place += 1

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Keys and the rest."""
        return np.frombuffer(self.keys, np.uint64), self.rest


class Catalogue:
    """The catalogue as one process sees it.

    Args:
        answers: The folder of sessions.
        run: The process's run; None for a process by hand, which reads the sessions itself, and only tells the jobs of
            runs what it adds.
        folder: The catalogue's folder.
    """

    def __init__(self, answers: Path, run: str | None, folder: Path = CATALOGUE) -> None:
        self.answers, self.run, self.folder = answers, run, folder
        self._modes = of_responses()
        self._generation = ""
        self._segments: dict[str, Segment] = {}
        self._names: IO[bytes] | None = None
        state = self._read() if run else None
        if run and (state is None or run not in state.runs):
            self._make()

    def __len__(self) -> int:
        return sum(len(segment.keys) for segment in self._segments.values())

    def refresh(self) -> dict[str, int]:
        """Look at what changed; returns the sessions with answers in no segment, and where these begin."""
        for _ in range(TRIES):
            state = self._read()
            try:
                if state:
                    self._open(state)
                    return _new(state)
                self._make()  # it was deleted
            except (OSError, ValueError):  # it was made anew, or a power cut broke it
                self._drop(state)
        raise OSError(f"{self.folder} can't be read")

    def find(self, number: int) -> Iterator[Place]:
        """Where the answers to a key are."""
        for segment in self._segments.values():
            for session, offset, length in segment.find(number):
                yield self._name(session), offset, length

    def begin(self, session: str, start: int) -> None:
        """Say that a session adds answers from an offset on; before the first one."""
        with self._changed() as state:
            for other in [name for name in state.began if name != session and _job(name) == _job(session)]:
                if self.run:  # a run has one process at a time for a job, so the other one was killed
                    state.complete.append((other, state.began.pop(other)))
            state.began[session] = start

    def end(self, session: str, start: int) -> None:
        """Say that these answers are complete."""
        with self._changed() as state:
            state.began.pop(session, None)
            state.complete.append((session, start))
            if len(state.complete) >= AT_ONCE:
                self._absorb(state)

    def begin_batch(self, ledger: str) -> None:
        """Say that a ledger will tell of a batch; before it does."""
        with self._changed() as state:
            if ledger not in state.batches:
                state.batches.append(ledger)

    def ledgers_with_batches(self) -> list[Path] | None:
        """Ledgers that may tell of batches which aren't settled; None where nobody knows."""
        state = self._read() if self.run else None
        return [self.answers / name for name in state.batches] if state else None

    def _read(self) -> State | None:
        with suppress(OSError, ValidationError):
            return State.model_validate_json((self.folder / STATE).read_bytes())
        return None

    def _open(self, state: State) -> None:
        if state.generation != self._generation:
            names = (self.folder / state.generation / SESSIONS).open("rb")
            self._generation, self._segments, self._names = state.generation, {}, names
        for name in self._segments.keys() - state.segments.keys():
            del self._segments[name]
        for name, (_, count) in state.segments.items():
            if name not in self._segments:
                self._segments[name] = Segment(self.folder / state.generation / name, count)

    def _name(self, session: int) -> str:
        assert self._names
        self._names.seek(session)
        return self._names.readline().decode().rstrip("\n")

    # Changes, under the lock

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._make_folder(self.folder)
        with (self.folder / LOCK).open("w") as file:
            self._share(file.fileno(), self._modes[1])
            fcntl.lockf(file, fcntl.LOCK_EX)  # a lock of the file system holds on all machines that share it
            yield

    @contextmanager
    def _changed(self) -> Iterator[State]:
        if self.run is None and not (self.folder / STATE).exists():
            yield State(generation="")  # no run reads it
            return
        with self._locked():
            state = self._read() or self._made(None)
            yield state
            self._write(state)

    def _make(self) -> None:
        """Read all sessions, unless another job of the run has."""
        with self._locked():
            last = self._read()
            if last is None or self.run not in last.runs:
                self._write(self._made(last))

    def _drop(self, state: State | None) -> None:
        """Drop a catalogue that can't be opened, unless it has been made anew since."""
        with self._locked():
            now = self._read()
            if now and state and now.generation == state.generation:
                try:
                    self._open(now)
                except (OSError, ValueError):
                    (self.folder / STATE).unlink()

    def _made(self, last: State | None) -> State:
        """A catalogue of all sessions, in a folder of its own; the last one's folder stays for its readers."""
        for path in self.folder.iterdir():
            if path.is_dir() and (last is None or path.name != last.generation):
                shutil.rmtree(path, ignore_errors=True)
        before = last or State(generation="")
        batches = unsettled(self.answers)
        expected = [name for name in before.batches if not (self.answers / name).exists()]
        state = State(generation=secrets.token_hex(6), batches=sorted({*batches, *expected}))
        state.runs = [*before.runs, *filter(None, [self.run])][-RUNS:]
        self._make_folder(self.folder / state.generation)
        names = [path.relative_to(self.answers).as_posix() for path in sorted(self.answers.glob(f"*/*{ANSWERS}"))]
        read = self._add(state, [(name, 0) for name in names], FIRST)
        state.began = {name: read.get(name, 0) for name in before.began if self._at_work(name)}
        return state

    def _at_work(self, session: str) -> bool:
        """Whether a session that had begun may still go on: its process may be of an earlier run."""
        with suppress(FileNotFoundError):
            return time.time() - (self.answers / session).stat().st_mtime < LONGEST_PAUSE
        return True  # it was about to write

    def _absorb(self, state: State) -> None:
        """Make a segment of what is complete, and one of the segments of a level, once there are enough."""
        self._add(state, state.complete, 0)
        state.complete = []
        level = 0
        while len(equal := [name for name, (one, _) in state.segments.items() if one == level]) >= FAN:
            self._open(state)
            parts = [self._segments[name].arrays() for name in equal]
            for name in equal:
                del state.segments[name]
            level += 1
            self._publish(state, [keys for keys, _ in parts], [rest for _, rest in parts], level)

    def _add(self, state: State, sessions: list[tuple[str, int]], level: int) -> dict[str, int]:
        """Add a segment of sessions' answers from an offset on; returns how far each session was read."""
        keys, rests, read = [], [], {}
        with _appended(self.folder / state.generation / SESSIONS) as file:
            for name, start in sessions:
                with suppress(FileNotFoundError):
                    entries, read[name] = entries_of(self.answers / name, start)
                    rest = np.empty(len(entries), REST)
                    rest["offset"], rest["length"], rest["session"] = entries["offset"], entries["length"], file.tell()
                    file.write(f"{name}\n".encode())
                    keys.append(entries["key"])
                    rests.append(rest)
        self._publish(state, keys, rests, level)
        return read

    def _publish(self, state: State, keys: list[NDArray[Any]], rests: list[NDArray[Any]], level: int) -> None:
        if not sum(map(len, keys)):
            return
        both = np.concatenate(keys).astype(np.uint64), np.concatenate(rests)
        order = np.argsort(both[0], kind="stable")
        name = f"{level}-{secrets.token_hex(6)}"
        path = self.folder / state.generation / name
        self._replace(path, b"".join(part[order].tobytes() for part in both), sync=True)
        state.segments[name] = (level, len(order))

    def _write(self, state: State) -> None:
        self._replace(self.folder / STATE, state.model_dump_json().encode())

    def _replace(self, path: Path, data: bytes, *, sync: bool = False) -> None:
        """Write a file completely or not at all; only one process at a time does."""
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            self._share(file.fileno(), self._modes[1])
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)

    def _make_folder(self, path: Path) -> None:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            self._share(path, self._modes[0])

    @staticmethod
    def _share(path: Path | int, mode: int) -> None:
        """Let those use a file or a folder who may use answers."""
        with suppress(PermissionError):  # another member's of the group
            os.chmod(path, mode)


def _new(state: State) -> dict[str, int]:
    """Sessions with answers in no segment, and where these begin."""
    new = dict(state.began)
    for name, start in state.complete:
        new[name] = min(start, new.get(name, start))
    return new


def _job(session: str) -> str:
    """The stage and part of a session, by its name."""
    return session[: -len(ANSWERS) - MOMENT]


@contextmanager
def _appended(path: Path) -> Iterator[IO[bytes]]:
    """A file of lines to append to; a line that a kill cut is ended first."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.seek(0, os.SEEK_END)
        yield file
