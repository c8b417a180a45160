"""What a job used, from the log of its processes."""

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from bezoar.cache.hashing import Hasher
from bezoar.cache.meanings import Meanings, most_read
from bezoar.cache.trace.distributions import BUILDS, EDITABLE, top_name
from bezoar.cache.trace.log import Attempt, Loaded, Log, connection, read_log
from bezoar.cache.trace.places import Places, environment_label, is_inside, stem_of
from bezoar.cache.trace.record import ABSENT, ELSEWHERE, ENVIRONMENT, SITE, Distribution, Module, Trace
from bezoar.cache.trace.verify import hiding

SYSTEM = ("/bin/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/")


@dataclass(frozen=True)
class Seen:
    """What a job was seen to use.

    Attributes:
        trace: What counts for its proof.
        undeclared_reads: Files that it read and that are neither declared nor code: paths in the project, and absolute
            paths outside of it.
        undeclared_writes: Files that it wrote and that are neither declared nor gone.
        connections: Addresses that it connected to, or tried to.
        changed: Code and files of the trace that were written, or code that was removed, after the job had started.
        processes: Number of Python processes that were seen.
    """

    trace: Trace
    undeclared_reads: list[str]
    undeclared_writes: list[str]
    connections: list[str]
    changed: list[str]
    processes: int

    @property
    def beyond(self) -> list[Attempt]:
        """What it did without declaring it, as `attempts` has it."""
        files: list[Attempt] = [("read", path) for path in self.undeclared_reads]
        files += [("write", path) for path in self.undeclared_writes]
        return [*files, *map(connection, self.connections)]


def read(
    log: str,
    hasher: Hasher,
    declared: Collection[str],
    readable: Callable[[str], bool] = lambda path: True,
    code: Sequence[str] = (),
) -> Seen:
    """What a job used.

    Args:
        log: The path given to `variables`.
        hasher: Contents of files.
        declared: Paths of declared inputs and outputs, and of files and folders to ignore; relative to the project, or
            absolute.
        readable: Whether the job could read a path: what was refused isn't used.
        code: The script, and the files that its text imports. They count if no process was seen to load the script, as
            under `python -E`.

    Raises:
        CacheError: The log can't be read, or a module isn't Python.
    """
    places = Places()
    meanings = Meanings(hasher)
    content = read_log(log)
    if code and os.path.abspath(code[0]) not in content.modules:
        for path in map(os.path.abspath, code):
            content.modules.setdefault(path, [Loaded("", "")])
    found = _Reader(content, places, meanings, declared, readable).seen()
    places.sites.save()
    meanings.save()
    return found


