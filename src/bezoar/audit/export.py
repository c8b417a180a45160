"""Rows that steps left out, as a file for other tools: JSON lines, CSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bezoar.audit.chain import LeftOut
from bezoar.errors import InputError, problem
from bezoar.files import whole
from bezoar.steps.data.rows import write_rows
from bezoar.text import printable

COLUMNS = ("step", "name", "place", "reason", "detail", "id", "row")
BATCH = 1000  # rows of a Parquet file that are in memory at once
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs a cell that begins so
BOM = "utf-8-sig"  # spreadsheets take a file without the mark for another encoding than UTF-8


def record(one: LeftOut) -> dict[str, Any]:
    """A row that was left out, with its step, its place and its reason."""
    name = one.dropped.row.get("id")
    values = (one.step.kind, one.step.name, one.place, one.dropped.reason, one.dropped.detail)
    return dict(zip(COLUMNS, (*values, name if isinstance(name, str) else None, one.dropped.row), strict=True))


def export(rows: Iterable[LeftOut], path: Path) -> int:
    """Write rows to a file of the kind that its suffix says; returns their number.

    Raises:
        InputError: The suffix is of no such kind.
    """
    write = WRITERS.get(path.suffix)
    if write is None:
        raise InputError(problem("--export", found=str(path), expected=f"a file with suffix {', '.join(WRITERS)}"))
    return write(path, map(record, rows))


def cell(text: str) -> str:
    """A text for a cell of a spreadsheet: no control characters, and an apostrophe before what would be a formula.

    Source: OWASP, CSV Injection.
    """
    text = printable(text.replace("\r\n", "\n"))
    return f"'{text}" if text.startswith(FORMULA) else text


def _json_text(data: Any) -> str:
    return json.dumps(data)  # in ASCII, so that no cell has to change it


def _csv(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    number = 0
    with whole(path) as partial, partial.open("w", encoding=BOM, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            texts = (row | {"row": _json_text(row["row"])}).values()
            writer.writerow([cell(text or "") for text in texts])
            number += 1
    return number


def _parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow  # slow to import
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    number = 0
    with whole(path) as partial, parquet.ParquetWriter(partial, schema) as writer:
        while batch := [row | {"row": _json_text(row["row"])} for row in islice(rows, BATCH)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            number += len(batch)
    return number


WRITERS: dict[str, Callable[[Path, Iterator[dict[str, Any]]], int]] = {
    ".jsonl": write_rows,
    ".csv": _csv,
    ".parquet": _parquet,
}
