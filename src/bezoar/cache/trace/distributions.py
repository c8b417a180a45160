"""Installed distributions: which one a package belongs to, and its exact version. One look, remembered by folder."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.cache import foreign
from bezoar.cache.hashing import digest_of
from bezoar.cache.meanings import VERSION, write_whole

MEMORY = f".dvc/tmp/bezoar-distributions-{VERSION}.json"
SITES = ("site-packages", "dist-packages")  # names of the folders that pip installs to
METADATA = (".dist-info", ".egg-info")
# Parts of a build for an accelerator: a laptop lacks them and takes what a GPU made.
BUILDS = re.compile("(cuda|nvidia)-.*|(pytorch-)?triton(-.*)?")
DEPTH = 4  # of namespace packages, as in the hook
EDITABLE = "editable"  # in place of a version: the files are elsewhere, and traced there


class Installed(NamedTuple):
    """The content of a folder such as site-packages.

    Attributes:
        versions: By distribution.
        owners: Distributions by package or module; `google/protobuf` for a part of a namespace.
        links: Files that add folders to sys.path.
        builds: Versions as installed, such as `2.13.0+cpu`, where they name a build.
    """

    versions: dict[str, str]
    owners: dict[str, list[str]]
    links: list[str]
    builds: dict[str, str]


class Sites:
    """All folders that distributions are installed in, in the order of sys.path."""

    def __init__(self, folders: list[str]) -> None:
        self.folders = folders
        self._known: dict[str, Any] = {}
        self._new = False
        with suppress(OSError, foreign.Malformed):
            self._known = foreign.table(foreign.from_json(foreign.read(MEMORY)))
        self._found: dict[str, Installed] = {}

    def installed(self, folder: str) -> Installed:
        """What is installed in a folder."""
        if folder not in self._found:
            self._found[folder] = self._look(folder)
        return self._found[folder]

    def version(self, name: str) -> str | None:
        """The version of a distribution; None if it isn't installed."""
        return next((found for one in self.folders if (found := self.installed(one).versions.get(name))), None)

    def owners(self, top: str) -> list[str]:
        """The distributions that a package or module is from; none if no one has installed it."""
        return next((found for one in self.folders if (found := self.installed(one).owners.get(top))), [])

    def builds(self) -> dict[str, str]:
        """Versions by distribution, where they name a build."""
        return {name: text for one in reversed(self.folders) for name, text in self.installed(one).builds.items()}

    def save(self) -> None:
        """Remember what was found."""
        if self._new:
            with suppress(OSError):
                os.makedirs(os.path.dirname(MEMORY), exist_ok=True)
                write_whole(Path(MEMORY), json.dumps(self._known))

    def _look(self, folder: str) -> Installed:
        try:
            time = os.stat(folder).st_mtime_ns
        except OSError:
            return Installed({}, {}, [], {})
        with suppress(foreign.Malformed):
            known = foreign.array(self._known.get(folder))
            if len(known) == 2 and known[0] == time:
                return _stored(known[1])
        found = look(folder)
        self._known[folder] = [time, found]
        self._new = True
        return found


def _stored(value: Any) -> Installed:
    found = foreign.array(value)
    if len(found) != len(Installed._fields):
        raise foreign.Malformed(f"{len(found)} values for installed distributions")
    versions, owners, links, builds = found
    return Installed(
        _texts(versions),
        {top: list(foreign.texts(names)) for top, names in foreign.table(owners).items()},
        list(foreign.texts(links)),
        _texts(builds),
    )


def _texts(value: Any) -> dict[str, str]:
    return {name: foreign.text(one) for name, one in foreign.table(value).items()}


def look(folder: str) -> Installed:
    """What is installed in a folder, from the records of its distributions."""
    found = Installed({}, {}, [], {})
    for name in sorted(os.listdir(folder)):
        if name.endswith(".pth"):
            found.links.append(name)
        elif name.endswith(METADATA):
            _add(Path(folder, name), found)
    return found


def _add(record: Path, found: Installed) -> None:
    """Add a distribution, by the folder or file with its metadata."""
    header = _header(record)
    if not header:
        return
    name, version = normal(header[0]), header[1]
    lines = _lines(record / "RECORD")
    direct = _direct(record)
    editable = direct.get("dir_info", {}).get("editable") is True
    found.versions[name] = EDITABLE if editable else exact(version, direct, lines)
    if "+" in version:
        found.builds[name] = version
    files = {line.rpartition(",")[0].rpartition(",")[0].strip('"') for line in lines}
    for top in _tops(files) if files else _lines(record / "top_level.txt"):
        owners = found.owners.setdefault(top, [])
        if name not in owners:
            owners.append(name)


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _header(record: Path) -> tuple[str, str] | None:
    """Name and version in a distribution's metadata."""
    for path in (record / "METADATA", record / "PKG-INFO", record):
        fields = dict(re.findall(r"^(Name|Version): *(\S+)", "\n".join(_lines(path)[:60]), re.MULTILINE))
        if len(fields) == 2:
            return fields["Name"], fields["Version"]
    return None


def _direct(record: Path) -> dict[str, Any]:
    """Where a distribution comes from, if that isn't an index of packages."""
    with suppress(OSError, ValueError, foreign.Malformed):
        return foreign.table(json.loads((record / "direct_url.json").read_bytes()))
    return {}


def exact(version: str, direct: dict[str, Any], lines: list[str]) -> str:
    """A version that says what was installed.

    Args:
        version: As installed, such as `2.13.0+cpu`.
        direct: The content of direct_url.json; empty for a release from an index.
        lines: Those of RECORD, with the digest of each file.
    """
    if commit := direct.get("vcs_info", {}).get("commit_id"):
        return f"{version}@{commit}"
    if direct:
        code = sorted(line for line in lines if ".dist-info/" not in line and "__pycache__/" not in line)
        return f"{version}@{digest_of(code)[:32]}"
    return version if ".dev" in version else version.partition("+")[0]


def normal(name: str) -> str:
    """A distribution's name in the form that all tools agree on."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _tops(files: set[str]) -> set[str]:
    """The packages and modules of a distribution."""
    packages = {path.removesuffix("/__init__.py") for path in files if path.endswith("/__init__.py")}
    return {top for path in files if (top := _top(path.split("/"), packages))}


def _top(parts: list[str], packages: set[str]) -> str:
    """The package or module that a file belongs to; empty for files beside the code."""
    if parts[0] in ("..", "", "__pycache__") or parts[0].endswith((*METADATA, ".pth")):
        return ""
    length = 1
    while length < min(len(parts), DEPTH) and "/".join(parts[:length]) not in packages:
        length += 1
    return top_name("/".join(parts[:length]))


def top_name(component: str) -> str:
    """The name of a package or module: without the suffix of a file, which names Python's version or the platform."""
    folder, _, file = component.rpartition("/")
    name = file.partition(".")[0] if file.endswith((".py", ".so")) else file
    return f"{folder}/{name}" if folder else name
