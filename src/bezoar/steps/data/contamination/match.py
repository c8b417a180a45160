"""Rows that repeat evaluation items: a first pass counts seeds, a second one compares the rows with enough of them.

A seed that many rows share is boilerplate, such as a system text: what it covers weighs less. So a row is judged only
after all rows were counted.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bezoar.steps.data.contamination.items import LONG, SEED, SHORT, Items, Places
from bezoar.steps.data.contamination.words import has_look_alikes, plain, without_look_alikes, words

BATCH = 1 << 19  # words of rows that are looked up at once
COMMON = 10  # rows, or texts of items, that may share a seed before it weighs less
COMMON_SHARE = 1e-4  # of all rows, if that is more
LIGHT = 0.05  # a seed of less weight finds no text
SHARE = 0.05  # of a text's weight that a row's seeds have to have at least, if that is less than of 13 words in a row
ENOUGH = LONG - SEED + 1  # seeds in 13 words in a row
ROUNDING = 1e-3
MOST_BOILERPLATE = 0.5  # mean weight that 13 words in a row have to have
MOST_SHARED = 0.5  # of a text's words in shared runs of 8 (Lambert et al. 2024, arXiv:2411.15124, section 3.2)
ASKED = ("system", "user")  # whose message may be a short item as a whole

Mask = NDArray[np.bool_]
_none: Places = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Match:
    """A row that repeats a text of items.

    Attributes:
        row: The row's number.
        text: The text: its number, or its words if it is short.
        rule: `whole`, `13 words`, `8 words` or `overlap`.
        share: Of the text's words that the row has, without boilerplate.
    """

    row: int
    text: int | bytes
    rule: str
    share: float


class Rows:
    """The first pass: how many rows have each seed, and which seeds each row has; the latter is kept in a file.

    Attributes:
        items: The index.
        spool: An empty file to write to and read.
        rows_with: By seed, the rows that have it.
        short: By short text, the rows with a message that is it.
        count: The number of rows.
    """

    def __init__(self, items: Items, spool: IO[bytes]) -> None:
        self.items, self._hits = items, spool
        self.rows_with = np.zeros(len(items.seeds), np.int32)
        self.short: dict[bytes, list[int]] = defaultdict(list)
        self.count = 0
        self._sizes: list[int] = []
        self._clear()

    def _clear(self) -> None:
        self._words, self._ends, self._rows = array("i"), list[int](), list[int]()

    def add(self, messages: Sequence[tuple[str, str]]) -> None:
        """Look up a row: role and text of its messages."""
        for stream in streams(messages, self.items):
            for role, found in stream:
                if len(found) < SHORT and role in ASKED:
                    key = np.array(found, np.int32).tobytes()
                    if key in self.items.short and self.count not in self.short[key][-1:]:
                        self.short[key].append(self.count)
                self._words.extend(found)
            self._words.append(0)
            self._ends.append(len(self._words))
            self._rows.append(self.count)
        self.count += 1
        if len(self._words) > BATCH:
            self.flush()

    def flush(self) -> None:
        """Look up the words that wait."""
        places, seeds = self.items.seeds_in(np.array(self._words, np.int32))
        rows = np.array(self._rows, np.int64)[np.searchsorted(self._ends, places, side="right")]
        hits = np.unique(rows * len(self.items.seeds) + seeds) if len(rows) else _none
        seen, times = np.unique(hits % max(1, len(self.items.seeds)), return_counts=True)
        self.rows_with[seen] += times
        self._hits.write(hits.astype(np.int64).tobytes())
        self._sizes.append(len(hits))
        self._clear()

    def candidates(self, counts: "Counts") -> dict[int, list[int]]:
        """By row, the texts that it may repeat, after the last row: those of which it has enough seeds."""
        found: dict[int, list[int]] = defaultdict(list)
        self._hits.seek(0)
        for size in self._sizes:
            hits = np.frombuffer(self._hits.read(8 * size), np.int64)
            for row, text in counts.pairs(hits // max(1, len(self.rows_with)), hits % max(1, len(self.rows_with))):
                found[row].append(text)
        return found


def streams(messages: Sequence[tuple[str, str]], items: Items) -> list[list[tuple[str, list[int]]]]:
    """The words of a row's messages as numbers; once more without look-alikes, if there are any."""
    known = items.vocabulary
    texts = [(role, plain(text)) for role, text in messages]
    found = [[(role, [known.get(word, 0) for word in words(text)]) for role, text in texts]]
    if any(has_look_alikes(text) for _, text in texts):
        other = [(role, words(without_look_alikes(text))) for role, text in texts]
        found.append([(role, [known.get(word, 0) for word in one]) for role, one in other])
    return found


