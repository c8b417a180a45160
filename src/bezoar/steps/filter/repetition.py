"""How much a text repeats itself. The rule is our own; no paper behind the recipe has it."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_TRIPLES = 12  # a text with fewer words isn't measured
SHORTEST_LOOP = 100  # characters of a text that are searched for a loop
LONGEST_PERIOD = 1000  # characters of one round of a loop
GRAM = 8  # characters of a round that are compared first
LONGEST_PAIRED = 1 << 16  # characters of a text whose places are compared all at once
MULTIPLIER = 0x9E3779B97F4A7C15
FENCED = re.compile(r"^ *(```|~~~).*?(^ *\1|\Z)", re.DOTALL | re.MULTILINE)
CLOSED_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
TABLE_LINE = re.compile(r"^ *\|.*\||^[^\n|]*\|[^\n|]*\|.*$|^[^\n\t]*\t[^\n\t]*\t.*$", re.MULTILINE)
NUMBERS_LINE = re.compile(r"^(?=[^\n]*\d[ \t,;|]+[-+.]?\d)[\d \t.,;:|%+-]{1,120}$", re.MULTILINE)
RULE_LINE = re.compile(r"^[ \t]*([^\w\s])\1{2,119}[ \t]*$", re.MULTILINE)  # under a heading, or between two parts
LETTER = re.compile(r"\w")


def repetition(text: str) -> float:
    """The larger of two shares, from 0 to 1: repeated word triples, and characters in a loop.

    Fenced code, tables and lines of numbers repeat words by nature: their words don't count. A loop is the same text
    three or more times in a row, with or without spaces; tables of words can have one.
    """
    return max(repeated_triples(text), looped(text))


def repeated_triples(text: str) -> float:
    """Share of word triples that occur earlier in the text; 0 for a text of a few words."""
    plain = NUMBERS_LINE.sub("", TABLE_LINE.sub("", FENCED.sub("", text)))
    words = [word for word in plain.split() if LETTER.search(word)]
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if len(triples) >= FEWEST_TRIPLES else 0.0


def looped(text: str) -> float:
    """Share of a text's characters in its longest loop, runs of whitespace counted once; 0 for a short text.

    Fenced code, lines of numbers and horizontal rules aren't loops.
    """
    whole = len(" ".join(text.split()))
    text = NUMBERS_LINE.sub("", CLOSED_FENCE.sub("", text))
    plain = " ".join((RULE_LINE.sub("", text).strip() or text).split())
    if min(whole, len(plain)) < SHORTEST_LOOP:
        return 0.0
    import numpy  # slow to import, and not needed for --help

    codes = numpy.frombuffer(plain.encode("utf-32-le", errors="replace"), dtype=numpy.uint32)
    longest = 0
    for period in _periods(codes, min(LONGEST_PERIOD, len(codes) // 3)):
        ends = numpy.flatnonzero(codes[period:] != codes[:-period])
        edges = numpy.concatenate(([-1], ends, [len(codes) - period]))
        run = int(numpy.diff(edges).max()) - 1  # characters that equal those one period earlier
        if run >= 2 * period:
            longest = max(longest, run + period)
    return longest / whole


def _periods(codes: "NDArray[np.uint32]", most: int) -> list[int]:
    """The periods, up to the most, that a loop in a text may have: a superset of those that one has.

    A loop of three rounds or more has two whole ones that start at neighbouring multiples of its period. So only
    these places are compared, by the hashes of as many characters as the shortest such period has.
    """
    import numpy

    short = list(range(1, min(most + 1, GRAM)))
    if most < GRAM:
        return short
    hashes = codes.astype(numpy.uint64)
    for width in (1, 2, 4):  # of 2, 4 and 8 characters
        hashes = hashes[:-width] * numpy.uint64(MULTIPLIER + 2 * width) + hashes[width:]
    if len(hashes) > LONGEST_PAIRED:
        multiples = ((period, hashes[::period]) for period in range(GRAM, most + 1))
        return short + [period for period, some in multiples if (some[1:] == some[:-1]).any()]
    seconds, periods = _pairs(1 << (len(hashes) - 1).bit_length())
    count = int(numpy.searchsorted(seconds, len(hashes)))
    seconds, periods = seconds[:count], periods[:count]
    found = numpy.unique(periods[hashes[seconds] == hashes[seconds - periods]])
    return short + found[found <= most].tolist()


@lru_cache
def _pairs(size: int) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """The multiples of each period below a size, from the second on, in order, and their periods."""
    import numpy

    members = [numpy.arange(period, size, period) for period in range(GRAM, LONGEST_PERIOD + 1)]
    seconds = numpy.concatenate(members)
    periods = numpy.repeat(numpy.arange(GRAM, LONGEST_PERIOD + 1), list(map(len, members)))
    order = numpy.argsort(seconds, kind="stable")
    return seconds[order], periods[order]
