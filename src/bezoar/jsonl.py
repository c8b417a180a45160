"""JSON lines, read line by line, so that errors name the line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from bezoar.errors import InputError

MARK = b"\xef\xbb\xbf"  # a byte order mark; some editors and spreadsheets write it before UTF-8


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading; `.gz` is unpacked."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_lines(path: Path | str, label: str | None = None) -> Iterator[tuple[int, str]]:
    """Line number, from 1, and text of each line, without its end and without a byte order mark; `.gz` is unpacked.

    Args:
        path: The file.
        label: The file's name in errors; its path by default.

    Raises:
        ValueError: The file isn't UTF-8, or a gzip file is cut or damaged.
    """
    path, label = Path(path), label or str(path)
    number = 0
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):  # decoded by line, so that errors name the line
                yield number, (line.removeprefix(MARK) if number == 1 else line).decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{label}:{number}: not UTF-8: {error.reason}") from error
        except EOFError as error:
            raise InputError(f"{label}:{number + 1}: the gzip file is cut: it ends before its end marker") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{label}:{number + 1}: not a sound gzip file: {error}") from error


def read_json_lines(path: Path | str, label: str | None = None) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and content of each line that isn't blank; `.gz` is unpacked.

    Args:
        path: The file.
        label: The file's name in errors; its path by default.

    Raises:
        ValueError: A line isn't JSON, or the file isn't UTF-8, or is cut.
    """
    label = label or str(path)
    for number, line in read_lines(path, label):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{label}:{number}: not JSON: {error.msg}") from error
        except RecursionError as error:
            raise InputError(f"{label}:{number}: not JSON: nested too deeply") from error
        except ValueError as error:  # a number of thousands of digits
            raise InputError(f"{label}:{number}: not JSON: {error}") from error
