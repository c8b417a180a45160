"""Checks of data from outside, before it is used as a path or a number.

dvc.lock comes with a pull request, lists of directories with a remote, proofs with a shared cache. Readers of such
files use this module, and add the file's name and a hint to its errors.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NewType

from bezoar.cache import CacheError

Md5 = NewType("Md5", str)  # 32 hexadecimal digits; with the suffix `.dir` for a directory's list
RelPath = NewType("RelPath", str)  # of a file below a folder, with `/` as separator

MOST_BYTES = 1 << 28  # of a file; the list of a million files has 100 MB
MOST_LEVELS = 64  # of nested lists and maps
MOST_BITS = 4096  # of a whole number in parameters: Python refuses to print thousands of digits
LARGEST = 1 << 63  # numbers from outside are smaller
SHOWN = 80  # characters of a value in a message
FILE = re.compile("[0-9a-f]{32}")
CONTENT = re.compile(r"[0-9a-f]{32}(\.dir)?")
SHA256 = re.compile("[0-9a-f]{64}")
COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
FOREIGN_FOLDERS = {".dvc", ".git", ".hg"}  # DVC stores none, and programs run code in them


class Malformed(CacheError):
    """Data of another form; the message says what was found, with its line if known."""

    def __init__(self, found: str, line: int | None = None) -> None:
        super().__init__(found)
        self.line = line


def shown(value: Any) -> str:
    """A value for a message, on one line and shortened."""
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    if type(value) is int and abs(value) >= LARGEST:  # Python refuses to print thousands of digits
        return "a number out of range"
    found = repr(value[: SHOWN + 1] if isinstance(value, str | bytes) else value)
    return found if len(found) <= SHOWN else f"{found[:SHOWN]}..."


def md5(value: Any) -> Md5:
    """MD5 of a file."""
    if not (isinstance(value, str) and FILE.fullmatch(value)):
        raise Malformed(f"{shown(value)} for an MD5")
    return Md5(value)


def content_md5(value: Any) -> Md5:
    """MD5 of a file, or of a directory's list."""
    if not (isinstance(value, str) and CONTENT.fullmatch(value)):
        raise Malformed(f"{shown(value)} for an MD5")
    return Md5(value)


def fingerprint(value: Any) -> str:
    """A fingerprint of code, as in code.lock."""
    if not (isinstance(value, str) and FILE.fullmatch(value)):
        raise Malformed(f"{shown(value)} for a fingerprint")
    return value


def sha256(value: Any) -> str:
    """A SHA-256."""
    if not (isinstance(value, str) and SHA256.fullmatch(value)):
        raise Malformed(f"{shown(value)} for a SHA-256")
    return value


def commit(value: Any) -> str:
    """A commit's hash."""
    if not (isinstance(value, str) and COMMIT.fullmatch(value)):
        raise Malformed(f"{shown(value)} for a commit")
    return value


def count(value: Any) -> int:
    """A number of bytes or files, from 0."""
    if not (type(value) is int and 0 <= value < LARGEST):
        raise Malformed(f"{shown(value)} for a count")
    return value


def quantity(value: Any) -> float:
    """Seconds, tokens or dollars: from 0, and finite."""
    if not (type(value) in (int, float) and 0 <= value < LARGEST):  # false for NaN
        raise Malformed(f"{shown(value)} for a quantity")
    return value


def text(value: Any) -> str:
    """Text that UTF-8 can encode, without a null character."""
    if not isinstance(value, str) or "\0" in value:
        raise Malformed(f"{shown(value)} for a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a lone surrogate
        raise Malformed(f"{shown(value)} for a text") from error
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(one) for one in array(value))


