"""The rows of each step on the way to a mix, with those that it left out by reason, from the steps' reports."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.steps.dataset.card import Card


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
    return [
        *(_source(name, _read(data / f"source/{name}/report.json")) for name in card.sources),
        *(_shards("generate", one.scheme, card.shards, data) for one in card.schemes.values()),
        *(_shards("filter", name, card.shards, data) for name in card.schemes),
        *_mix(mix, _read(data / f"mixes/{mix}/report.json"), published),
    ]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _source(name: str, report: dict[str, Any]) -> Fall:
    reasons = report["dropped"] | report["not_taken"]
    return Fall(f"source {name}", report["read"], report["rows"], _some(reasons))


# By step: the folder of its reports, and the keys of the rows that went in and out, and of those that were left out.
SHARDS = {
    "generate": ("generated", "candidates", "rows", ("dropped", "failed")),
    "filter": ("filtered", "rows", "kept", ("rejected", "failed")),
}


def _shards(step: str, name: str, shards: int, data: Path) -> Fall:
    """A step of all shards together."""
    folder, before, after, reasons = SHARDS[step]
    numbers: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for shard in range(shards):
        report = _read(data / f"{folder}/{name}/{shard:04d}/report.json")
        numbers.update({"in": report[before], "out": report[after]})
        for key in reasons:
            found.update(report[key])
    return Fall(f"{step} {name}", numbers["in"], numbers["out"], _some(found))


def _mix(name: str, report: dict[str, Any], published: int) -> Iterator[Fall]:
    for part in report["parts"]:
        reasons = part["dropped"] | {"not drawn": part["not_drawn"]}
        yield Fall(f"mix {name}, {part['kind']} {part['name']}", part["found"], part["taken"], _some(reasons))
    mixed = report["train"] + report["eval"]
    if published != mixed:
        yield Fall(f"certificate {name}", mixed, published, {"repeats an evaluation item": mixed - published})


def _some(reasons: Any) -> dict[str, int]:
    """Reasons that some rows have, the most frequent first."""
    return dict(sorted(((why, rows) for why, rows in reasons.items() if rows), key=lambda one: (-one[1], one[0])))
