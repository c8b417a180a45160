"""Rows of files in the kinds that people have: JSON, CSV, TSV and Parquet, packed or not, one by one."""

import csv
import errno
import glob
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bezoar.errors import InputError, problem, unusable
from bezoar.files import walk
from bezoar.jsonl import MARK, PACKED, packing, read_lines, unpacked, whole_lines
from bezoar.steps.data.json_rows import Placed, read_json

PARQUET = b"PAR1"
DELIMITERS = ",;\t"
UNHASHED = {"__pycache__", ".dvc", ".git", ".hg"}  # folders that a folder's hash leaves out: an edit reruns nothing
BATCH = 1000  # rows of a Parquet file that are in memory at once


def read_table(path: Path, label: str) -> Placed:
    """Rows of a file, each with its place `label:line`; of an array or a Parquet file, with the row's number.

    Args:
        path: The file: JSON (lines, an array, or an object with one list of rows), CSV, TSV or Parquet; each may be
            packed by gzip, bzip2, xz or zstd. Suffixes tell, else the first bytes.
        label: The file's name in places, since its path may be a temporary one.

    Raises:
        ValueError: The file is of another kind, or a line doesn't fit.
    """
    kind = _suffix(path) if _suffix(path) in READERS else _kind_by_content(path, label)
    if kind not in READERS:
        found = f"{kind or 'a name without suffix'}, and neither JSON nor Parquet inside"
        expected = f"{', '.join(READERS)}; each also as {', '.join(PACKED)}"
        raise InputError(problem(f"{label}: unknown kind of file", found=found, expected=expected))
    yield from READERS[kind](path, label)


def files_at(path: str) -> list[str]:
    """The files of a path in the order of their names: itself, those of a folder, or those of a pattern.

    Of a folder these are the files with a suffix of rows, at any depth: there may be others beside them.

    Raises:
        ValueError: A link in the folder leads to a folder around it, so the files would have no end.
    """
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        return sorted(one for one in _below(path) if _suffix(Path(one)) in READERS)
    return sorted(one for one in glob.glob(path, recursive=True) if os.path.isfile(one))


def _below(folder: str) -> Iterator[str]:
    try:
        for parent, names in walk(folder, UNHASHED):
            yield from (os.path.join(parent, name) for name in names)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise InputError(unusable(error)) from error
        what, hint = f"{error.filename} leads to a folder around it", "remove the link"
        expected = "a folder without cycles of links"
        raise InputError(problem(what, found=error.strerror, expected=expected, hint=hint)) from error


def _suffix(path: Path) -> str:
    """The suffix that says a file's kind, without that of its packing."""
    return (path.with_suffix("") if path.suffix in PACKED else path).suffix.lower()


def _kind_by_content(path: Path, label: str) -> str:
    with unpacked(path, lambda: f"{label}:1") as file:
        start = file.read(1 << 12)
    if start.startswith(PARQUET):
        return ".parquet"
    return ".json" if start.removeprefix(MARK).lstrip()[:1] in (b"{", b"[") else _suffix(path)


def _tab_separated(path: Path, label: str) -> Placed:
    """Rows of a table without tabs or line ends in its cells; quotes aren't special."""
    header: list[str] = []
    for number, line in read_lines(path, label):
        if not header:
            header = _header(line.split("\t"), label)
        elif line:
            yield _row(header, line.split("\t"), f"{label}:{number}")


def _comma_separated(path: Path, label: str) -> Placed:
    """Rows of a table with cells in quotes, which may have line ends; semicolons or tabs may stand for commas."""
    csv.field_size_limit(sys.maxsize)
    lines = (line for _, line in whole_lines(path, label))
    first = next(lines, "")
    reader = csv.reader(itertools.chain([first], lines), delimiter=max(DELIMITERS, key=first.count), strict=True)
    header: list[str] = []
    while True:
        place = f"{label}:{reader.line_num + 1}"  # a record may have several lines
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{place}: not CSV: {error}") from error
        if cells is None:
            return
        if not header:
            header = _header(cells, place)
        elif cells:
            yield _row(header, cells, place)


def _header(cells: list[str], place: str) -> list[str]:
    if twice := [name for number, name in enumerate(cells) if name in cells[:number]]:
        raise InputError(problem(f"{place}: duplicate column", found=twice[0], expected="unique column names"))
    return cells


def _row(header: list[str], cells: list[str], place: str) -> tuple[str, dict[str, str]]:
    if len(cells) != len(header):
        raise InputError(f"{place}: not as many columns as the header line has")
    return place, dict(zip(header, cells, strict=True))


def _parquet(path: Path, label: str) -> Placed:
    import pyarrow  # slow to import; few sources are Parquet
    from pyarrow import parquet

    number = 0
    with _seekable(path, label) as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{label}:{number}", row
        except (pyarrow.ArrowException, OSError) as error:
            what = str(error).split("\n", 1)[0]
            raise InputError(f"{label}:{number + 1}: invalid Parquet file: {what}") from error


@contextmanager
def _seekable(path: Path, label: str) -> Iterator[IO[bytes]]:
    """A file for reading in any order: a packed one is unpacked to a temporary file."""
    if not packing(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        with unpacked(path, lambda: f"{label}:1") as file:
            shutil.copyfileobj(file, copy)
        yield copy


READERS: dict[str, Callable[[Path, str], Placed]] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".parquet": _parquet,
}
