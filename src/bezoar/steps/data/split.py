"""Split a mix into train and eval: families stay together, and none is held out that an earlier stage trained on."""

from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps.data import rows
from bezoar.steps.data.examples import Example
from bezoar.steps.data.families import KEYS, Families

MOST_HELD = 3  # times `eval_rows` is the most that the eval split may have, since families are held out whole


def split(
    examples: list[Example], eval_rows: int, seed: int, earlier: list[dict[str, str]]
) -> tuple[list[Example], list[Example]]:
    """Train and eval examples; families stay whole, so eval may have a few rows more than `eval_rows`, or fewer.

    A family with a row in the train split of an earlier mix is never held out. The others are in the order of a hash of
    seed and family; one with more rows than are still wanted is skipped if there are others.

    Args:
        examples: In any order.
        eval_rows: Rows to hold out.
        seed: The recipe's seed.
        earlier: Train rows of earlier mixes, with the columns of family keys.

    Raises:
        ValueError: Nothing would be left to train on.
    """
    families = Families()
    families.join([*examples, *earlier])
    trained = {families.of(row) for row in earlier}
    members: dict[str, list[Example]] = {}
    for example in examples:
        members.setdefault(families.of(example), []).append(example)
    free = sorted(members.keys() - trained, key=lambda family: rows.rank(seed, "eval", family))
    held = _chosen(free, members, eval_rows)
    train = [one for family in members if family not in held for one in members[family]]
    if not train:
        raise InputError(
            problem(
                "nothing is left to train on",
                found=f"{len(examples)} rows, {eval_rows} of them for eval",
                expected="rows for training",
                hint="lower eval_rows, or mix more rows",
            )
        )
    train.sort(key=lambda example: rows.rank(seed, "order", example["id"]))
    return train, [one for family in free if family in held for one in members[family]]


def _chosen(free: list[str], members: dict[str, list[Example]], eval_rows: int) -> set[str]:
    """The families to hold out: in order, those that fit, then the smallest of the others until there are enough.

    A family that would lead to more than MOST_HELD times the wanted rows stays in the train split; so there may be
    fewer rows.
    """
    held: set[str] = set()
    left = eval_rows
    for family in free:
        if len(members[family]) <= left:
            held.add(family)
            left -= len(members[family])
    for family in sorted(free, key=lambda name: len(members[name])):
        if left <= 0 or family in held:
            continue
        if eval_rows - left + len(members[family]) > MOST_HELD * eval_rows:
            logger.warning(
                f"{eval_rows - left:,} of {eval_rows:,} rows are held out: the next smallest family alone has "
                f"{len(members[family]):,}"
            )
            break
        held.add(family)
        left -= len(members[family])
    return held


def trained_before(paths: list[Path]) -> list[dict[str, str]]:
    """The family keys of earlier mixes' train rows."""
    return [{key: row[key] for key in KEYS} for path in paths for _, row in read_json_lines(path)]
