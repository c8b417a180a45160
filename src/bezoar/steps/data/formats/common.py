"""The class of a format, and helpers to read a column."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bezoar.steps.data.rows import Row, Unusable

MixFormat = Literal["prompt_completion", "preference"]
Normal = Row | dict[str, Any]


@dataclass(frozen=True)
class Format:
    """A public row format.

    Attributes:
        name: Its name in params.yaml.
        convert: Converts a row to our own type; raises Unusable, or KeyError for a missing column.
        columns: Columns of every row, by which the format is detected; empty for a format that has to be named.
        mixes: The kinds of mix that can contain its rows.
        further: Other rows of the format that a row contains.
        optional: Columns that are read if they are there.
        fits: Whether the values in a row's columns are those of the format: others may have columns of these names.
        values: What the columns hold, for a message.
    """

    name: str
    convert: Callable[[dict[str, Any]], Normal]
    columns: tuple[str, ...] = ()
    mixes: tuple[MixFormat, ...] = ()
    further: Callable[[dict[str, Any]], list[Any]] = lambda row: []
    optional: tuple[str, ...] = ()
    fits: Callable[[dict[str, Any]], bool] = lambda row: True
    values: str = ""

    def __str__(self) -> str:
        """Its name and columns, for a message."""
        return f"{self.name} ({', '.join(self.columns)}{': ' if self.values else ''}{self.values})"


def text_in(row: dict[str, Any], column: str) -> str:
    """A column's text without surrounding whitespace.

    Raises:
        Unusable: It is missing, null, empty, or not text.
    """
    found = optional_text(row, column)
    if found is None:
        raise Unusable("empty" if isinstance(row.get(column), str) else f"no {column}")
    return found


def optional_text(row: dict[str, Any], column: str) -> str | None:
    """A column's text without surrounding whitespace; None if it is missing, null or empty.

    Raises:
        Unusable: It is anything else.
    """
    found = row.get(column)
    if found is not None and not isinstance(found, str):
        raise Unusable(f"{column} is not text")
    return (found or "").strip() or None


def check_pair(chosen: str, rejected: str) -> None:
    """Check that two answers are there and differ.

    Raises:
        Unusable: One is empty, or they are equal.
    """
    if not chosen or not rejected:
        raise Unusable("empty response")
    if chosen == rejected:
        raise Unusable("chosen equals rejected")


def as_rows(kind: type[Row]) -> Callable[[dict[str, Any]], Row]:
    """The conversion of a format that is one of our row types."""
    return lambda row: kind.model_validate(row)
