"""The log of a job's processes (bezoar/cache/hook/sitecustomize.py writes it)."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from typing import NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.trace.places import HOOK
from bezoar.errors import problem


def variables(log: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a job whose Python processes write what they use to a log.

    The log is made anew, so that its time is that of the job's start.
    """
    SourceFileLoader("hook", f"{HOOK}/sitecustomize.py").get_code(
        "hook"
    )  # compiles it, since a job may not write there
    path = os.path.abspath(log)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8"):
        pass
    with open(path, "a", encoding="utf-8") as file:
        file.write(f'["begin", {os.stat(path).st_mtime_ns}]\n')
    folders = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one and one != HOOK]
    return {"BEZOAR_TRACE": path, "PYTHONPATH": os.pathsep.join([HOOK, *folders])}


Attempt = tuple[str, str | Sequence[object]]


class Loaded(NamedTuple):
    """A module's name, empty for a script, and the state of sys.path when it was loaded."""

    name: str
    path: str


@dataclass
class Log:
    """The content of a log.

    Attributes:
        modules: By file, in each process.
        used: Files that were read, written or named in a command, and how at first.
        tops: Packages and modules below folders such as site-packages.
        connections: Addresses, as `host:port`.
        paths: States of sys.path.
    """

    begin: int = 0
    processes: int = 0
    modules: dict[str, list[Loaded]] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    written: dict[str, None] = field(default_factory=dict)
    connections: dict[str, None] = field(default_factory=dict)
    tops: dict[tuple[str, str], None] = field(default_factory=dict)
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_log(path: str) -> Log:
    """The content of a log.

    Raises:
        CacheError: It can't be read.
    """
    log = Log()
    try:
        for number, line in enumerate(foreign.read(path).splitlines(), 1):
            try:
                _add(log, foreign.array(foreign.from_json(line)))
            except (foreign.Malformed, IndexError) as error:
                raise foreign.Malformed(f"{error} in line {number}") from error
    except (OSError, foreign.Malformed) as error:
        raise CacheError(
            problem(
                f"{path}: not the log of what a job uses",
                found=error,
                expected="what its Python processes write",
                hint="start again; if the disk is full or the job writes there, change that",
            )
        ) from error
    return log


def attempts(path: str) -> list[Attempt]:
    """What a job that failed tried: `read`, `module`, `word` or `write` with a path, `connect` with an address."""
    with suppress(CacheError):
        found = read_log(path)
        tried: list[Attempt] = [("module", file) for file in found.modules]
        tried += [(how, file) for file, how in found.used.items() if how != "write"]
        return [*tried, *(("write", file) for file in found.written), *map(connection, found.connections)]
    return []


def connection(address: str) -> Attempt:
    """The attempt to connect to an address."""
    host, _, port = address.rpartition(":")
    return "connect", [host, port]


def _add(log: Log, words: list[object]) -> None:
    """Add a line of the log."""
    kind = words[0]
    if kind == "begin":
        log.begin = foreign.count(words[1])
    elif kind == "start":
        log.processes += 1
    elif kind == "path":
        log.paths[foreign.text(words[1])] = foreign.texts(words[2])
    elif kind == "site":
        log.tops[foreign.text(words[1]), foreign.text(words[2])] = None
    elif kind == "module":
        file, loaded = _path(words[1]), Loaded(foreign.text(words[2]), foreign.text(words[3]))
        if log.used.get(file) != "write" and loaded not in log.modules.setdefault(file, []):
            log.modules[file].append(loaded)
    elif kind == "connect":
        log.connections[foreign.text(words[1])] = None
    elif kind in ("read", "write", "word"):
        file = _path(words[1])
        if log.used.get(file) in (None, "word"):
            log.used[file] = str(kind)
        if kind == "write":
            log.written[file] = None
    else:
        raise foreign.Malformed(f"{foreign.shown(kind)} for a kind")


def _path(value: object) -> str:
    """A path; one that isn't UTF-8 becomes one of no file, so that it counts as a file that was looked for."""
    if not isinstance(value, str):
        raise foreign.Malformed(f"{foreign.shown(value)} for a path")
    return foreign.text(value.encode(errors="backslashreplace").decode())
