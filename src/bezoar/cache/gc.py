"""`bezoar gc`: drop what is cheap to make again or long unused, and nothing that a kept dvc.lock needs.

A job's outputs and its proof go together, so that a proof that stays has all of its objects. The proof goes last: after
a kill in the middle it still says what the rest belongs to, and its job counts as not restorable.
"""

import heapq
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bezoar.cache import CacheError, foreign, modes
from bezoar.cache.hashing import Hasher
from bezoar.cache.inventory import UNKNOWN, Entry, Inventory, Record, quietly
from bezoar.cache.needs import Needs, contents_in
from bezoar.cache.objects import unwritable
from bezoar.errors import problem
from bezoar.yaml12 import Loader

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{letter}IB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)
}
TIMES = {"H": 3600, "D": 86400, "W": 7 * 86400}  # seconds
LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")
REST = 86400  # seconds for which a shared cache keeps everything: another folder's run may be using it


@dataclass(frozen=True)
class Limit:
    """How much to keep: bytes, or what was used in the last seconds."""

    size: float | None = None
    seconds: float | None = None


def limit(text: str) -> Limit:
    """A limit such as `50GB` or `30d`.

    Raises:
        CacheError: It is neither a size nor a time.
    """
    found = LIMIT.fullmatch(text.strip())
    unit = found[2].upper() if found else None
    if found and unit in TIMES:
        return Limit(seconds=float(found[1]) * TIMES[unit])
    if found and unit in UNITS and (unit or float(found[1]) == 0):
        return Limit(size=float(found[1]) * UNITS[unit])
    raise CacheError(
        problem("no size and no time", found=text, expected="a number with B, kB, MB, GB, TB, KiB ..., or h, d, w")
    )


@dataclass
class Choice:
    """What to drop.

    Attributes:
        jobs: Proofs in the order in which they go, each with the objects that go with it; the proof itself stays if
            its outputs are sound on disk.
        loose: Objects that no proof and no dvc.lock names.
        useless: Files of killed processes, and damaged objects.
        records: Proofs of objects that were missing before, traces, entries of DVC's run cache, and parts of
            fingerprints that nothing names any more.
    """

    jobs: list[tuple[Record, list[str]]] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    useless: list[Entry] = field(default_factory=list)
    records: list[Entry] = field(default_factory=list)
    on_disk: set[Record] = field(default_factory=set)

    @property
    def objects(self) -> set[str]:
        """All objects to drop."""
        return {*self.loose, *(md5 for _, objects in self.jobs for md5 in objects)}

    @property
    def forgotten(self) -> list[Record]:
        """The proofs to drop with their objects."""
        return [record for record, _ in self.jobs if record not in self.on_disk]


