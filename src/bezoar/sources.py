"""Where rows come from: the embedded world, a file, an address or the hub; checked before anything is read."""

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from bezoar import files, world
from bezoar.balanced import some_of
from bezoar.params.data import Builtin, File, Hub, Source, Url
from bezoar.rows import Row, rank, read_json_lines, read_lines

Item = TypeVar("Item")
Placed = Iterator[tuple[str, dict[str, Any]]]


def rows_of(origin: Builtin | File | Url | Hub, seed: int, scratch: Path) -> Placed:
    """Where each row stands, and the row, in the origin's own order.

    Args:
        origin: The origin block of a source.
        seed: Seed of rows that are made here.
        scratch: Folder for what is fetched.

    Raises:
        ValueError: The content isn't what the pinned sha256 says, or isn't of a kind that is read here.
        OSError: The file or address can't be read.
    """
    match origin:
        case Builtin():
            prompts = Path(origin.prompts) if origin.prompts else None
            for number, row in enumerate(world.build(origin.set, origin.rows, seed, prompts), start=1):
                yield f"world {origin.set}:{number}", row
        case File():
            yield from read_table(_checked(Path(origin.path), origin.sha256, origin.path), origin.path)
        case Url():
            yield from read_table(_checked(_fetched(origin.url, scratch), origin.sha256, origin.url), origin.url)
        case Hub():
            yield from _hub_rows(origin)


def read_table(path: Path, label: str) -> Placed:
    """Rows of a JSONL, TSV or Parquet file, the first two perhaps gzipped, each at `label:line`.

    Args:
        path: The file.
        label: What stands for the file in places: a path may lie in a temporary folder, and rows keep their places.

    Raises:
        ValueError: The file is of another kind, or a line doesn't fit.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind in (".jsonl", ".json"):
        for number, row in read_json_lines(path, label):
            yield f"{label}:{number}", row
    elif kind == ".tsv":
        yield from _tab_separated(path, label)
    elif kind == ".parquet":
        yield from _parquet(path, label)
    else:
        raise ValueError(f"{label}: unknown kind of file\n  found:    {kind}\n  expected: .jsonl, .tsv or .parquet")


def _tab_separated(path: Path, label: str) -> Placed:
    """Rows of a table whose cells hold neither tab nor line end; quotes are characters like others."""
    header: list[str] = []
    for number, line in read_lines(path, label):
        cells = line.split("\t")
        if not header:
            header = cells
        elif line and len(cells) != len(header):
            raise ValueError(f"{label}:{number}: not as many columns as the header line has")
        elif line:
            yield f"{label}:{number}", dict(zip(header, cells, strict=True))


def _parquet(path: Path, label: str) -> Placed:
    import pyarrow  # slow to import, and few sources are Parquet
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                yield f"{label}:{number}", row
    except (pyarrow.ArrowException, OSError) as error:
        what = str(error).split("\n", 1)[0]
        raise ValueError(f"{label}:{number + 1}: not a sound Parquet file: {what}") from error


def taken(rows: list[Item], source: Source, seed: int, name: str) -> list[Item]:
    """The rows that a source's `first` and `sample` take, in the source's order.

    A sample is what comes first in the order of a hash of seed and row: a smaller one is a part of a larger one.

    Raises:
        ValueError: There are fewer rows than `sample` draws.
    """
    rows = rows[: source.first] if source.first else rows
    if source.sample is None:
        return rows
    if source.format == "questions" and source.sample <= len(rows):
        return some_of(rows, source.sample, seed)  # of every category, for a pilot
    if source.sample > len(rows):
        raise ValueError(
            f"sources.{name}.sample\n  found:    {source.sample:,}\n  expected: at most {len(rows):,} rows"
        )
    ordered = sorted(range(len(rows)), key=lambda place: (rank(seed, _content(rows[place])), place))
    return [rows[place] for place in sorted(ordered[: source.sample])]


def _content(row: Any) -> str:
    """What tells a row from others: its id, or all of it."""
    if isinstance(row, Row):
        row = getattr(row, "id", None) or row.model_dump()
    return row if isinstance(row, str) else json.dumps(row, sort_keys=True)


def _checked(path: Path, sha256: str, origin: str) -> Path:
    found = files.sha256(path)
    if found != sha256:
        raise ValueError(
            f"{origin}: the content is not the pinned one\n  found:    sha256 {found}\n  expected: sha256 {sha256}\n"
            "hint: if the new content is meant, write its sha256 into params.yaml"
        )
    return path


def _fetched(url: str, scratch: Path) -> Path:
    path = scratch / url.rsplit("/", 1)[-1].split("?", 1)[0]
    with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:  # schemes: see params.Url
        shutil.copyfileobj(answer, file)
    return path


def _hub_rows(origin: Hub) -> Placed:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets  # slow to import, and only hub sources need it

    datasets.disable_progress_bars()
    split = {origin.split: origin.files} if origin.files else None
    table = datasets.load_dataset(
        origin.repository, data_files=split, revision=origin.revision, split=origin.split, verification_mode="no_checks"
    )
    for number, row in enumerate(table, start=1):
        yield f"{origin.repository}@{origin.revision}:{number}", row
