"""Tables and sections of cards; no value of a cell breaks its table or reaches a terminal as a command."""

from collections.abc import Iterable, Iterator
from typing import Any

from bezoar.text import printable


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines under a heading; nothing if there are none."""
    found = list(lines)
    if found:
        yield from ("", f"## {title}", "", *found)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """A table; nothing without rows."""
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        yield from (f"| {' | '.join(map(cell, row))} |" for row in rows)


def cell(value: Any) -> str:
    """A value as the text of a cell."""
    return "" if value is None else printable(str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " "))
