"""Split a mix into train and eval: families stay together, and none is held out that an earlier stage trained on."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps.data import rows
from bezoar.steps.data.families import KEYS, Families, number_of

MOST_HELD = 3  # times `eval_rows` is the most that the eval split may have, since families are held out whole
Numbers = np.ndarray[Any, np.dtype[Any]]


def held_out(
    examples: Iterable[Mapping[str, str]], eval_rows: int, seed: int, earlier: Iterable[Mapping[str, str]]
) -> list[int]:
    """The numbers, from 0, of the examples to hold out, in their order in the eval split; the others are trained on.

    Families stay whole, so these may be a few more than `eval_rows`, or fewer. A family with a row in the train split
    of an earlier mix is never held out. The others are in the order of a hash of seed and family; one with more rows
    than are still wanted is skipped if there are others.

    Args:
        examples: The columns of family keys, in any order.
        eval_rows: Rows to hold out.
        seed: The recipe's seed.
        earlier: The same columns of the train rows of earlier mixes.

    Raises:
        ValueError: Nothing would be left to train on.
    """
    families = Families()
    own, before = (array("Q", _joined(families, some)) for some in (examples, earlier))
    names, members, sizes = np.unique(families.names(own), return_inverse=True, return_counts=True)
    free = np.flatnonzero(~np.isin(names, families.names(before)))
    ranks = (int(rows.rank(seed, "eval", f"{name:016x}"), 16) for name in names[free].tolist())
    free = free[np.argsort(np.fromiter(ranks, np.uint64, len(free)), kind="stable")]
    held = _chosen(free, sizes, eval_rows)
    order = np.full(len(names), -1)
    order[held] = np.arange(len(held))
    found = np.flatnonzero(order[members] >= 0)
    if len(found) == len(own):
        raise InputError(
            problem(
                "nothing is left to train on",
                found=f"{len(own)} rows, {eval_rows} of them for eval",
                expected="rows for training",
                hint="lower eval_rows, or mix more rows",
            )
        )
    return [int(one) for one in found[np.argsort(order[members[found]], kind="stable")]]


def _joined(families: Families, examples: Iterable[Mapping[str, str]]) -> Iterator[int]:
    """The first key of each example, after its families are joined."""
    for one in examples:
        families.join([one])
        yield number_of(one[KEYS[0]])


def _chosen(free: Numbers, sizes: Numbers, eval_rows: int) -> Numbers:
    """The families to hold out: in order, those that fit, then the smallest of the others until there are enough.

    A family that would lead to more than MOST_HELD times the wanted rows stays in the train split; so there may be
    fewer rows.
    """
    held, left = np.zeros(len(free), bool), eval_rows
    for place, size in enumerate(sizes[free].tolist()):
        if size <= left:
            held[place] = True
            left -= size
        if not left:
            break
    for place in np.argsort(sizes[free], kind="stable").tolist():
        size = int(sizes[free[place]])
        if left <= 0 or held[place]:
            continue
        if eval_rows - left + size > MOST_HELD * eval_rows:
            logger.warning(
                f"{eval_rows - left:,} of {eval_rows:,} rows are held out: the next smallest family alone has {size:,}"
            )
            break
        held[place] = True
        left -= size
    return free[held]


def trained_before(paths: Iterable[Path]) -> Iterator[dict[str, str]]:
    """The family keys of earlier mixes' train rows."""
    return ({key: row[key] for key in KEYS} for path in paths for _, row in read_json_lines(path))
