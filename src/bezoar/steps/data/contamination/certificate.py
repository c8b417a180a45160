"""The certificate of a mix: which evaluation items its rows repeat, and whether it may be trained on."""

import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.files import sha256, write_json
from bezoar.logs import logger
from bezoar.steps.data.contamination.block import Contamination
from bezoar.steps.data.contamination.items import FEWEST, LONG, SHORT, Item, Items
from bezoar.steps.data.contamination.match import Counts, Match, Rows, matches_of
from bezoar.steps.data.rows import read_rows

SPLITS = ("train", "eval")
MESSAGES = ("prompt", "completion", "chosen", "rejected", "gold")
EXACT = ("whole", "13 words")
Z = 1.959964  # 95 % of a normal distribution


class Placed(NamedTuple):
    """A row's place in a mix: its line in the file of its split, and its id."""

    split: str
    line: int
    id: str


@dataclass(frozen=True)
class Found:
    """The rows of a mix that repeat items.

    Attributes:
        items: The items.
        rows: The number of rows of each split.
        matches: By row, the texts that it repeats; rows are numbered over both splits.
        places: By row with a match, its split and id.
        everyday: Texts that more rows have than boilerplate may, with their number, where 13 words in a row don't
            tell: they match no row.
    """

    items: Items
    rows: dict[str, int]
    matches: dict[int, list[Match]]
    places: dict[int, Placed]
    everyday: dict[int | bytes, int]

    def owners(self, text: int | bytes) -> list[tuple[int, str]]:
        """The items that have a text, with its field."""
        return self.items.short[text] if isinstance(text, bytes) else self.items.owners[text]


def messages_of(row: Any) -> list[tuple[str, str]]:
    """Role and text of all messages of a mix's row."""
    return [(one["role"], one["content"]) for name in MESSAGES for one in row.get(name, [])]


def lines_of(mix: Path) -> Iterator[tuple[int, str, bytes]]:
    """Number, split and text of each row of a mix."""
    number = 0
    for split in SPLITS:
        with (mix / f"{split}.jsonl").open("rb") as file:
            for line in file:
                yield number, split, line
                number += 1


def find(mix: Path, items: Items, overlap: float) -> Found:
    """Compare a mix with items; a row that may repeat one is read twice, and no row is held in memory."""
    sizes = dict.fromkeys(SPLITS, 0)
    with tempfile.TemporaryFile() as spool:
        rows = Rows(items, spool)
        for _, split, line in lines_of(mix):
            rows.add(messages_of(json.loads(line)))
            sizes[split] += 1
        rows.flush()
        counts = Counts(rows, overlap)
        candidates = rows.candidates(counts)
    places: dict[int, Placed] = {}
    found = [Match(row, text, "whole", 1.0) for text, numbers in rows.short.items() for row in numbers]
    suspects = {match.row for match in found} | candidates.keys()
    for number, split, line in lines_of(mix):
        if number in suspects:
            row = json.loads(line)
            places[number] = Placed(split, 1 + number - (split == "eval") * sizes["train"], row["id"])
            found += matches_of(number, messages_of(row), candidates.get(number, []), counts)
    return _without_everyday(Found(items, sizes, {}, places, {}), found, counts)


def _without_everyday(empty: Found, found: list[Match], counts: Counts) -> Found:
    """All matches, but weak ones of texts that many rows have: everyday requests, and patterns that rows fill in."""
    weak = Counter(match.text for match in found if _is_weak(match, empty.items))
    everyday = {text: number for text, number in weak.items() if number > counts.common}
    matches: dict[int, list[Match]] = defaultdict(list)
    for match in found:
        if match.text not in everyday or not _is_weak(match, empty.items):
            matches[match.row].append(match)
    return replace(empty, matches=matches, everyday=everyday)


def _is_weak(match: Match, items: Items) -> bool:
    """Whether a match says little if many rows have it: of a text of fewer than 13 words, or without 13 in a row."""
    if isinstance(match.text, bytes) or match.rule not in EXACT:
        return True
    return len(items.words_of(match.text)) < LONG


def certificate(name: str, found: Found, targets: list[Path], block: Contamination) -> dict[str, Any]:
    """What a certificate says: what was compared, each item that rows repeat, and whether the mix may be trained on."""
    matched, rows = matched_items(found), dict.fromkeys(SPLITS, 0)
    for row in found.matches:
        rows[found.places[row].split] += 1
    reasons = refusals(found.rows, rows, block)
    return {
        "mix": name,
        "policy": block.policy,
        "passes": not reasons,
        "reasons": reasons,
        "rows": found.rows,
        "matching_rows": rows,
        "evaluations": shares(found.items.items, matched),
        "items": [entry(found.items.items[number], found, rows) for number, rows in sorted(matched.items())],
        "everyday": everyday(found),
        "targets": [{"file": str(path), "sha256": sha256(path)} for path in targets],
        "method": {"words": LONG, "inside_from": SHORT, "by_itself_from": FEWEST, "overlap": block.overlap},
    }


