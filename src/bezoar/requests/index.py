"""Where the answers are in a session's file: read from its lines, or from the index beside it."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANSWERS, LEDGER, INDEX = ".answers.jsonl", ".ledger.jsonl", ".index"
ENTRY = np.dtype([("key", "<u8"), ("offset", "<u8"), ("length", "<u4")])
HEAD = len('{"key":"')
DIGITS = 16  # of a key in an index; a line has all 64
DIGITS_OF_KEY = re.compile(rb"[0-9a-f]{%d}" % DIGITS)


def number_of(key: str) -> int:
    """The part of a key that is in an index."""
    return int(key[:DIGITS], 16)


def write_index(index: Path, answers: Path) -> None:
    """Write the place of each answer in a session's file."""
    entries, _ = scan(answers, 0)
    partial = index.with_name(f".{index.name}.{os.getpid()}.partial")
    partial.write_bytes(entries.tobytes())
    os.replace(partial, index)


def entries_of(path: Path, start: int) -> tuple[NDArray[Any], int]:
    """A file's entries from an offset on, from its index if that is complete; and how far it was read."""
    size = path.stat().st_size
    if start == 0:
        with suppress(FileNotFoundError):
            entries = np.fromfile(Path(f"{str(path).removesuffix(ANSWERS)}{INDEX}"), ENTRY)
            if len(entries) and int(entries["offset"][-1]) + int(entries["length"][-1]) == size:
                return entries, size
    return scan(path, start)


def scan(path: Path, start: int) -> tuple[NDArray[Any], int]:
    """A file's entries from an offset on, from its complete lines; and how far they go."""
    rows = []
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                break
            if DIGITS_OF_KEY.fullmatch(key := line[HEAD : HEAD + DIGITS]):
                rows.append((int(key, 16), start, len(line)))
            start += len(line)
    return np.array(rows, ENTRY), start
