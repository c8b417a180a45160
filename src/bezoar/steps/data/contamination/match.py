"""Rows that repeat evaluation items: a first pass counts seeds and finds candidates, a second one compares them.

A seed that many rows share, and most items don't, is boilerplate, such as a system text: what it covers weighs less.
So a row is judged only after all rows were counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bezoar.steps.data.contamination.items import LONG, SEED, SHORT, Items, Places
from bezoar.steps.data.contamination.words import has_look_alikes, plain, without_look_alikes, words

BATCH = 1 << 19  # words of rows that are looked up at once
COMMON = 10  # rows, or texts of items, that may share a seed before it weighs less
COMMON_SHARE = 1e-4  # of all rows, if that is more
MOST_BOILERPLATE = 0.5  # mean weight that 13 words in a row have to have
MOST_SHARED = 0.5  # of a text's words in shared runs of 8 (Lambert et al. 2024, arXiv:2411.15124, section 3.2)
MESSAGES = ("prompt", "completion", "chosen", "rejected")
ASKED = ("system", "user")  # whose message may be a short item as a whole

Mask = NDArray[np.bool_]


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


@dataclass
class Rows:
    """The first pass: what is counted over all rows, and the candidates.

    Attributes:
        items: The index.
        rows_with: By seed, the rows that have it.
        pairs: Candidates: numbers of rows and texts.
        short: By short text, the rows with a message that is it.
    """

    items: Items
    rows_with: Places = field(init=False)
    pairs: list[NDArray[np.int64]] = field(default_factory=list)
    short: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    def __post_init__(self) -> None:
        self.rows_with = np.zeros(len(self.items.seeds), np.int64)
        self._words: list[int] = []
        self._ends: list[int] = []
        self._rows: list[int] = []

    def add(self, messages: Sequence[tuple[str, str]]) -> None:
        """Look up a row: role and text of its messages."""
        for stream in streams(messages, self.items):
            for role, found in stream:
                if len(found) < SHORT and role in ASKED:
                    key = np.array(found, np.int32).tobytes()
                    if key in self.items.short and self.count not in self.short[key][-1:]:
                        self.short[key].append(self.count)
                self._words += found
            self._words += [0]
            self._ends.append(len(self._words))
            self._rows.append(self.count)
        self.count += 1
        if len(self._words) > BATCH:
            self.flush()

    def flush(self) -> None:
        """Look up the words that wait."""
        places, seeds = self.items.seeds_in(np.array(self._words, np.int32))
        rows = np.array(self._rows, np.int64)[np.searchsorted(self._ends, places, side="right")]
        if len(rows):
            rows, seeds = np.unique(np.stack([rows, seeds]), axis=1)
            self.rows_with += np.bincount(seeds, minlength=len(self.rows_with))
            place, texts = self.items.texts_with_any(seeds)
            pairs, shared = np.unique(np.stack([rows[place], texts]), axis=1, return_counts=True)
            self.pairs.append(pairs[:, shared >= self.items.needed[pairs[1]]])
        self._words, self._ends, self._rows = [], [], []

    def candidates(self) -> dict[int, list[int]]:
        """By row, the texts that it may repeat, after the last row."""
        self.flush()
        found: dict[int, list[int]] = defaultdict(list)
        for pairs in self.pairs:
            for row, text in pairs.T.tolist():
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


@dataclass(frozen=True)
class Counts:
    """How often each seed occurs, and the overlap that counts."""

    items: Items
    rows_with: Places
    rows: int
    overlap: float

    @property
    def common(self) -> float:
        """Rows that may share a seed before it is boilerplate."""
        return max(COMMON, COMMON_SHARE * self.rows)

    def weights(self, text: int) -> NDArray[np.float64]:
        """The weights of a text's seeds: less than 1 where more rows, or texts, have one than the text's rarest."""
        seeds = self.items.seeds_of(text)
        found = np.ones(len(seeds))
        for counts, common in ((self.rows_with, self.common), (self.items.texts_with, COMMON)):
            of_seed = np.maximum(1, counts[seeds])
            found *= np.minimum(1, max(common, of_seed.min()) / of_seed)
        return found


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
