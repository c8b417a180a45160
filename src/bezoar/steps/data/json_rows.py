"""Rows of a JSON document: an array, or an object with one array; read piece by piece, so that it may be large."""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.jsonl import MARK, byte_lines, from_json, not_json, unpacked

CHUNK = 1 << 16  # bytes per read
LINE = 1 << 24  # bytes of the first line at most that are read to see if it is a row
LINES = (".jsonl", ".ndjson")
BLANK = re.compile(r"[ \t\r\n]*")
OPENS = re.compile(r"\[[ \t\r\n]*(.?)", re.DOTALL)
DECODER = json.JSONDecoder()
LITERAL = 16  # characters at the end that may be a part of a word, a number or an escape
ROW_LISTS = {  # columns with lists of objects: an object with one of them is a row
    *("chosen", "completion", "conversation", "conversations", "messages", "prompt", "rejected"),
    *("choices", "history", "instances", "turns"),
}
Placed = Iterator[tuple[str, Any]]
KEPT = 1000  # characters that are kept of a line that isn't a row


@dataclass(frozen=True)
class Malformed:
    """A line that holds no row: it is dropped and counted like a row that doesn't fit.

    Attributes:
        reason: Why it holds none.
        text: Its start.
    """

    reason: str
    text: str


def read_json(path: Path, label: str) -> Placed:
    """Rows of JSON lines, of an array, or of an object with one list of rows.

    Raises:
        ValueError: It is none of these; the message has file and line.
    """
    return read_json_rows(path, label) if _is_lines(path, label) else _Text(path, label).rows()


def read_json_rows(path: Path, label: str) -> Placed:
    """Rows of JSON lines, each with its place; a line that isn't JSON comes as Malformed.

    Raises:
        ValueError: The last line has no end and isn't JSON: the file is cut, and what is missing can't be counted.
    """
    for number, line in byte_lines(path, label):
        if line.strip():
            place = f"{label}:{number}"
            yield place, _row_of(line, place)


def _row_of(line: bytes, place: str) -> Any:
    try:
        return from_json(line.decode("utf-8"), place)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except InputError:
        if not line.endswith(b"\n"):
            raise
        reason = "not JSON"
    return Malformed(reason, line[: 4 * KEPT].decode("utf-8", errors="replace").rstrip("\r\n")[:KEPT])


def _is_lines(path: Path, label: str) -> bool:
    """Whether each line is a row.

    An array isn't. Of an object alone on one line, its name and its values tell: a row has no list of rows.
    """
    with unpacked(path, lambda: f"{label}:1") as file:
        start = b""
        while not start and (line := file.readline(CHUNK)):
            start = line.removeprefix(MARK).strip()
        if not start.startswith(b"[") and not line.endswith(b"\n"):
            start += file.readline(LINE)
        if start.startswith(b"[") or path.with_suffix("").suffix in LINES or path.suffix in LINES:
            return not start.startswith(b"[")
        try:
            row = json.loads(start)
        except (ValueError, RecursionError):
            return not start.startswith(b"{")  # the reader of lines says what is wrong
        return any(rest.strip() for rest in file) or not (isinstance(row, dict) and _has_rows(row))


def _has_rows(document: dict[str, Any]) -> bool:
    lists = {name for name, value in document.items() if isinstance(value, list) and value[:1] and _is_row(value[0])}
    return bool(lists) and not ROW_LISTS & lists


def _is_row(value: Any) -> bool:
    return isinstance(value, dict)


class _Text:
    """The text of a JSON document, of which only the part that is being read is in memory."""

    def __init__(self, path: Path, label: str) -> None:
        self.path, self.label = path, label
        self.buffer, self.at, self.line = "", 0, 1

    def rows(self) -> Placed:
        """The rows, each with its line and number."""
        with unpacked(self.path, self.place) as file:
            decoder = codecs.getincrementaldecoder("utf-8-sig")()
            self.pieces = iter(lambda: file.read(CHUNK), b"")
            self.decode = decoder.decode
            self.ended = False
            yield from self._array() if self.peek() == "[" else self._object()
            if self.peek():
                raise self.wrong(f"{self.peek()!r} after the end of the document", "one array or object")

    def place(self) -> str:
        """The file and the line that is being read."""
        return f"{self.label}:{self.line + self.buffer.count(chr(10), 0, self.at)}"

    def wrong(self, found: str, expected: str) -> InputError:
        """The error about what comes next."""
        return InputError(problem(f"{self.place()}: not JSON", found=found, expected=expected))

    def more(self) -> bool:
        """Read on; False at the end. What has been read is dropped, and its lines are counted."""
        self.drop()
        piece = next(self.pieces, b"")
        try:
            self.buffer += self.decode(piece, not piece)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.place()}: not UTF-8: {error.reason}") from error
        self.ended = not piece
        return not self.ended

    def drop(self) -> None:
        """Forget what has been read."""
        self.line += self.buffer.count("\n", 0, self.at)
        self.buffer, self.at = self.buffer[self.at :], 0

    def peek(self) -> str:
        """The next character that isn't blank; empty at the end."""
        while True:
            blank = BLANK.match(self.buffer, self.at)
            self.at = blank.end() if blank else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""

    def take(self, wanted: str) -> str:
        """The next character, one of those that are wanted."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.wrong(repr(found) if found else "the end of the file", " or ".join(wanted))
        self.at += 1
        return found

    def value(self) -> Any:
        """The next value, however long.

        Raises:
            ValueError: It isn't JSON.
        """
        self.peek()
        self.drop()
        while True:
            try:
                found, end = DECODER.raw_decode(self.buffer)
                if end < len(self.buffer) or self.ended or self.buffer[0] in '{["':  # a number may go on
                    self.at = end
                    return found
            except json.JSONDecodeError as error:
                open_text = error.msg.startswith("Unterminated")
                if self.ended or (not open_text and error.pos < len(self.buffer) - LITERAL):
                    self.at = error.pos
                    self.drop()
                    raise not_json(self.place(), error) from error
            except (ValueError, RecursionError):
                return from_json(self.buffer, self.place())  # the error
            size = len(self.buffer)
            while self.more() and len(self.buffer) < 2 * size:
                pass  # twice as much, so that a long value isn't read from its start too often

    def opens_rows(self) -> bool:
        """Whether a list of objects comes next."""
        while self.peek() == "[":
            found = OPENS.match(self.buffer, self.at)
            if found and found[1]:
                return found[1] == "{"
            if not self.more():
                break
        return False

    def _array(self) -> Placed:
        self.take("[")
        if self.peek() == "]":
            self.at += 1
            return
        number = 0
        while True:
            number += 1
            self.peek()
            self.drop()
            place = f"{self.place()} (item {number:,})"
            yield place, self.value()
            if self.take(",]") == "]":
                return

    def _object(self) -> Placed:
        """The rows in the only list of an object; the object itself if it is a row."""
        self.take("{")
        row: dict[str, Any] = {}
        found = ""
        while self.peek() != "}":
            if self.peek() != '"':
                raise self.wrong(repr(self.peek()) if self.peek() else "the end of the file", "a name in quotes")
            name = self.value()
            self.take(":")
            if self.opens_rows() and (found or not ROW_LISTS & {name, *row}):
                if found:
                    raise self.wrong(f"two lists of rows in one object: {found} and {name}", "one")
                found = name
                yield from self._array()
            else:
                row[name] = self.value()
            if self.take(",}") == "}":
                break
        else:
            self.take("}")
        if not found:
            yield f"{self.label}:1", row
