"""DVC's files: its configuration, dvc.yaml and dvc.lock.

The formats are DVC's own (compared in tests/workflow/test_contracts.py). DVC itself is not imported here: it is slow to
start, and reading some small files is all that a run needs.
"""

import configparser
import os
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bezoar.cache import CacheError

PIPELINE = "dvc.yaml"
LOCK = "dvc.lock"
PARAMS = "params.yaml"


SCALARS = {  # YAML 1.2's core schema, in which DVC reads and writes: `1e-05` is a number, `no` a word
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": ("[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
NO_TEXT = re.compile("|".join(pattern for pattern, _ in SCALARS.values()))


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML 1.2, where PyYAML's own reads 1.1."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in SCALARS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, (_pattern, _first) in SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes YAML that reads the same as 1.1 and 1.2, and a value again where it stands twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether to write out what was written before."""
        return True

    def text(self, text: str) -> Any:
        """A text, in quotes if it would be read as something else."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, "'" if NO_TEXT.fullmatch(text) else None)

    def nothing(self, _: None) -> Any:
        """Null as DVC writes it."""
        return self.represent_scalar("tag:yaml.org,2002:null", "")


Dumper.add_representer(str, Dumper.text)
Dumper.add_representer(type(None), Dumper.nothing)


def settings() -> tuple[str, bool]:
    """Folder of the DVC cache, and whether a default remote is configured, by DVC's four configuration files."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder, remote = ".dvc/cache", False
    for path in ("/etc/xdg/dvc/config", f"{home}/dvc/config", ".dvc/config", ".dvc/config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise CacheError(
                f"{path} can't be read\n  found:    {error}\n  expected: what `dvc config` writes\nhint: mend it"
            ) from error
        if given := parser.get("cache", "dir", fallback=None):
            folder = os.path.relpath(os.path.join(os.path.dirname(path), os.path.expanduser(given.strip("\"'"))))
        remote = remote or parser.has_option("core", "remote")
    return folder, remote


def read(path: str) -> dict[str, Any]:
    """The stages in dvc.yaml or dvc.lock; none if there is no such file.

    Raises:
        CacheError: It isn't YAML of that shape, as after a merge with conflicts.
    """
    try:
        data = Path(path).read_bytes()
        found = (yaml.load(data.decode(), Loader) or {}).get("stages", {})
        assert isinstance(found, dict)
        assert all(isinstance(stage, dict) for stage in found.values())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, AssertionError) as error:
        lines = data.decode(errors="replace").splitlines()
        conflict = next((n for n, line in enumerate(lines, 1) if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))), 0)
        mark = getattr(error, "problem_mark", None)
        line = conflict or (mark.line + 1 if mark else 1)
        cure = "remove it: proofs in the cache write it anew" if path == LOCK else "run `bezoar dvc`"
        raise CacheError(
            f"{path}:{line}: can't be read\n  found:    {'a merge conflict' if conflict else 'no stages'}\n"
            f"  expected: what DVC writes\nhint: take one side (`git checkout --ours {path}`), or {cure}"
        ) from error
    return found


def as_map(value: Any) -> dict[str, Any]:
    """A value that should be a map; empty if it isn't one."""
    return value if isinstance(value, dict) else {}


def as_list(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The files and folders that an entry gives an MD5; an entry that another program wrote may lack anything."""
    given = entry.get(name)
    listed = [as_map(one) for one in given] if isinstance(given, list) else []
    return [one for one in listed if isinstance(one.get("path"), str) and isinstance(one.get("md5"), str)]
