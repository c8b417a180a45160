"""What a step does with its rows: none gets lost uncounted, and an empty or decimated result is no success."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bezoar.errors import InputError, problem
from bezoar.logs import logger
from bezoar.steps.data.rows import DroppedRow

FEWEST_ROWS = 20  # a share says nothing about fewer rows: a small shard may lose all of its few by chance
PLACES = 3
DETAIL = 200  # characters of a detail in a message


def check_conserved(step: str, rows_in: int, rows_out: int, counted: Mapping[str, int]) -> None:
    """Nothing, if every row that went into a step came out, or is counted by reason.

    Raises:
        ValueError: Rows got lost, or there are more than went in.
    """
    if rows_in != rows_out + sum(counted.values()):
        raise ValueError(
            problem(
                f"{step}: rows got lost",
                found=f"{rows_in:,} in, {rows_out:,} out, {sum(counted.values()):,} counted{_listed(counted)}",
                expected="in = out + counted",
            )
        )


def check_dropped(
    step: str,
    rows_in: int,
    dropped: Sequence[DroppedRow],
    share: float,
    *,
    key: str,
    hint: str,
    fewest: int = FEWEST_ROWS,
) -> None:
    """Nothing, if at most a share of the rows was dropped.

    Args:
        step: What dropped them, and for what.
        rows_in: Rows that went in.
        dropped: Those that were dropped; what was merely not asked for isn't among them.
        share: The largest share that may be dropped.
        key: The bound's key in params.yaml.
        hint: What else may be wrong.
        fewest: Of fewer rows than this any share may be dropped: for a step that sees one shard of many.

    Raises:
        ValueError: More were dropped; the message has reasons, counts and first places.
    """
    if rows_in >= fewest and len(dropped) > share * rows_in:
        raise too_many_dropped(step, rows_in, dropped, f"at most a share of {share:g} ({key})", hint)


def check_some(step: str, rows_out: int, rows_in: int, dropped: Sequence[DroppedRow], *, hint: str) -> None:
    """Nothing, if a step that sees all rows of its block has some left.

    Raises:
        ValueError: None is left; the message has reasons, counts and first places.
    """
    if not rows_out:
        raise too_many_dropped(step, rows_in, dropped, "one row or more", hint)


def check_enough(step: str, found: int, asked: int, share: float, *, key: str, hint: str) -> None:
    """Nothing, if at most a share of what was asked for is missing; what is missing is logged.

    Raises:
        ValueError: More is missing.
    """
    if found < (1 - share) * asked:
        raise InputError(
            problem(
                f"{step}: too few rows",
                found=f"{found:,}",
                expected=f"{asked:,}, of which at most a share of {share:g} may be missing ({key})",
                hint=hint,
            )
        )
    if found < asked:
        logger.warning(f"{step}: {found:,} rows, {asked:,} were asked for")


def too_many_dropped(step: str, rows_in: int, dropped: Sequence[DroppedRow], expected: str, hint: str) -> InputError:
    """The error about rows that were dropped: how many, why and where first."""
    count = f"{len(dropped):,} of {rows_in:,} rows dropped" if rows_in else "no row at all"
    found = "\n            ".join([count, *first_places(dropped)])
    return InputError(problem(f"{step}: too few rows are left", found=found, expected=expected, hint=hint))


def first_places(dropped: Iterable[DroppedRow]) -> list[str]:
    """For each reason, the most frequent first: how many rows were dropped for it, and where the first ones are."""
    places: dict[str, list[str]] = {}
    for row in dropped:
        places.setdefault(row.reason, []).append(row.detail)
    ordered = sorted(places.items(), key=lambda item: -len(item[1]))
    return [f"{len(found):,} {reason}: {_first(found)}" for reason, found in ordered]


def _first(details: list[str]) -> str:
    shown = [detail[:DETAIL] for detail in dict.fromkeys(details) if detail][:PLACES]
    return ", ".join(shown) or "no details"


def _listed(counted: Mapping[str, int]) -> str:
    found = ", ".join(f"{number:,} {reason}" for reason, number in sorted(Counter(counted).items()))
    return f" ({found})" if found else ""