class Counts:
    """What all rows tell about seeds: how much each weighs in each text.

    A seed weighs less than 1 where more rows, or more texts, have it than have the rarest seed of the text.
    """

    def __init__(self, rows: Rows, overlap: float) -> None:
        self.items, self.overlap = rows.items, overlap
        self.common = max(COMMON, COMMON_SHARE * rows.count)  # rows that may share a seed
        weights = np.ones(len(self.items.numbers), np.float32)
        for with_seed, common in ((rows.rows_with, self.common), (self.items.texts_with, COMMON)):
            counts = np.maximum(1, with_seed)[self.items.numbers]
            least = np.maximum(np.float32(common), self._by_text(np.minimum, counts))
            weights *= np.minimum(1, least / counts)
        self._weights = weights / self._by_text(np.maximum, weights)
        self._post()

    def _by_text(self, reduce: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """For each seed of each text, the least or greatest value of all seeds of the text."""
        starts = self.items.seed_starts
        return np.repeat(reduce.reduceat(values, starts[:-1]), np.diff(starts)) if len(values) else values

    def weights(self, text: int) -> NDArray[np.float32]:
        """The weights of a text's seeds, by their first word."""
        return self._weights[self.items.seed_starts[text] : self.items.seed_starts[text + 1]]

    def _post(self) -> None:
        """By seed, the texts in which it weighs something, and by text how much of it makes a candidate."""
        heavy = self.items.by_seed[self._weights[self.items.by_seed] >= LIGHT]
        self._texts, self._weight = self.items.text_of[heavy], self._weights[heavy]
        per_seed = np.bincount(self.items.numbers[heavy], minlength=len(self.items.seeds))
        self._posted = np.concatenate([[0], np.cumsum(per_seed)])
        lengths = np.diff(self.items.starts)
        total = np.bincount(self._texts, self._weight, len(lengths))
        some = np.minimum(ENOUGH / 2, np.maximum(1, SHARE * total))
        self._needed = np.where(lengths < LONG, total, some) - ROUNDING

    def pairs(self, rows: Places, seeds: Places) -> list[tuple[int, int]]:
        """Rows and the texts of which they have enough seeds.

        Args:
            rows: A row for each seed that it has.
            seeds: The seeds.
        """
        counts = self._posted[seeds + 1] - self._posted[seeds]
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        at = np.repeat(self._posted[seeds], counts) + offset
        size = max(1, len(self._needed))
        pairs, place = np.unique(np.repeat(rows, counts) * size + self._texts[at], return_inverse=True)
        enough = np.bincount(place, self._weight[at], len(pairs)) >= self._needed[pairs % size]
        return [divmod(pair, size) for pair in pairs[enough].tolist()]


class Compared:
    """One stream of a candidate row, to be compared with texts."""

    def __init__(self, row: list[int]) -> None:
        self.row = row
        self.runs: dict[int, set[tuple[int, ...]]] = {size: runs(row, size) for size in (SHORT, LONG)}
        self.places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place in range(len(row) - SEED + 1):
            self.places[tuple(row[place : place + SEED])].append(place)

    def has(self, text: list[int]) -> bool:
        """Whether the row has a text as a whole."""
        starts = self.places.get(tuple(text[:SEED]), [])
        return any(self.row[start : start + len(text)] == text for start in starts)

    def covered(self, text: list[int], size: int) -> tuple[Mask, list[int]]:
        """The words of a text that are in shared runs of a size, and where these start."""
        starts = [
            start for start in range(len(text) - size + 1) if tuple(text[start : start + size]) in self.runs[size]
        ]
        return _marked(len(text), starts, size), starts

    def near(self, text: list[int]) -> Mask:
        """The words of a text that are in pairs of words which the row has near a shared seed."""
        size, pairs, done = len(text), set[tuple[int, ...]](), 0
        starts = {
            at for start in range(size - SEED + 1) for at in self.places.get(tuple(text[start : start + SEED]), [])
        }
        for at in sorted(starts):
            end = min(len(self.row), at + SEED + size)
            pairs |= runs(self.row[max(done, at - size) : end], 2)
            done = max(done, end - 1)
        starts_of_pairs = [start for start in range(size - 1) if tuple(text[start : start + 2]) in pairs]
        return _marked(size, starts_of_pairs, 2)


def runs(row: list[int], size: int) -> set[tuple[int, ...]]:
    """All runs of some words in a row's words."""
    return set(zip(*(row[start:] for start in range(size)), strict=False))


def _marked(size: int, starts: Iterable[int], length: int) -> Mask:
    found = np.zeros(size, bool)
    for start in starts:
        found[start : start + length] = True
    return found


def compare(row: Compared, text: int, counts: Counts) -> tuple[str, float] | None:
    """The rule by which a row repeats a text, with the share of the text; None if it doesn't."""
    own = counts.items.words_of(text)
    if row.has(own):
        return "whole", 1.0
    if len(own) < LONG:
        return None
    seeds = counts.weights(text)
    _, long = row.covered(own, LONG)
    weights = np.array([seeds[max(0, place - SEED + 1) : place + 1].min() for place in range(len(own))])
    eights, near = row.covered(own, SHORT)[0], row.near(own)
    share = float(weights[eights | near].sum() / weights.sum())
    if any(seeds[start : start + LONG - SEED + 1].mean() >= MOST_BOILERPLATE for start in long):
        return "13 words", share
    if weights[eights].sum() / weights.sum() >= MOST_SHARED:
        return "8 words", share
    return ("overlap", share) if share >= counts.overlap else None


def matches_of(row: int, messages: Sequence[tuple[str, str]], texts: list[int], counts: Counts) -> list[Match]:
    """The texts that a candidate row repeats."""
    found = []
    whole = [Compared([word for _, part in stream for word in part]) for stream in streams(messages, counts.items)]
    for text in sorted(texts):
        results = [result for one in whole if (result := compare(one, text, counts))]
        if results:
            rule, share = max(results, key=lambda result: result[1])
            found.append(Match(row, text, rule, share))
    return found
