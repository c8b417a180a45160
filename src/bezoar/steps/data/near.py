"""Near-duplicates: candidates by MinHash and bands, each compared in full; shingles are in temporary files.

Two rows are near-duplicates if their prompts and their responses are: each with at least the threshold's similarity.
So two questions about one long passage aren't, unless they also have the same answer.
"""

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import xxhash

from bezoar.steps.data.rows import normalized
from bezoar.steps.data.shingles import RESPONSE, Shingles, jaccard, shingles

# 25 bands of 8 hashes: of pairs with a similarity of 0.8, 1 - (1 - 0.8^8)^25 = 99 % are candidates; of 0.5, 9 %
BANDS, HASHES = 25, 8
SEED = 1  # of the hashes
# The last byte of each hash estimates a similarity: rows of one template share bands, and few are compared in full.
MARKS, MARGIN = BANDS * HASHES, 0.12  # 4 standard deviations of that estimate at a similarity of 0.8
FACTORS = np.array([pow(0xC2B2AE3D27D4EB4F, power, 1 << 64) for power in range(1, HASHES + 1)], dtype=np.uint64)
BATCH = 1_000  # rows whose hashes are computed at once
WORD = 8  # bytes of a shingle
NONE = -1
Numbers = np.ndarray[Any, np.dtype[Any]]


class Texts:
    """Shingles of rows, by number from 0, and the hashes of their bands, in temporary files."""

    def __init__(self, threshold: float, *, prompts: bool) -> None:
        """No texts yet.

        Args:
            threshold: The least Jaccard similarity of near-duplicates.
            prompts: Whether prompts alone are compared, without responses.
        """
        self.threshold, self._prompts = threshold, prompts
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile())
            self._marks = stack.enter_context(tempfile.TemporaryFile())
            self._bands = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(BANDS)]
            self._files = stack.pop_all()
        self._ends = array("Q", [0])  # of each row's prompt and response
        self._batch: list[Shingles] = []

    def __len__(self) -> int:
        return len(self._ends) // 2

    def close(self) -> None:
        """Remove the files."""
        self._files.close()

    def add(self, prompt: str, response: str, system: str) -> None:
        """Add a row; one without any word is like no other, nor are rows under different system texts."""
        salt = np.uint64(xxhash.xxh3_64_intdigest(normalized(system).encode()) if system else 0)
        found = [shingles(prompt) ^ salt, shingles("" if self._prompts else response) ^ RESPONSE]
        for one in found:
            self._file.write(one.tobytes())
            self._ends.append(self._ends[-1] + one.size)
        self._batch.append(np.concatenate(found))
        if len(self._batch) == BATCH:
            self._write_bands()

    def _write_bands(self) -> None:
        from rensa import RMinHash

        ends = np.cumsum([0, *(one.size for one in self._batch)])
        flat = np.concatenate(self._batch)
        rows = RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, BANDS * HASHES, SEED).to_rows()
        hashes = np.array(rows, np.uint64).reshape(-1, BANDS, HASHES)
        for file, band in zip(self._bands, ((hashes * FACTORS).sum(axis=2)).T, strict=True):
            file.write(band.tobytes())
        self._marks.write(hashes.astype(np.uint8).tobytes())
        self._batch = []

    def bands(self) -> Iterator[Numbers]:
        """For each band, the number of each row's group: a group has rows with the same hashes; NONE if it is alone."""
        ends = np.frombuffer(self._ends, np.uint64)
        empty = ends[2::2] == ends[:-1:2]
        first = 0
        for file in self._bands:
            file.seek(0)
            _, groups, sizes = np.unique(np.fromfile(file, np.uint64), return_inverse=True, return_counts=True)
            shared = sizes > 1
            numbers = np.where(shared, np.cumsum(shared) - 1 + first, NONE).astype(np.int32)[groups]
            numbers[empty] = NONE
            first += int(shared.sum())
            yield numbers

    def marks(self, rows: Numbers) -> Numbers:
        """The marks of some rows; each has the share of marks with another that is about their similarity."""
        self._marks.flush()
        return np.memmap(self._marks, np.uint8, "r", shape=(len(self), MARKS))[rows]

    def similarity(self, one: int, other: int) -> float:
        """The lower of the similarities of two rows' prompts and of their responses; 0 if it is below the threshold."""
        least = 1.0
        for part in (0, 1):
            first, second = self._size(one, part), self._size(other, part)
            if min(first, second) < self.threshold * max(first, second):
                return 0.0
        for part in (0, 1):
            least = min(least, jaccard(self._read(one, part), self._read(other, part)))
            if least < self.threshold:
                return 0.0
        return least

    def _size(self, number: int, part: int) -> int:
        place = 2 * number + part
        return self._ends[place + 1] - self._ends[place]

    def _read(self, number: int, part: int) -> Shingles:
        place = 2 * number + part
        size, start = self._ends[place + 1] - self._ends[place], self._ends[place]
        return np.frombuffer(os.pread(self._file.fileno(), size * WORD, start * WORD), np.uint64)

    def flush(self) -> None:
        """Write what is in memory, so that it can be read."""
        if self._batch:
            self._write_bands()
        self._file.flush()


