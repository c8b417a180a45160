"""Evaluation items: the index in which the words of rows are looked up.

The items are the small side: they are held in memory, and rows pass by. Each run of five words of an item is a seed; a
row is compared with a text word by word only if it shares enough seeds with it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bezoar.steps.data.contamination.words import forms, plain, words
from bezoar.steps.data.rows import Row

SEED = 5  # words; one edited word leaves a run of six in each text of 13 words
FEWEST = 4  # words of a text that is looked for by itself: `Why?` is no evidence
SHORT = 8  # words from which a text is looked for inside of a row; a shorter one has to be a whole message
LONG = 13  # words from which a part of a text is enough (Brown et al. 2020, arXiv:2005.14165, appendix C)
BITS = 26  # of the table that says of most seeds of rows that no item has them
FACTOR, MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)

Numbers = NDArray[np.int32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Owner = tuple[int, str]  # the number of an item, and its field


class Item(Row):
    """An evaluation item: what an evaluation really asks."""

    eval: str
    task: str = Field(description="Of a harness evaluation; `questions` for a set of questions.")
    id: str = Field(description="Its number among the task's documents, or the question's id.")
    fewshot: bool = Field(False, description="Whether it is a solved example, which isn't scored.")
    texts: dict[str, list[str]] = Field(description="By field.")


def texts_of(item: Item) -> Iterator[tuple[str, str]]:
    """The texts that rows are compared with, each with its field; short ones say little alone, so also all as one."""
    found = [(field, text) for field, texts in item.texts.items() for text in texts]
    yield from found
    if len(found) > 1 and all(len(words(plain(text))) < SHORT for _, text in found):
        yield "+".join(item.texts), "\n".join(text for _, text in found)


def hashes_of(words: Numbers) -> Hashes:
    """The hash of each run of SEED words, by its first word."""
    found = np.zeros(max(0, len(words) - SEED + 1), np.uint64)
    for place in range(SEED):
        found = (found ^ words[place : place + len(found)].astype(np.uint64) * MIX) * FACTOR
        found ^= found >> np.uint64(29)
    return found


class Items:
    """The texts of items as numbers of words, and the places of their seeds.

    Attributes:
        items: The items.
        vocabulary: The number of each word of an item; a word of a row that no item has is 0.
        owners: By text of 8 words or more, the items that have it; an equal text of many items is one text.
        short: By text of 4 to 7 words, the items that have it.
        seeds: The hash of each seed, in order; its place is the seed's number.
        numbers: The number of each seed of all texts, one text after the other.
        text_of: The text of each of them.
        by_seed: Their places, in the order of seeds.
        texts_with: By seed, the number of texts that have it.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: list[Item] = []  # without their texts
        vocabulary: dict[str, int] = defaultdict(count(1).__next__)
        long: dict[bytes, list[Owner]] = {}
        self.short: dict[bytes, list[Owner]] = {}
        for number, item in enumerate(items):
            self.items.append(item.model_copy(update={"texts": {}}))
            for field, text in texts_of(item):
                for form in forms(text):
                    found = None if len(form) < FEWEST else self.short if len(form) < SHORT else long
                    if found is not None:
                        key = np.array([vocabulary[word] for word in form], np.int32).tobytes()
                        owners = found.setdefault(key, [])
                        if (number, field) not in owners:
                            owners.append((number, field))
        self.vocabulary = dict(vocabulary)
        self.owners = list(long.values())
        self._index([np.frombuffer(key, np.int32) for key in long])

    def _index(self, texts: list[Numbers]) -> None:
        """Number the seeds of all texts, and note where each is; there may be millions, so with few bytes for each."""
        lengths = np.array([len(text) for text in texts], np.int64)
        self.words = np.concatenate([*texts, np.zeros(0, np.int32)])
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.seed_starts = np.concatenate([[0], np.cumsum(lengths - SEED + 1)])
        inside = np.ones(len(self.words), bool)
        for place in range(1, SEED):
            inside[self.starts[1:] - place] = False
        hashes = hashes_of(self.words)[inside[: max(0, len(self.words) - SEED + 1)]]
        self.by_seed = np.argsort(hashes, kind="stable").astype(np.int32)
        hashes = hashes[self.by_seed]
        new = np.ones(len(hashes), bool)
        new[1:] = hashes[1:] != hashes[:-1]
        self.seeds = hashes[new]
        self.numbers = np.empty(len(hashes), np.int32)
        self.numbers[self.by_seed] = np.cumsum(new, dtype=np.int32) - 1
        self.text_of = np.repeat(np.arange(len(texts), dtype=np.int32), lengths - SEED + 1)
        other = self.text_of[self.by_seed]
        new[1:] |= other[1:] != other[:-1]  # equal seeds of one text are beside each other
        self.texts_with = np.bincount(self.numbers[self.by_seed][new], minlength=len(self.seeds)).astype(np.int32)
        self.table = np.zeros(1 << BITS, bool)
        self.table[_slots(self.seeds)] = True

    def seeds_in(self, words: Numbers) -> tuple[Places, Places]:
        """The places in a row's words where a seed of an item starts, and the seeds' numbers."""
        unknown = np.concatenate([[0], np.cumsum(words == 0)])
        places = np.flatnonzero(unknown[SEED:] == unknown[:-SEED]) if len(words) >= SEED else _no
        hashes = hashes_of(words)[places]
        there = self.table[_slots(hashes)]
        places, hashes = places[there], hashes[there]
        numbers = np.searchsorted(self.seeds, hashes)
        same = np.zeros(len(places), bool)
        inside = numbers < len(self.seeds)
        same[inside] = self.seeds[numbers[inside]] == hashes[inside]
        return places[same], numbers[same]

    def words_of(self, text: int) -> list[int]:
        """The words of a text, as numbers."""
        return self.words[self.starts[text] : self.starts[text + 1]].tolist()

    def seeds_of(self, text: int) -> Numbers:
        """The seeds of a text, by their first word."""
        return self.numbers[self.seed_starts[text] : self.seed_starts[text + 1]]


_no: Any = np.zeros(0, np.int64)


def _slots(hashes: Hashes) -> Places:
    return (hashes >> np.uint64(64 - BITS)).astype(np.int64)
