"""The rows of each step on the way to a mix, with those that it left out by reason, from the steps' reports."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.steps.data.accounting import Ledger
from bezoar.steps.dataset.card import Card

PAIRED = {"score": "scored", "pairs": "pairs"}  # by step, its folder
REPEATS = "evaluation item"  # as the rows that a certificate drops have it


class Fall(NamedTuple):
    """A step: rows that went in, rows that came out, and the others by reason."""

    step: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int]


def falls(card: Card, mix: str, data: Path, published: int) -> list[Fall]:
    """All steps of a mix in their order.

    Args:
        card: Its card.
        mix: Its name.
        data: The folder of all artifacts.
        published: Its rows in the end.
    """
    shards = [f"{shard:04d}" for shard in range(card.shards)]
    schemes = dict.fromkeys(one.scheme for one in card.schemes.values())  # a baseline has the scheme of its filter
    return [
        *(_step("source", name, [data / f"source/{name}"]) for name in card.sources),
        *(_step("generate", name, [data / f"generated/{name}/{shard}" for shard in shards]) for name in schemes),
        *(
            _step("filter", name, [data / f"filtered/{name}/{shard}" for shard in shards])
            for name in card.schemes
            if name not in card.unfiltered
        ),
        *(
            _step(kind, name, [data / f"{PAIRED[kind]}/{name}/{shard}" for shard in shards])
            for kind, name in card.paired
        ),
        *(_step("select", name, [data / f"selected/{name}"]) for name in card.selections),
        *_mix(mix, data / f"mixes/{mix}/report.json", published),
    ]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _step(kind: str, name: str, folders: list[Path]) -> Fall:
    """A step, all of its shards together."""
    paths = [folder / "report.json" for folder in folders]
    first, *others = (Ledger.of_report(kind, _read(path), str(path)) for path in paths)
    return _fall(f"{kind} {name}", sum(others, start=first))


def _mix(name: str, path: Path, published: int) -> Iterator[Fall]:
    report = _read(path)
    for part in report["parts"]:
        yield _fall(f"mix {name}, {part['kind']} {part['name']}", Ledger.of_report("part", part, str(path)))
    mixed = report["train"] + report["eval"]
    if published != mixed:
        yield Fall(f"certificate {name}", mixed, published, {REPEATS: mixed - published})


def _fall(step: str, ledger: Ledger) -> Fall:
    """A step with the reasons of its rows, the most frequent first."""
    reasons = dict(sorted(ledger.reasons.items(), key=lambda one: (-one[1], one[0])))
    return Fall(step, ledger.read, ledger.kept, reasons)
