"""The format of rows, found by their columns and values, and columns under other names."""

from collections.abc import Mapping, Sequence
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.steps.data.formats import FORMATS, Format
from bezoar.steps.data.json_rows import Malformed

HEAD = 20  # first rows that are looked at
SHOWN = 400  # characters of columns in a message
ABSENT = object()


def columns_of(rows: Sequence[Any]) -> str:
    """The columns of rows, for a message."""
    names = dict.fromkeys(str(name) for row in rows if isinstance(row, dict) for name in row)
    broken = next((f"no columns; {row.reason}: {row.text[:40]!r}" for row in rows if isinstance(row, Malformed)), None)
    return ", ".join(sorted(names))[:SHOWN] or broken or "no columns"


def check_some(rows: Sequence[Any], source: str) -> None:
    """Check that a source has rows.

    Raises:
        ValueError: It has none.
    """
    if not rows:
        raise InputError(
            problem(
                f"source {source}: it has no rows",
                found="nothing, or a header without rows",
                expected="one row or more",
                hint=f"look at what sources.{source} names",
            )
        )


def found_format(rows: Sequence[Any], source: str) -> str:
    """The format of a source's first rows: of those that half of them fit, the one with the most columns.

    Raises:
        ValueError: They fit no format, or two with as many columns.
    """
    counts = {one.name: sum(_fits(one, row) for row in rows) for one in FORMATS.values() if one.columns}
    most = max(counts.values())
    fitting = [FORMATS[name] for name, count in counts.items() if most and 2 * count >= most]
    if not fitting:
        raise InputError(
            problem(
                f"source {source}: its rows are of no known format",
                found=columns_of(rows),
                expected="\n            ".join(str(one) for one in FORMATS.values() if one.columns),
                hint=f"say what its columns are in sources.{source}.columns, such as {{prompt: question}}; or name the "
                f"format in sources.{source}.format",
            )
        )
    widest = max(len(one.columns) for one in fitting)
    best = [one for one in fitting if len(one.columns) == widest]
    if len(best) > 1:
        raise InputError(
            problem(
                f"source {source}: its rows fit {len(best)} formats",
                found=columns_of(rows),
                expected=f"one of {'; '.join(map(str, best))}",
                hint=f"name it in sources.{source}.format",
            )
        )
    return best[0].name


def _fits(one: Format, row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= set(one.columns) and one.fits(row)


def check_columns(columns: Mapping[str, str], rows: Sequence[Any], source: str) -> None:
    """Check that the columns that a source maps are in its first rows.

    Raises:
        ValueError: One is in none of them.
    """
    for name, theirs in columns.items():
        if rows and all(_inside(row, theirs) is ABSENT for row in rows):
            raise InputError(
                problem(
                    f"sources.{source}.columns.{name}: no such column in its first {len(rows):,} rows",
                    found=theirs,
                    expected=f"one of {columns_of(rows)}",
                )
            )


def check_names(columns: Mapping[str, str], name: str, source: str) -> None:
    """Check that the columns that a source maps are those of its format.

    Raises:
        ValueError: The format doesn't read one.
    """
    known = (*FORMATS[name].columns, *FORMATS[name].optional)
    for one in columns:
        if FORMATS[name].columns and one not in known:
            raise InputError(
                problem(
                    f"sources.{source}.columns: the format {name} has no such column",
                    found=one,
                    expected=", ".join(known),
                )
            )


def mapped(row: Any, columns: Mapping[str, str]) -> Any:
    """A row whose columns have the names that formats know; a dotted name is that of a column in another one."""
    if not columns or not isinstance(row, dict):
        return row
    found = {name: _inside(row, theirs) for name, theirs in columns.items()}
    kept = {name: value for name, value in row.items() if name not in columns.values()}
    return kept | {name: value for name, value in found.items() if value is not ABSENT}


def _inside(row: Any, name: str) -> Any:
    """The value of a column, or of a column in it; ABSENT if there is none."""
    if not isinstance(row, dict):
        return ABSENT
    if name in row:
        return row[name]
    outer, _, inner = name.partition(".")
    return _inside(row.get(outer), inner) if inner else ABSENT
