"""Rows of a source as lists, where a build writes them one by one."""

import json
from collections.abc import Iterable
from typing import Any

from bezoar.steps.data import mixing
from bezoar.steps.data import normalise as module
from bezoar.steps.data import source as rule
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.draw import Draw
from bezoar.steps.data.examples import Window
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.pool import Folders
from bezoar.steps.data.rows import DroppedRow
from bezoar.steps.data.sources import Sample, Source
from bezoar.steps.data.split import held_out


def normalise(rows: Iterable[tuple[str, Any]], name: str, replaced: Tally | None = None) -> tuple[list[Any], list[Any]]:
    """The rows of a format that fit, and the others."""
    found = [row for _, row in module.normalised(rows, name, Tally() if replaced is None else replaced)]
    dropped = [row for row in found if isinstance(row, DroppedRow)]
    return [row for row in found if not isinstance(row, DroppedRow)], dropped


def read(placed: Iterable[tuple[str, Any]], source: Source, seed: int, name: str) -> tuple[list[Any], list[Any], Any]:
    """The rows that are taken from a source, those that are dropped, and the counts."""
    kept: list[Any] = []
    dropped: list[DroppedRow] = []
    report, chosen = rule.read(placed, source, seed, name, lambda _, row: kept.append(row), dropped.append)
    return [row for number, row in enumerate(kept) if chosen is None or number in chosen], dropped, report


def split(examples: list[Any], eval_rows: int, seed: int, earlier: list[Any]) -> tuple[list[Any], list[Any]]:
    """The examples to train on, in their order, and those that are held out."""
    held = held_out(examples, eval_rows, seed, earlier)
    return [one for number, one in enumerate(examples) if number not in held], [examples[number] for number in held]


def mixed(block: Mix, folders: Folders, system: str | None, window: Window | None, seed: int) -> tuple[Any, Any, Any]:
    """The examples of a mix, its dropped rows, and the counts of its parts."""
    dropped: list[DroppedRow] = []
    draw = Draw(block, system, window, seed, dropped.append)
    report = mixing.mixed(draw, block, folders, [], "some")
    return [json.loads(line) for line, _ in draw.held(range(len(draw)))], dropped, report


def taken(rows: list[Any], size: int | None, seed: int, name: str = "name") -> list[Any]:
    """The rows that a sample draws."""
    sample = Sample(size, seed)
    for row in rows:
        sample.add(row)
    chosen = sample.chosen(name)
    return [row for number, row in enumerate(rows) if chosen is None or number in chosen]