class Chooser:
    """Chooses what to drop from a cache.

    Args:
        shared: Whether other folders may use the cache.
        now: Seconds since 1970.
    """

    def __init__(self, inventory: Inventory, needs: Needs, hasher: Hasher, *, shared: bool, now: float) -> None:
        self.inventory, self.needs, self.hasher = inventory, needs, hasher
        self.shared, self.now = shared, now
        self.gone: set[str] = set()
        self._order: list[Record] = []
        self._taken: dict[Record, list[str]] = {}
        self._own: dict[Record, set[str]] = {}  # objects that are here and that no dvc.lock needs
        for record in inventory.proofs:
            named = {one for md5 in record.contents for one in inventory.whole(md5)}
            self._own[record] = (named & inventory.objects.keys()) - needs.contents
        self._owners = Counter(md5 for objects in self._own.values() for md5 in objects)
        self._used = {record: self._last_use(record) for record in self._own}
        self._makers: dict[str, list[Record]] = {}
        for record in self._own:
            for md5 in record.contents:
                self._makers.setdefault(md5, []).append(record)

    def choose(self, keep: Limit) -> Choice:
        """What to drop so that at most this much stays, as far as it isn't needed."""
        choice = Choice(useless=[one for one in self.inventory.useless if self._at_rest(one.used)])
        loose = [
            (entry.used, md5)
            for md5, entry in self.inventory.objects.items()
            if md5 not in self._owners and md5 not in self.needs.contents and self._at_rest(entry.used)
        ]
        if keep.seconds is not None:
            oldest = self.now - keep.seconds
            old = [one for one, used in self._used.items() if used < oldest and self._at_rest(used)]
            for record in sorted(old, key=self._used.__getitem__):
                self._take(record)
            choice.loose = [md5 for used, md5 in sorted(loose) if used < oldest]
        else:
            excess = self.inventory.size - (keep.size or 0) - sum(one.size for one in choice.useless)
            excess = self._take_cheapest(excess)
            for _, md5 in sorted(loose) if not self.shared else ():  # others' objects, perhaps
                if excess <= 0:
                    break
                choice.loose.append(md5)
                excess -= self.inventory.objects[md5].size
            oldest = min((self._used[one] for one in self._own if self._stays(one)), default=0)
            choice.loose += self._broken_lists({md5 for _, md5 in loose} - set(choice.loose))
        self.gone |= set(choice.loose)
        choice.jobs = [(one, self._taken[one]) for one in self._order if not self.gone.isdisjoint(self._own[one])]
        choice.on_disk = {record for record, _ in choice.jobs if self._on_disk(record)}
        choice.records = self._orphans(oldest)
        choice.records += self._unnamed({*choice.forgotten}, {one.path for one in choice.records})
        return choice

    def _take_cheapest(self, excess: float) -> float:
        """Take jobs, the cheapest first and of equal ones the largest, and return the bytes that are still too many.

        A job becomes dearer when one that it depends on is taken, so costs are computed again before it goes.
        """
        heap = [
            (self._cost(record), -self.inventory.bytes_of(objects), number, record)
            for number, (record, objects) in enumerate(self._own.items())
            if objects and self._at_rest(self._used[record])
        ]
        heapq.heapify(heap)
        while heap and excess > 0:
            cost, size, number, record = heapq.heappop(heap)
            if (now := self._cost(record)) > cost:
                heapq.heappush(heap, (now, size, number, record))
                continue
            excess -= self._take(record)
        return excess

    def _take(self, record: Record) -> int:
        """Take a job's proof, and the objects that no other proof names; their bytes."""
        last = sorted(md5 for md5 in self._own[record] if self._owners[md5] == 1)
        self._owners.subtract(self._own[record])
        self._order.append(record)
        self._taken[record] = sorted(last, key=lambda md5: md5.endswith(".dir"))
        self.gone |= set(last)
        return self.inventory.bytes_of(last) + (record.entry.size if last else 0)

    def _cost(self, record: Record) -> float:
        """Seconds to make a job's outputs from what stays: its own, and those of jobs before it that are gone."""
        total, todo, seen = 0.0, [record], {record}
        while todo:
            one = todo.pop()
            total += UNKNOWN if one.cost is None else one.cost
            for md5 in one.inputs & self._makers.keys():
                if md5 in self.gone or not self._is_here(md5):
                    cheapest = min(self._makers[md5], key=lambda maker: UNKNOWN if maker.cost is None else maker.cost)
                    if cheapest not in seen:
                        seen.add(cheapest)
                        todo.append(cheapest)
        return total

    def _is_here(self, md5: str) -> bool:
        return md5 in self.inventory.objects or md5 in self.needs.contents

    def _last_use(self, record: Record) -> float:
        return max([record.entry.used, *(self.inventory.objects[md5].used for md5 in self._own[record])])

    def _at_rest(self, used: float) -> bool:
        return not self.shared or used < self.now - REST

    def _is_needed(self, record: Record) -> bool:
        return record.contents <= self.needs.contents

    def _stays(self, record: Record) -> bool:
        """Whether all of a proof's objects are here and stay."""
        needed = all(map(self._is_here, record.contents))
        return needed and self.gone.isdisjoint(self._own[record])

    def _broken_lists(self, loose: set[str]) -> list[str]:
        """Lists of directories, of folders around several jobs' outputs, with files that go."""
        lists = sorted(md5 for md5 in loose if md5.endswith(".dir"))
        return [] if self.shared else [one for one in lists if not self.gone.isdisjoint(self.inventory.whole(one))]

    def _on_disk(self, record: Record) -> bool:
        """Whether the job's outputs are in this folder as it made them: it then doesn't run, without any object."""
        with suppress(CacheError):
            paths = [foreign.relpath(path) for path in record.outputs]
            return all(map(os.path.lexists, paths)) and all(
                self.hasher.holds(path, content.md5) for path, content in record.outputs.items()
            )
        return False

    def _orphans(self, oldest: float) -> list[Entry]:
        """Proofs without objects, if they are older than what stays: a remote may still have these."""
        return [
            record.entry
            for record, objects in self._own.items()
            if not objects
            and not self._is_needed(record)
            and self._used[record] < oldest
            and self._at_rest(self._used[record])
            and not self._on_disk(record)
        ]

    def _unnamed(self, forgotten: set[Record], dropped: set[str]) -> list[Entry]:
        """Records that belong to no proof that stays."""
        named = {*self.needs.digests}
        for record in self._own:
            if record not in forgotten and record.entry.path not in dropped:
                named |= record.named
        found = [
            entry
            for kind in ("traces", "code")
            for entry in self.inventory.records[kind]
            if self._at_rest(entry.used) and Path(entry.path).stem not in named
        ]
        return found + [one for one in self.inventory.records["runs"] if self._at_rest(one.used) and self._is_void(one)]

    def _is_void(self, entry: Entry) -> bool:
        """Whether an entry of DVC's run cache names outputs that are gone."""
        try:
            outs = foreign.table(foreign.from_yaml(foreign.read(entry.path, quietly), Loader)).get("outs")
        except (OSError, foreign.Malformed) as error:
            self.inventory.unreadable[entry.path] = f"no entry of DVC's run cache: {error}"
            return False
        objects = {one for md5 in contents_in(outs) for one in self.inventory.whole(md5)}
        return any(
            md5 not in self.needs.contents and (md5 in self.gone or md5 not in self.inventory.objects)
            for md5 in objects
        )