class Candidates:
    """The rows that share a band with a row and were added before it."""

    def __init__(self, texts: Texts) -> None:
        texts.flush()
        self.texts = texts
        shared = np.zeros(len(texts), bool)
        for band in texts.bands():
            shared |= band != NONE
        self.places = np.where(shared, np.cumsum(shared) - 1, NONE).astype(np.int32)
        self._groups = np.empty((int(shared.sum()), BANDS), np.int32)
        for number, band in enumerate(texts.bands()):
            self._groups[:, number] = band[shared]
        self._marks = texts.marks(shared) if shared.any() else np.empty((0, MARKS), np.uint8)
        self._last = array("i", [NONE]) * (int(self._groups.max(initial=NONE)) + 1)  # of each group
        self._before = array("i", [NONE]) * self._groups.size  # of each row in each of its groups

    def add(self, number: int) -> None:
        """Add a row to its groups."""
        place = int(self.places[number])
        if place == NONE:
            return
        for band, group in enumerate(self._groups[place].tolist()):
            if group != NONE:
                self._before[place * BANDS + band], self._last[group] = self._last[group], number

    def of(self, number: int) -> list[int]:
        """The rows so far that share a group with a row, but for those that are surely less similar."""
        place, found = int(self.places[number]), set[int]()
        if place == NONE:
            return []
        for band, group in enumerate(self._groups[place].tolist()):
            other = self._last[group] if group != NONE else NONE
            while other != NONE:
                found.add(other)
                other = self._before[int(self.places[other]) * BANDS + band]
        rows = np.fromiter(found, np.int64, len(found))
        shares = (self._marks[self.places[rows]] == self._marks[place]).mean(axis=1)
        return [int(row) for row in rows[shares >= self.texts.threshold - MARGIN]]


class Clusters:
    """Rows without their near-duplicates, part by part."""

    def __init__(self, texts: list[Texts], own: int, related: Callable[[int, int], bool] | None = None) -> None:
        """No part yet.

        Args:
            texts: What is compared: rows are near-duplicates if they are by any of these.
            own: The number of rows that may be dropped; the later ones of the texts are only compared to.
            related: Whether two rows may stay beside each other, however similar they are.
        """
        self._all, self._own, self._related = [Candidates(one) for one in texts], own, related
        rows = len(texts[0]) if texts else 0
        self._order = array("i", [0]) * rows  # 0 for a row that isn't there, else when it came
        self._count = 0
        self._above: dict[int, int] = {}
        for number in range(own, rows):
            self._add(number)

    def thin(self, numbers: Iterable[int]) -> Iterator[tuple[int, int, float]]:
        """Add the rows of a part in an order: of two near-duplicates, the later one is lost.

        Yields:
            Each row that is lost, the row that stays for it, and their similarity.
        """
        for number in numbers:
            near = self._near(number)
            drops = [one for one in near if one[1] < self._own and not self._may_stay(number, one[1])]
            if drops:
                similarity, kept = max(drops, key=lambda one: (one[0], -self._order[one[1]]))
                yield number, kept, similarity
            else:
                self._add(number)

    def _may_stay(self, one: int, other: int) -> bool:
        return self._related is not None and self._related(one, other)

    def leave(self, number: int) -> None:
        """Forget a row that isn't taken: later parts don't lose rows for it."""
        if self._all:
            self._order[number] = 0

    def _add(self, number: int) -> None:
        self._count += 1
        self._order[number] = self._count
        for one in self._all:
            one.add(number)

    def _near(self, number: int) -> list[tuple[float, int]]:
        """The near-duplicates of a row that are there, each with its similarity."""
        found: dict[int, float] = {}
        for one in self._all:
            for other in one.of(number):
                if self._order[other] and (similarity := one.texts.similarity(number, other)):
                    found[other] = max(similarity, found.get(other, 0.0))
        for other in found:
            self._join(number, other)
        return [(similarity, other) for other, similarity in found.items()]

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self.top(one), self.top(other)))
        self._above[second] = first

    def top(self, number: int) -> int:
        """A row that stands for a row's cluster; itself, if it is alone."""
        while (above := self._above.get(number, number)) != number:
            self._above[number] = self._above.get(above, above)
            number = above
        return number

    def members(self) -> Iterable[list[int]]:
        """The rows of each cluster of two or more."""
        found: dict[int, list[int]] = {}
        for number in {*self._above, *self._above.values()}:
            found.setdefault(self.top(number), []).append(number)
        return found.values()