def array(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise Malformed(f"{shown(value)} for a list")
    return value


def table(value: Any, *names: str) -> dict[str, Any]:
    """A map with texts as keys; if names are given, exactly these."""
    if not isinstance(value, dict):
        raise Malformed(f"{shown(value)} for a map")
    for name in value:
        text(name)
    if names and value.keys() != set(names):
        lacking = [name for name in names if name not in value]
        raise Malformed(
            f"a map without {lacking[0]}" if lacking else f"a map with {shown(min(value.keys() - {*names}))}"
        )
    return value


def truth(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Malformed(f"{shown(value)} for true or false")
    return value


def relpath(value: Any) -> RelPath:
    """The path of a file below a folder, and never outside of it."""
    path = text(value)
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):  # an absolute path begins with an empty part
        raise Malformed(f"{shown(path)} for a path inside the directory")
    if not FOREIGN_FOLDERS.isdisjoint(part.lower() for part in parts):
        raise Malformed(f"{shown(path)}, in a folder that DVC never stores")
    return RelPath(path)


def check_apart(paths: list[RelPath]) -> None:
    """Refuse paths that can't all be files of one folder: duplicates, or a path that is a folder of another one."""
    known = set(paths)
    if len(known) < len(paths):
        ((twice, _),) = Counter(paths).most_common(1)
        raise Malformed(f"{shown(twice)} twice")
    folders: set[str] = set()
    for path in paths:
        parent = os.path.dirname(path)
        while parent and parent not in folders:
            folders.add(parent)
            parent = os.path.dirname(parent)
    if clash := sorted(known & folders):
        raise Malformed(f"{shown(clash[0])} as a file and as a folder")


def plain(value: Any) -> Any:
    """Data with JSON's types only, of bounded depth."""
    todo = [(value, 0)]
    while todo:
        one, level = todo.pop()
        if level > MOST_LEVELS:
            raise Malformed(f"lists and maps in each other, more than {MOST_LEVELS} deep")
        if isinstance(one, dict):
            kinds = {type(key) for key in one}
            if not (kinds <= {str} or kinds == {int}):
                raise Malformed(f"{shown(next(iter(one)))} as a key beside others, or one that is no text")
            todo += [(key, level) for key in one]
            todo += [(each, level + 1) for each in one.values()]
        elif isinstance(one, list):
            todo += [(each, level + 1) for each in one]
        elif isinstance(one, str):
            text(one)
        elif type(one) is int:
            if one.bit_length() > MOST_BITS:
                raise Malformed("a number out of range")
        elif one is not None and type(one) not in (bool, float):
            raise Malformed(f"{shown(str(one))}, a {type(one).__name__}")
    return value


def read(path: str, opener: Callable[[str, int], int] | None = None) -> bytes:
    """The bytes of a file; an opener is one for `open`.

    Raises:
        Malformed: It is far too large.
        OSError: It is missing, or can't be read.
    """
    with open(path, "rb", opener=opener) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES:,} bytes in {path}")
    return data


def from_json(data: bytes) -> Any:
    """The content of JSON. Its depth isn't bounded: readers check the form that they expect."""
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise Malformed("bytes that are not UTF-8") from error
    except RecursionError as error:
        raise Malformed("lists and maps in each other without an end") from error
    except ValueError as error:  # also for a number of thousands of digits
        raise Malformed(f"no JSON: {error}") from error


def from_yaml(data: bytes, loader: type[Any]) -> Any:
    """The content of YAML without aliases and tags, which can turn a few bytes into millions, or into any object.

    The depth is checked first: libyaml's own recursion would crash the process.
    """
    import yaml  # slow to import, and jobs read no YAML

    try:
        document = data.decode()
        level = 0
        for event in yaml.parse(document, loader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if found := _trap(event, level):
                raise Malformed(found, _line(event.start_mark))
        return plain(yaml.load(document, loader))
    except UnicodeDecodeError as error:
        raise Malformed("bytes that are not UTF-8") from error
    except yaml.YAMLError as error:
        found = getattr(error, "problem", None) or str(error)
        line = _line(getattr(error, "problem_mark", None))
        raise Malformed(f"no YAML: {' '.join(found.split())[:200]}", line) from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # such as the 31st of February
        raise Malformed(f"a value that can't be read: {' '.join(str(error).split())[:200]}") from error


def _trap(event: Any, level: int) -> str | None:
    """Why a part of a YAML document is refused; None if it is harmless."""
    if getattr(event, "anchor", None):  # also for aliases
        return "an alias or an anchor, which isn't allowed there"
    if getattr(event, "tag", None):
        return f"the tag {shown(event.tag)}"
    return f"lists and maps in each other, more than {MOST_LEVELS} deep" if level > MOST_LEVELS else None


def _line(mark: Any) -> int | None:
    return mark.line + 1 if mark else None