def drop(choice: Choice, inventory: Inventory, *, shared: bool) -> Iterator[None]:
    """Remove what was chosen, and yield after each job and each other file.

    Raises:
        CacheError: A file can't be removed; what is left is sound.
    """
    try:
        for one in choice.useless:
            _remove(one.path)
            yield
        for record, objects in choice.jobs:
            for md5 in objects:
                _remove(inventory.objects[md5].path)
            if record not in choice.on_disk:
                _remove(record.entry.path)
                _tidy(record.entry.path, shared=shared)
            yield
        for md5 in choice.loose:
            _remove(inventory.objects[md5].path)
            yield
        for one in choice.records:
            _remove(one.path)
            _tidy(one.path, shared=shared)
            yield
    except OSError as error:
        raise unwritable(inventory.cache, error) from error


def steps_of(choice: Choice) -> int:
    """How often `drop` yields."""
    return len(choice.useless) + len(choice.jobs) + len(choice.loose) + len(choice.records)


def is_shared(cache: str) -> bool:
    """Whether other folders may use this cache: a group shares it, or it isn't inside this folder."""
    return modes.is_shared(cache) or Path.cwd().resolve() not in Path(cache).resolve().parents


def check_allowed(cache: str, *, shared: bool, allowed: bool) -> None:
    """Refuse a cache that others may use, unless the user allows it.

    Raises:
        CacheError: It may be used by others.
    """
    if shared and not allowed:
        raise CacheError(
            problem(
                f"others may use the cache {cache}",
                found="a folder of a group, or one outside of this project",
                expected="a cache of this project alone",
                hint="with --shared, proven outputs go even if another folder's dvc.lock needs them; it fetches them "
                "from its remote, or makes them again. Objects without a proof go by TIME only",
            )
        )


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _tidy(path: str, *, shared: bool) -> None:
    """Remove a record's folder if it is empty; in a shared cache somebody may be about to write to it."""
    if not shared:
        with suppress(OSError):
            os.rmdir(os.path.dirname(path))
