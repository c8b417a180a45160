"""Traces: what a job was seen to use, beside its command, inputs and values.

A label names a file without saying where this machine has it:

    scripts/train/dpo.py      in the project's folder, or else rules and scripts of the package
    ~bezoar/errors.py         where Python finds it in the environment: PYTHONPATH, an editable install, the package
    ~~/opt/tools/helper.py    elsewhere on this machine
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from bezoar.cache import foreign
from bezoar.cache.hashing import digest_of

ENVIRONMENT = "~"  # as a folder: those of the environment that Python finds modules in, but no site-packages
SITE = "site"  # as a folder: the environment with its site-packages
ELSEWHERE = "~~/"
PROJECT = "."  # as a folder: the project itself
ABSENT = "absent"  # in place of the MD5 of a file that a job looked for
DOCSTRINGS = ("", "all", "source")

T = TypeVar("T")


class Module(NamedTuple):
    """A module that was loaded, or a script.

    Attributes:
        meaning: Digest of its syntax tree, or of a file that isn't Python's source.
        before: The folders of sys.path that came before the one with this module.
        folder: That folder; empty if it wasn't found by a search, as a script isn't.
    """

    meaning: str
    before: tuple[str, ...] = ()
    folder: str = ""


class Distribution(NamedTuple):
    """An installed distribution of which something was loaded.

    Attributes:
        version: Without the name of a build, such as `+cpu`, for a release; with the commit or a digest of all files
            for what wasn't released.
        tops: Names of its packages and modules that were loaded, sorted.
    """

    version: str
    tops: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What a job was seen to use.

    Attributes:
        modules: Code of the project, of editable installs, and of any other path, by label.
        distributions: By name.
        reads: MD5 of each other file that it read in the project or beside its code, by label.
        folders: Folders outside of the environment that sys.path began with.
        unused: Modules in these folders that have the name of one from elsewhere, and that were there, but not loaded.
        docstrings: Which docstrings of other modules its code reads, so that they are part of every meaning.
    """

    modules: dict[str, Module] = field(default_factory=dict)
    distributions: dict[str, Distribution] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    docstrings: str = ""

    @cached_property
    def digest(self) -> str:
        """Sha256 of the trace as canonical JSON."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Its content as JSON has it, in order."""
        return {
            "modules": {
                label: [one.meaning, list(one.before), one.folder] for label, one in sorted(self.modules.items())
            },
            "distributions": {name: [one.version, list(one.tops)] for name, one in sorted(self.distributions.items())},
            "reads": dict(sorted(self.reads.items())),
            "folders": list(self.folders),
            "unused": list(self.unused),
            "docstrings": self.docstrings,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Trace":
        """A trace that others may have written.

        Raises:
            Malformed: It isn't one.
        """
        found = foreign.table(value, "modules", "distributions", "reads", "folders", "unused", "docstrings")
        docstrings = foreign.text(found["docstrings"])
        if docstrings not in DOCSTRINGS:
            raise foreign.Malformed(f"{foreign.shown(docstrings)} for docstrings")
        return cls(
            _by_label(found["modules"], _module),
            {foreign.text(name): _distribution(one) for name, one in foreign.table(found["distributions"]).items()},
            _by_label(found["reads"], lambda one: ABSENT if one == ABSENT else foreign.md5(one)),
            tuple(map(_folder, foreign.array(found["folders"]))),
            tuple(map(_label, foreign.array(found["unused"]))),
            docstrings,
        )


def _by_label(value: Any, read: Callable[[Any], T]) -> dict[str, T]:
    return {_label(label): read(one) for label, one in foreign.table(value).items()}


def _module(value: Any) -> Module:
    meaning, before, folder = _values(value, 3)
    return Module(
        foreign.fingerprint(meaning),
        tuple(map(_folder, foreign.array(before))),
        "" if folder == "" else _folder(folder),
    )


def _distribution(value: Any) -> Distribution:
    version, tops = _values(value, 2)
    return Distribution(foreign.text(version), tuple(map(_label, foreign.array(tops))))


def _values(value: Any, number: int) -> list[Any]:
    values = foreign.array(value)
    if len(values) != number:
        raise foreign.Malformed(f"{len(values)} values in place of {number}")
    return values


def _label(value: Any) -> str:
    """A label: it leads out of no folder."""
    label = foreign.text(value)
    if not {"", ".", ".."}.isdisjoint(label.split("/")):
        raise foreign.Malformed(f"{foreign.shown(label)} for the name of a file")
    return label


def _folder(value: Any) -> str:
    return PROJECT if value == PROJECT else _label(value)
