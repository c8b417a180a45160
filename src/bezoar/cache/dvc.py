"""DVC's files: dvc.yaml and dvc.lock.

The formats are DVC's own (tests/workflow/test_contracts.py compares them). DVC itself isn't imported here: it is slow
to start, and a run only reads some small files.
"""

import re
from typing import Any

import yaml

from bezoar.cache import CacheError, foreign
from bezoar.errors import problem
from bezoar.yaml12 import SCALARS, Loader

PIPELINE = "dvc.yaml"
LOCK = "dvc.lock"
CODE_LOCK = "code.lock"  # a digest of each stage's code, command and values: generated
PARAMS = "params.yaml"
RESOLVED = "params.resolved.yaml"  # all values of PARAMS, with their defaults: generated

NO_TEXT = re.compile("|".join(pattern for pattern, _ in SCALARS.values()))
FIELDS = {"path": foreign.text, "md5": foreign.content_md5, "size": foreign.count, "nfiles": foreign.count}


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes YAML with the same meaning as 1.1 and 1.2, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always write a value again, instead of an anchor."""
        return True

    def text(self, text: str) -> Any:
        """A string, in quotes if it would be read as another type; several lines are escaped, as DVC does it."""
        style = '"' if "\n" in text else "'" if NO_TEXT.fullmatch(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    def nothing(self, _: None) -> Any:
        """Null in DVC's form."""
        return self.represent_scalar("tag:yaml.org,2002:null", "")


Dumper.add_representer(str, Dumper.text)
Dumper.add_representer(type(None), Dumper.nothing)


def read(path: str) -> dict[str, Any]:
    """The stages in dvc.yaml or dvc.lock; none if the file doesn't exist.

    Raises:
        CacheError: It isn't YAML of this form, as after a merge with conflicts.
    """
    try:
        return stages_in(foreign.read(path), path)
    except FileNotFoundError:
        return {}


def stages_in(data: bytes, path: str) -> dict[str, Any]:
    """The stages in the bytes of dvc.yaml or dvc.lock.

    Raises:
        CacheError: They aren't YAML of this form, as after a merge with conflicts.
    """
    try:
        found = foreign.table(foreign.table(foreign.from_yaml(data, Loader) or {}).get("stages", {}))
        for name, stage in found.items():
            foreign.table(stage)
            if path == LOCK:
                _check(name, stage, data)
    except foreign.Malformed as error:
        conflict = marker(data)
        cure = (
            "remove it: the next build writes it again from the proofs in the cache"
            if path == LOCK
            else "run `bezoar dvc`"
        )
        take = f"take one side (`git checkout --ours {path}`), or {cure}"
        raise CacheError(
            problem(
                f"{path}:{conflict or error.line or 1}: can't be read",
                found="a merge conflict" if conflict else error,
                expected="what DVC writes",
                hint="run `bezoar dvc --resolve`" if conflict else take,
            )
        ) from error
    return found


def _check(name: str, stage: dict[str, Any], data: bytes) -> None:
    """Refuse a stage whose contents aren't an MD5 and counts; any field may be missing."""
    for one in (*_maps(stage, "deps"), *_maps(stage, "outs")):
        try:
            for field, kind in FIELDS.items():
                if field in one:
                    kind(one[field])
        except foreign.Malformed as error:
            raise foreign.Malformed(f"stage {foreign.shown(name)}: {error}", _line_of(one.get(field), data)) from error


def _line_of(value: Any, data: bytes) -> int | None:
    """The first line with a value."""
    sought = str(value).encode(errors="replace")
    return next((n for n, line in enumerate(data.splitlines(), 1) if sought in line), None)


def _maps(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    given = entry.get(name)
    return [as_map(one) for one in given] if isinstance(given, list) else []


def marker(data: bytes) -> int:
    """The line of git's first conflict marker in a file; 0 if there is none."""
    lines = data.splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.startswith((b"<<<<<<< ", b">>>>>>> "))), 0)


def as_map(value: Any) -> dict[str, Any]:
    """A value that should be a map; empty if it isn't one."""
    return value if isinstance(value, dict) else {}


def as_list(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The files and folders with an MD5 in an entry; another program's entry may lack any field."""
    return [one for one in _maps(entry, name) if isinstance(one.get("path"), str) and isinstance(one.get("md5"), str)]
