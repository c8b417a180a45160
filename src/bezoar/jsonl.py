"""JSON lines, read line by line, so that errors name the line; packed files are unpacked on the way."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from bezoar.errors import InputError, problem

MARK = b"\xef\xbb\xbf"  # a byte order mark; some editors and spreadsheets write it before UTF-8


def _zstandard(path: Path) -> io.BufferedReader:
    import pyarrow  # slow to import, and few files are packed so

    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


PACKED: dict[str, tuple[bytes, str, Callable[[Path], Any]]] = {  # by suffix: first bytes, name, and what unpacks it
    ".gz": (b"\x1f\x8b", "gzip", gzip.GzipFile),
    ".bz2": (b"BZh", "bzip2", bz2.BZ2File),
    ".xz": (b"\xfd7zXZ\x00", "xz", lzma.LZMAFile),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd", _zstandard),
}


def packing(path: Path) -> str:
    """How a file is packed, as a suffix: by its own, else by its first bytes; empty for a file that isn't packed."""
    if path.suffix in PACKED:
        return path.suffix
    with path.open("rb") as file:
        start = file.read(6)
    return next((suffix for suffix, (magic, *_) in PACKED.items() if start.startswith(magic)), "")


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading; gzip, bzip2, xz and zstd are unpacked."""
    suffix = packing(path)
    return cast(IO[bytes], PACKED[suffix][2](path)) if suffix else path.open("rb")


@contextmanager
def unpacked(path: Path, place: Callable[[], str]) -> Iterator[IO[bytes]]:
    """A file for reading; a packed one that is cut or damaged is an error at a place.

    Args:
        path: The file.
        place: What has been read so far, as `file:line` of the next line.

    Raises:
        ValueError: The file is cut or damaged.
    """
    suffix = packing(path)
    kind = PACKED[suffix][1] if suffix else ""
    with open_bytes(path) as file:
        try:
            yield file
        except EOFError as error:
            raise InputError(f"{place()}: the {kind} file is cut: it ends before its end marker") from error
        except (zlib.error, lzma.LZMAError, OSError) as error:
            if not suffix or getattr(error, "errno", None) is not None:
                raise  # of the file system
            if "Truncated" in str(error):  # zstd
                raise InputError(f"{place()}: the {kind} file is cut: it ends before its end marker") from error
            raise InputError(f"{place()}: invalid {kind} file: {error}") from error


def read_lines(path: Path | str, label: str | None = None) -> Iterator[tuple[int, str]]:
    """Line number, from 1, and text of each line, without its end and without a byte order mark.

    Args:
        path: The file; gzip, bzip2, xz and zstd are unpacked.
        label: The file's name in errors; its path by default.

    Raises:
        ValueError: The file isn't UTF-8, or a packed file is cut or damaged.
    """
    return ((number, line.rstrip("\r\n")) for number, line in whole_lines(path, label))


def whole_lines(path: Path | str, label: str | None = None) -> Iterator[tuple[int, str]]:
    """The same, with the lines' ends."""
    path, label = Path(path), label or str(path)
    number = 0
    with unpacked(path, lambda: f"{label}:{number + 1}") as file:
        try:
            for number, line in enumerate(file, start=1):  # decoded by line, so that errors name the line
                yield number, (line.removeprefix(MARK) if number == 1 else line).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{label}:{number}: not UTF-8: {error.reason}") from error


def byte_lines(path: Path, label: str) -> Iterator[tuple[int, bytes]]:
    """Line number, from 1, and bytes of each line with its end, without a byte order mark.

    Raises:
        ValueError: A packed file is cut or damaged.
    """
    number = 0
    with unpacked(path, lambda: f"{label}:{number + 1}") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.removeprefix(MARK) if number == 1 else line


def read_json_lines(path: Path | str, label: str | None = None) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and content of each line that isn't blank.

    Args:
        path: The file; gzip, bzip2, xz and zstd are unpacked.
        label: The file's name in errors; its path by default.

    Raises:
        ValueError: A line isn't JSON, or the file isn't UTF-8, or is cut.
    """
    label = label or str(path)
    for number, line in read_lines(path, label):
        if line.strip():
            yield number, from_json(line, f"{label}:{number}")


def from_json(text: str, place: str) -> Any:
    """The content of a text in JSON.

    Raises:
        ValueError: It isn't JSON; the message begins with the place.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise not_json(place, error) from error
    except RecursionError as error:
        what, expected = f"{place}: not JSON", "JSON of some levels"
        raise InputError(problem(what, found="values that are nested too deeply", expected=expected)) from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(problem(f"{place}: not JSON", found=error, expected="JSON")) from error


def not_json(place: str, error: json.JSONDecodeError) -> InputError:
    """The error about a text that isn't JSON, with what is there instead."""
    rest = error.doc[error.pos : error.pos + 40].rstrip("\r\n")
    ended = error.msg.startswith("Unterminated") or not rest.strip()
    hint = (
        "it ends within a value: is the file cut? Rows that go over several lines have to be in one array"
        if ended
        else ""
    )
    found = f"{error.msg}: {rest!r}" if rest.strip() else f"{error.msg}: nothing more"
    return InputError(problem(f"{place}: not JSON", found=found, expected="whole values in JSON", hint=hint))
