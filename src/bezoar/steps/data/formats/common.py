"""What the formats share: what a format is, and how a column is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bezoar.steps.data.rows import Row

MixFormat = Literal["prompt_completion", "preference"]
Normal = Row | dict[str, Any]


class Unusable(ValueError):
    """A row can't be used; the argument is the reason that it is counted under."""


@dataclass(frozen=True)
class Format:
    """A public row format.

    Attributes:
        name: As params.yaml calls it.
        convert: A row as our own; raises Unusable, or KeyError for a column that it needs.
        columns: Columns that each of its rows has and by which it is found; empty for a format that has to be named.
        mixes: The kinds of mix that its rows can be a part of.
        further: Rows of the format that a row holds beside the one that it becomes.
    """

    name: str
    convert: Callable[[dict[str, Any]], Normal]
    columns: tuple[str, ...] = ()
    mixes: tuple[MixFormat, ...] = ()
    further: Callable[[dict[str, Any]], list[Any]] = lambda row: []


def text_in(row: dict[str, Any], column: str) -> str:
    """A column's text without white space around it.

    Raises:
        Unusable: It is absent, null, no text, or empty.
    """
    found = optional_text(row, column)
    if found is None:
        raise Unusable("empty" if isinstance(row.get(column), str) else f"no {column}")
    return found


def optional_text(row: dict[str, Any], column: str) -> str | None:
    """A column's text without white space around it; None where it is absent, null or empty.

    Raises:
        Unusable: It holds something else.
    """
    found = row.get(column)
    if found is not None and not isinstance(found, str):
        raise Unusable(f"{column} is no text")
    return (found or "").strip() or None


def as_rows(kind: type[Row]) -> Callable[[dict[str, Any]], Row]:
    """The conversion of a format that is our row type already."""
    return lambda row: kind.model_validate(row)
