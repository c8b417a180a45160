"""Texts as sets of shingles, to compare them: 5 words in a row, as hashes of 64 bits."""

import re
import unicodedata

import numpy as np
import xxhash

from bezoar.steps.data.unspaced import UNSPACED

Shingles = np.ndarray[tuple[int], np.dtype[np.uint64]]  # sorted, without repeats
SIZE = 5  # words of a shingle (Lee et al. 2022, arXiv:2107.06499, section 4.2)
SIGNS = r"+*/=<>^%&|~\\$#@{}\[\]\u00ac\u00b1\u00d7\u00f7\u2190-\u22ff"  # of code and formulas: they bear the meaning
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+|[{SIGNS}]|-(?=[\d\s(.])")
FACTORS = np.array([pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(1, SIZE + 1)], dtype=np.uint64)
RESPONSE = np.uint64(0xD6E8FEB86659FD93)  # keeps the shingles of responses apart from those of prompts


def words_of(text: str) -> list[str]:
    """The words of a text, case folded and in one form of Unicode, without punctuation."""
    return WORD.findall(text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold())


def shingles(text: str) -> Shingles:
    """The shingles of a text; one of fewer words is a single shingle, so it is only like itself."""
    words = words_of(text)
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(word.encode()) for word in words), np.uint64, len(words))
    count = max(1, len(hashes) - SIZE + 1)
    found = np.zeros(count if words else 0, np.uint64)
    for place, factor in enumerate(FACTORS[: len(words)]):
        found += hashes[place : place + count] * factor
    return np.unique(found)


def jaccard(first: Shingles, second: Shingles) -> float:
    """How much two sets have in common: shared shingles by all; of two empty ones, all."""
    shared = np.intersect1d(first, second, assume_unique=True).size
    every = first.size + second.size - shared
    return shared / every if every else 1.0