class _Reader:
    """Makes a trace of a log."""

    def __init__(
        self,
        log: Log,
        places: Places,
        meanings: Meanings,
        declared: Collection[str],
        readable: Callable[[str], bool],
    ) -> None:
        self.readable = readable
        self.log = log
        self.places = places
        self.meanings = meanings
        self.declared = {one.rstrip("/") for one in declared}

    def seen(self) -> Seen:
        files = {path: one for path, one in self.log.modules.items() if os.path.isfile(path)}
        placed = {path: self._place_all(path, all_) for path, all_ in files.items()}
        docstrings = most_read(self.meanings.of(path).reads for path in files if path.endswith(".py"))
        modules = {
            label: Module(self.meanings.digest(path, docstrings), before, folder)
            for path, (label, before, folder) in placed.items()
        }
        reads, undeclared = self._reads(modules, set(files))
        folders = self._folders()
        trace = Trace(
            modules=modules,
            distributions=self._distributions(),
            reads={label: self._md5(path) for label, path in reads.items()},
            folders=folders,
            docstrings=docstrings,
        )
        unused = tuple(sorted(label for label, _ in hiding(trace, self.places)))
        lost = [path for path in self.log.modules if path not in files and self.places.relative(path)]
        changed = sorted(lost + [path for path in (*files, *reads.values()) if self._is_new(path)])
        return Seen(
            trace=replace(trace, unused=unused),
            undeclared_reads=undeclared,
            undeclared_writes=self._undeclared_writes(),
            connections=[*self.log.connections],
            changed=changed,
            processes=self.log.processes,
        )

    def _place_all(self, path: str, all_: list[Loaded]) -> tuple[str, tuple[str, ...], str]:
        """A module's place in all processes: they may have different folders before it."""
        places = [self._place(path, one) for one in all_]
        label, _, folder = places[0]
        before = dict.fromkeys(one for place in places if place[2] == folder for one in place[1])
        return label, tuple(before), folder

    def _place(self, path: str, loaded: Loaded) -> tuple[str, tuple[str, ...], str]:
        """A module's label, the folders before the one that it was found in, and this one."""
        entries = self.log.paths.get(loaded.path, ())
        top, stem = loaded.name.partition(".")[0], loaded.name.replace(".", "/")
        for number, entry in enumerate(entries):
            if stem and stem_of(path) in (f"{entry}/{stem}", f"{entry}/{stem}/__init__"):
                folder = self.places.folder_label(entry)
                if folder in (ENVIRONMENT, SITE):
                    return environment_label(path, entry), self._before(entries[:number], ENVIRONMENT, top), ENVIRONMENT
                return self.places.label(path), self._before(entries[:number], folder, top), folder
        root = self._editable_root(path, top)
        return (environment_label(path, root), (), ENVIRONMENT) if root else (self.places.label(path), (), "")

    def _editable_root(self, path: str, top: str) -> str:
        """The folder with the package that a module is from, if Python finds that by an editable install."""
        spec = self.places.find(top) if top else None
        locations = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        return next((os.path.dirname(one) for one in locations if path == one or path.startswith(f"{one}/")), "")

    def _before(self, entries: tuple[str, ...], own: str, top: str) -> tuple[str, ...]:
        """Labels of folders, as far as a new module there would be found first, and that have none now."""
        labels = dict.fromkeys(map(self.places.folder_label, entries))
        if own == ENVIRONMENT:  # Verifier asks the whole environment
            labels = {one: None for one in labels if one not in (ENVIRONMENT, SITE)}
        elif SITE in labels:
            labels.pop(ENVIRONMENT, None)
        return tuple(one for one in labels if one not in ("", own) and not self.places.found_in(one, top))

    def _folders(self) -> tuple[str, ...]:
        """Folders outside of the environment that were searched before the standard library, in any process."""
        found: dict[str, None] = {}
        for entries in self.log.paths.values():
            for one in map(self.places.folder_label, entries):
                if not one:
                    break
                if one not in (ENVIRONMENT, SITE):
                    found[one] = None
        return tuple(sorted(found))

    def _distributions(self) -> dict[str, Distribution]:
        tops: dict[str, set[str]] = {}
        versions: dict[str, str] = {}
        for folder, component in self.log.tops:
            if folder not in self.places.sites.folders:
                continue  # of another Python: its rule's command, `conda:` or `container:` names it
            top, installed = top_name(component), self.places.sites.installed(folder)
            for name in installed.owners.get(top, []):
                versions[name] = installed.versions[name]
                tops.setdefault(name, set()).add(top)
            if top not in installed.owners and (content := self.meanings.hasher.content(f"{folder}/{component}")):
                versions[f"{SITE}/{component}"] = content.md5
                tops[f"{SITE}/{component}"] = {top}
        return {
            name: Distribution(versions[name], tuple(sorted(one for one in found if not one.endswith("__mypyc"))))
            for name, found in sorted(tops.items())
            if versions[name] != EDITABLE and not BUILDS.fullmatch(name)
        }

    def _reads(self, modules: dict[str, Module], files: set[str]) -> tuple[dict[str, str], list[str]]:
        """Paths by label of what counts beside modules, and what should be declared."""
        tops = {label.split("/")[0] for label in modules if label.startswith(ENVIRONMENT)}
        reads: dict[str, str] = {}
        undeclared: set[str] = set()
        for path, how in self.log.used.items():
            if how == "write" or (how == "word" and path in files) or os.path.isdir(path) or not self.readable(path):
                continue
            if label := self._code_label(path, tops):
                reads[label] = path
                continue
            label = self.places.label(path)
            if self._is_declared(path, label):
                continue
            outside, mine = label.startswith(ELSEWHERE), self.places.relative(path)
            if os.path.exists(path) and path not in files and (mine or (outside and not path.startswith(SYSTEM))):
                undeclared.add(path if outside else label)
            if not outside:
                reads[label] = path
        return reads, sorted(undeclared)

    def _code_label(self, path: str, tops: set[str]) -> str:
        """The label of a file in a package that was loaded from the environment; empty for another file."""
        for folder in self.places.real_search:
            if path.startswith(f"{folder}/"):
                label = environment_label(path, folder)
                if "/" in label and label.split("/")[0] in tops:
                    return label
        return ""

    def _md5(self, path: str) -> str:
        with suppress(OSError):
            if os.path.isfile(path):
                return self.meanings.hasher.file(path).md5
        return ABSENT

    def _undeclared_writes(self) -> list[str]:
        found = {path: self.places.label(path) for path in self.log.written if os.path.isfile(path)}
        return sorted(
            path if label.startswith(ELSEWHERE) else label
            for path, label in found.items()
            if not self._is_declared(path, label) and not (label.startswith(ELSEWHERE) and path.startswith(SYSTEM))
        )

    def _is_declared(self, path: str, label: str) -> bool:
        if is_inside(path, self.declared) or is_inside(label, self.declared):
            return True
        return label.startswith(ELSEWHERE) and any(
            is_inside(one, self._elsewhere) for one in (path, os.path.realpath(path))
        )

    @cached_property
    def _elsewhere(self) -> set[str]:
        return {found for one in self.declared for found in (os.path.abspath(one), os.path.realpath(one))}

    def _is_new(self, path: str) -> bool:
        """Whether a file was written after the start, by the time that nobody can set."""
        with suppress(OSError):
            return os.stat(path).st_ctime_ns > self.log.begin
        return False
