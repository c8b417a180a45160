"""A mix's rows as Parquet, each with where it is from; the same rows give the same bytes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.errors import InputError, problem
from bezoar.files import whole
from bezoar.jsonl import read_json_lines

if TYPE_CHECKING:
    import pyarrow

BATCH = 5_000  # rows of a row group, and all that is held in memory
ORIGIN = ("part", "kind", "scheme", "file", "line", "cluster")
COLUMNS = {"prompt_completion": ("prompt", "completion"), "preference": ("prompt", "chosen", "rejected")}
NUMBERS = ("score_chosen", "score_rejected", "win_rate_chosen", "win_rate_rejected")  # of some pairs
SPLITS = ("train", "eval")
Row = dict[str, Any]


def joined(rows: Path, origins: Path, licences: dict[str, str]) -> Iterator[Row]:
    """The rows of a split, each with its origin and its part's licence.

    Origins are those of all rows of the mix in its order; rows may have been left out since then.

    Raises:
        InputError: A row has no origin.
    """
    split = rows.stem
    known = (one for _, one in read_json_lines(origins) if one.get("split") == split)
    for line, row in read_json_lines(rows):
        origin = next((one for one in known if one["id"] == row["id"]), None)
        if origin is None:
            found, expected = f"the row {row['id']}", f"rows in the order of {origins}"
            raise InputError(problem(f"{rows}:{line}: a row without an origin", found=found, expected=expected))
        yield row | {name: origin.get(name) for name in ORIGIN} | {"licence": licences[_part(origin)]}


def _part(origin: Row) -> str:
    """A part by its kind and name: a scheme and a source may share a name."""
    return f"{origin['kind']} {origin['part']}"


def columns_of(rows: Path, form: str) -> tuple[str, ...]:
    """The columns of a mix's format, and further ones that any of its rows has."""
    if form != "preference":
        return COLUMNS[form]
    found = {name for split in SPLITS for _, row in read_json_lines(rows / f"{split}.jsonl") for name in row}
    return (*COLUMNS[form], *(name for name in ("gold", *NUMBERS) if name in found))


def schema(names: Iterable[str]) -> "pyarrow.Schema":
    """The columns of a mix, and those of a row's origin."""
    import pyarrow as pa

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    texts = [(name, pa.string()) for name in ("part", "kind", "scheme", "file")]
    return pa.schema(
        [
            ("id", pa.string()),
            ("family", pa.string()),
            *((name, pa.float64() if name in NUMBERS else messages) for name in names),
            *texts,
            ("line", pa.int64()),
            ("cluster", pa.string()),
            ("licence", pa.string()),
        ]
    )


def write_parquet(path: Path, rows: Iterable[Row], names: Iterable[str]) -> int:
    """Write rows with some columns as Parquet, batch by batch; returns their bytes in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, left, size = schema(names), iter(rows), 0
    with whole(path) as partial, pq.ParquetWriter(partial, columns, compression="zstd") as file:
        while batch := list(islice(left, BATCH)):
            table = pa.Table.from_pylist([_plain(row, columns.names) for row in batch], schema=columns)
            size += table.nbytes
            file.write_table(table)
    return size


def _plain(row: Row, names: list[str]) -> Row:
    """The row's values of the columns; a cluster is text, whatever numbers it."""
    found = {name: row.get(name) for name in names}
    return found | {"cluster": None if found["cluster"] is None else str(found["cluster"])}


def features(names: Iterable[str]) -> list[dict[str, Any]]:
    """The columns in the form of a card's YAML head."""
    import pyarrow as pa

    messages = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    return [
        {"name": one.name, "list": [dict(part) for part in messages]}
        if pa.types.is_list(one.type)
        else {"name": one.name, "dtype": "float64" if pa.types.is_floating(one.type) else str(one.type)}
        for one in schema(names)
    ]
