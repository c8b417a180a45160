"""Meanings of modules by path, remembered by content, so that unchanged code isn't parsed again."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.hashing import Hasher
from bezoar.errors import problem

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# The memory depends on the code that finds meanings, which takes time to import.
OWN = hashlib.sha256(Path(__file__).with_name("syntax.py").read_bytes()).hexdigest()[:8]
MEMORY = f".dvc/tmp/bezoar-code-{VERSION}-{OWN}.json"  # a module that an older Python can't parse is an error there
MOST = 2_000  # meanings in the memory
DOCUMENTED = "+"  # after the MD5 of a module, for its meaning with docstrings
READS = {"", "own", "all", "source"}


class Meaning(NamedTuple):
    """The meaning of a module.

    Attributes:
        digest: Of the syntax tree.
        imports: Names that it imports.
        reads: The docstrings that it reads: none (empty), its `own`, `all` that it can find, or even the `source`.
    """

    digest: str
    imports: list[str]
    reads: str


def meaning(text: bytes, path: str, *, docstrings: bool = False) -> Meaning:
    """The meaning of a module.

    Args:
        text: The module's bytes, since it declares its encoding itself.
        path: The module's path, for messages.
        docstrings: Whether docstrings count.

    Raises:
        CacheError: The text isn't Python, or is for a newer version.
    """
    from bezoar.cache.syntax import meaning_of

    try:
        return Meaning(*meaning_of(text, docstrings=docstrings))
    except (SyntaxError, ValueError) as error:
        line, found = getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))
        raise CacheError(
            problem(
                f"{path}:{line}: not Python {VERSION}",
                found=found,
                expected=f"a module for Python {VERSION}",
                hint="correct it; if it is for a newer Python, build with that version",
            )
        ) from error


class Meanings:
    """Meanings by path.

    Attributes:
        md5s: By path, of each module when it was read.
    """

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.md5s: dict[str, str] = {}
        self._memory: dict[str, Meaning] = _memory()
        self._known = len(self._memory)
        self._used: dict[str, Meaning] = {}
        self._found: dict[tuple[str, bool], Meaning] = {}

    def of(self, path: str, *, docstrings: bool = False) -> Meaning:
        """The meaning of the module at a path.

        Raises:
            CacheError: It isn't Python, or is for a newer version.
            OSError: It can't be read.
        """
        if (path, docstrings) not in self._found:
            self._found[path, docstrings] = self._find(path, docstrings)
        return self._found[path, docstrings]

    def together(self, paths: Iterable[str]) -> dict[str, str]:
        """Digests by path of modules that run together: with all docstrings if one of them reads those of others."""
        found = {path: self.of(path) for path in paths}
        how = most_read(one.reads for one in found.values())
        return {path: self.digest(path, how) for path in found}

    def digest(self, path: str, how: str) -> str:
        """The digest of a module's syntax tree; with `all`, with docstrings; the MD5 with `source`, or of another file.

        Raises:
            CacheError: It isn't Python, or is for a newer version.
            OSError: It can't be read.
        """
        if how == "source" or not path.endswith(".py"):
            return self.hasher.file(path).md5
        return self.of(path, docstrings=how == "all").digest

    def _find(self, path: str, docstrings: bool) -> Meaning:
        suffix = DOCUMENTED * docstrings
        md5 = self.md5s[path] = self.hasher.file(path).md5
        if md5 + suffix not in self._memory:
            data = Path(path).read_bytes()
            md5 = self.md5s[path] = hashlib.md5(data, usedforsecurity=False).hexdigest()  # it may have been edited
            self._memory[md5 + suffix] = meaning(data, path, docstrings=docstrings)
        self._used[md5 + suffix] = self._memory[md5 + suffix]
        return self._memory[md5 + suffix]

    def save(self) -> None:
        """Write new meanings to the memory, with those that others have written meanwhile."""
        if len(self._memory) == self._known:
            return
        all_ = _memory() | self._memory
        with suppress(OSError):
            os.makedirs(os.path.dirname(MEMORY), exist_ok=True)
            write_whole(Path(MEMORY), json.dumps(all_ if len(all_) <= MOST else self._used))
        self._known = len(self._memory)


def most_read(reads: Iterable[str]) -> str:
    """The docstrings of others that modules read: `source`, `all`, or none (empty)."""
    found = set(reads)
    return next((one for one in ("source", "all") if one in found), "")


def _memory() -> dict[str, Meaning]:
    """The stored meanings; none if they are damaged."""
    with suppress(OSError, foreign.Malformed):
        found = foreign.table(foreign.from_json(foreign.read(MEMORY)))
        return {md5: _stored(one) for md5, one in found.items()}
    return {}


def _stored(found: Any) -> Meaning:
    values = foreign.array(found)
    if len(values) != len(Meaning._fields):
        raise foreign.Malformed(f"{len(values)} values for a meaning")
    digest, imports, reads = foreign.fingerprint(values[0]), list(foreign.texts(values[1])), foreign.text(values[2])
    if reads not in READS:
        raise foreign.Malformed(f"{foreign.shown(reads)} for docstrings")
    return Meaning(digest, imports, reads)


def write_whole(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