def matched_items(found: Found) -> dict[int, dict[int, tuple[str, Match]]]:
    """By item, the rows that repeat it, each with the field and the match of the largest share."""
    matched: dict[int, dict[int, tuple[str, Match]]] = defaultdict(dict)
    for row, matches in found.matches.items():
        for match in matches:
            for item, field in found.owners(match.text):
                known = matched[item].get(row)
                if known is None or match.share > known[1].share:
                    matched[item][row] = (field, match)
    return matched


def entry(item: Item, found: Found, rows: dict[int, tuple[str, Match]]) -> dict[str, Any]:
    """A matched item, with its rows."""
    listed = [
        {
            **found.places[row]._asdict(),
            "field": field,
            "rule": match.rule,
            "share": round(match.share, 4),
        }
        for row, (field, match) in sorted(rows.items())
    ]
    return {"eval": item.eval, "task": item.task, "id": item.id, "fewshot": item.fewshot, "rows": listed}


def everyday(found: Found) -> list[dict[str, Any]]:
    """Items with a text that many rows have, such as `Can you say more about it?`: no evidence by itself."""
    listed = []
    for text, number in found.everyday.items():
        for owner, field in found.owners(text):
            item = found.items.items[owner]
            listed.append({"eval": item.eval, "task": item.task, "id": item.id, "field": field, "rows": number})
    return sorted(listed, key=lambda one: (one["eval"], one["task"], one["id"], one["field"]))


def shares(items: list[Item], matched: Container[int]) -> dict[str, dict[str, Any]]:
    """By evaluation and task, how many scored items rows repeat, with a 95 % interval of their share."""
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
    for number, item in enumerate(items):
        count, place = counts[item.eval][item.task], 2 * item.fewshot
        count[place] += 1
        count[place + 1] += number in matched
    return {
        name: {task: _share(*count) for task, count in sorted(tasks.items())} for name, tasks in sorted(counts.items())
    }


def _share(items: int, matched: int, fewshot: int, fewshot_matched: int) -> dict[str, Any]:
    low, high = interval(matched, items)
    found = {"items": items, "matched": matched, "share": round(matched / items, 6) if items else None}
    return found | {"low": low, "high": high, "fewshot": fewshot, "fewshot_matched": fewshot_matched}


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, Z * Z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return round(max(0.0, middle - half), 6), round(min(1.0, middle + half), 6)


def refusals(rows: dict[str, int], matching: dict[str, int], block: Contamination) -> list[str]:
    """Why nothing may be trained on a mix; empty if it passes."""
    total, hits = sum(rows.values()), sum(matching.values())
    if block.policy == "block":
        return (
            [f"{hits:,} of {total:,} rows repeat evaluation items, and contamination.policy is block"] if hits else []
        )
    found = [f"no row of the {split} split is left" for split in SPLITS if rows[split] == matching[split]]
    if hits > block.max_dropped_share * total:
        share = f"contamination.max_dropped_share is {block.max_dropped_share}"
        found.append(f"{hits:,} of {total:,} rows repeat evaluation items, and {share}")
    return found


def write_certificate(mix: Path, targets: list[Path], block: Contamination, out: Path) -> None:
    """Write the certificate of a mix.

    Args:
        mix: Folder with train.jsonl and eval.jsonl.
        targets: Files with evaluation items.
        block: The policy.
        out: File to write to.
    """
    items = Items(item for path in targets for item in read_rows(path, Item))
    said = certificate(mix.name, find(mix, items, block.overlap), targets, block)
    write_json(out, said)
    logger.info(f"certificate {mix.name}: {line_of(said)}")


def line_of(said: dict[str, Any]) -> str:
    """A certificate in a line."""
    tasks = [one for tasks in said["evaluations"].values() for one in tasks.values()]
    items, matched = sum(one["items"] for one in tasks), sum(one["matched"] for one in tasks)
    hits, rows = sum(said["matching_rows"].values()), sum(said["rows"].values())
    if not items:
        return f"{rows:,} rows and nothing to compare them with: no evaluation has items"
    passes = "passes" if said["passes"] else "does not pass"
    return f"{hits:,} of {rows:,} rows repeat {matched:,} of {items:,} scored items; {passes}"
