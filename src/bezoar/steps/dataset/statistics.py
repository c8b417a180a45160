"""Statistics of a split, counted while its rows go by; only a fixed sample of them is held."""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bezoar.steps.data.rows import rank
from bezoar.steps.data.unspaced import UNSPACED

SAMPLE = 2_000  # rows of which diversity is measured: it falls with the number of rows, so it needs a fixed one
PARALLEL = 200  # rows of these that self-BLEU compares with each other
LARGEST = 5  # clusters that are listed
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")
RESPONSES = ("completion", "chosen", "rejected", "gold")
Count = Callable[[list[str]], list[int]]


@dataclass
class Lengths:
    """A histogram by powers of two, with the sum, the least and the most."""

    bins: Counter[int] = field(default_factory=Counter)
    total: int = 0
    least: int | None = None
    most: int = 0

    def add(self, length: int) -> None:
        """Count a length."""
        self.bins[length.bit_length()] += 1
        self.total += length
        self.least = length if self.least is None else min(self.least, length)
        self.most = max(self.most, length)

    def report(self) -> dict[str, Any]:
        """The counts by the lengths of a bin, the mean, the least and the most."""
        rows = self.bins.total()
        named = {
            _bin(bits): self.bins[bits] for bits in range(min(self.bins, default=0), max(self.bins, default=-1) + 1)
        }
        return {
            "mean": round(self.total / rows, 2) if rows else None,
            "least": self.least,
            "most": self.most,
            "bins": named,
        }


def _bin(bits: int) -> str:
    return "0" if bits == 0 else "1" if bits == 1 else f"{1 << (bits - 1)}-{(1 << bits) - 1}"


class Statistics:
    """Counts of a split.

    Args:
        seed: Start of the draw of the sample.
        tokens: Counts the tokens of texts; None doesn't.
    """

    def __init__(self, seed: int, tokens: Count | None) -> None:
        self.seed, self.tokens = seed, tokens
        self.rows = 0
        self.parts: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.clusters: Counter[str] = Counter()
        self.lengths: dict[str, dict[str, Lengths]] = {}
        self.sample: list[tuple[str, int, str]] = []  # a heap: the last in the order of ranks comes first

    def through(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows, counted."""
        for row in rows:
            self._add(row)
            yield row

    def _add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        self.parts[f"{row['kind']} {row['part']}"] += 1
        self.licences[row["licence"]] += 1
        self.turns[sum(one["role"] != "system" for one in row["prompt"]) + 1] += 1
        if row["cluster"] is not None:
            self.clusters[str(row["cluster"])] += 1
        for name in ("prompt", *RESPONSES):
            if name in row:
                self._measure(name, "\n".join(one["content"] for one in row[name]))
        text = row[next(name for name in RESPONSES if name in row)][-1]["content"]
        self._draw(rank(self.seed, row["id"]), text)

    def _measure(self, name: str, text: str) -> None:
        units = {"characters": len(text), "words": len(WORD.findall(text))}
        if self.tokens:
            units["tokens"] = self.tokens([text])[0]
        for unit, length in units.items():
            self.lengths.setdefault(name, {}).setdefault(unit, Lengths()).add(length)

    def _draw(self, place: str, text: str) -> None:
        """Keep the rows that come first in the order of their ranks."""
        entry = (_reversed(place), -self.rows, text)
        if len(self.sample) < SAMPLE:
            heapq.heappush(self.sample, entry)
        elif entry > self.sample[0]:
            heapq.heapreplace(self.sample, entry)

    def report(self) -> dict[str, Any]:
        """All counts."""
        texts = [text for *_, text in sorted(self.sample, reverse=True)]
        return {
            "rows": self.rows,
            "parts": dict(sorted(self.parts.items())),
            "licences": dict(sorted(self.licences.items())),
            "turns": {str(turns): number for turns, number in sorted(self.turns.items())},
            "lengths": {
                name: {unit: one.report() for unit, one in units.items()} for name, units in self.lengths.items()
            },
            "near_duplicates": _clusters(self.clusters),
            "diversity": {
                "rows": len(texts),
                "distinct": {str(size): distinct(texts, size) for size in (1, 2, 3, 4)},
                "self_bleu": {"rows": min(len(texts), PARALLEL), "score": self_bleu(texts[:PARALLEL])},
            },
        }


def _reversed(place: str) -> str:
    """A rank whose order is the other way round."""
    return f"{(1 << 64) - 1 - int(place, 16):016x}"


def _clusters(found: Counter[str]) -> dict[str, Any]:
    """Clusters of near-duplicates that are left in the split, and the rows in the largest ones."""
    several = [rows for rows in found.values() if rows > 1]
    return {"clusters": len(several), "rows": sum(several), "largest": sorted(several, reverse=True)[:LARGEST]}


def distinct(texts: list[str], size: int) -> float | None:
    """Different n-grams of words as a share of all (Li et al. 2016, arXiv:1510.03055); None without any."""
    seen, number = set(), 0
    for text in texts:
        words = WORD.findall(text.casefold())
        for start in range(len(words) - size + 1):
            seen.add(tuple(words[start : start + size]))
            number += 1
    return round(len(seen) / number, 4) if number else None


def self_bleu(texts: list[str]) -> float | None:
    """The mean BLEU-4 of each text against all others (Zhu et al. 2018, arXiv:1802.01886), from 0 to 100."""
    if len(texts) < 2:
        return None
    from sacrebleu import BLEU  # slow to import; only the statistics of a published mix need it

    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, texts[:place] + texts[place + 1 :]).score for place, text in enumerate(texts)]
    return round(sum(scores) / len(scores), 2)
