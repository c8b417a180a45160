"""Whether a trace holds: whether a job would find and use the same things now."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from bezoar.cache import CacheError
from bezoar.cache.hashing import Hasher
from bezoar.cache.meanings import Meanings
from bezoar.cache.trace.places import Places, environment_label, stem_of
from bezoar.cache.trace.record import ABSENT, ELSEWHERE, ENVIRONMENT, PROJECT, SITE, Module, Trace


@dataclass(frozen=True)
class Change:
    """A difference between what a trace says and what is there.

    Attributes:
        kind: `module`, `distribution`, `read`, or `found` where Python would find another file under a name.
        name: A label, or the name of a distribution.
        was: A digest, a version, or a label.
        now: The same of now; empty for nothing.
    """

    kind: str
    name: str
    was: str
    now: str


class Verifier:
    """Compares traces with what is there; each thing is looked at once."""

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.places = Places()
        self.meanings = Meanings(hasher)
        self._known: dict[str, list[Change]] = {}

    def changes(self, trace: Trace) -> list[Change]:
        """What differs; empty if the trace holds."""
        if trace.digest not in self._known:
            found = [*self._modules(trace), *self._distributions(trace), *self._reads(trace), *self._hiding(trace)]
            self._known[trace.digest] = found
        return self._known[trace.digest]

    def is_elsewhere(self, trace: Trace) -> bool:
        """Whether jobs loaded code from outside of the project, and not of the package: no file here shows that."""
        tops = {label[1:].partition("/")[0] for label in trace.modules if label.startswith(ENVIRONMENT)} - {"bezoar"}
        found = (self.places.find(stem_of(f"/{top}")[1:]) for top in tops if not top.startswith("~"))
        origins = [spec.origin for spec in found if spec and spec.origin]
        return any(label.startswith(ELSEWHERE) for label in trace.modules) or not all(
            map(self.places.relative, origins)
        )

    def save(self) -> None:
        """Remember what was found."""
        self.meanings.save()
        self.places.sites.save()

    def _modules(self, trace: Trace) -> Iterator[Change]:
        for label, module in trace.modules.items():
            path, instead = self._find(label, module, trace)
            if instead:
                yield Change("found", label, label, instead)
            elif (now := self._meaning(path, trace.docstrings)) != module.meaning:
                yield Change("module", label, module.meaning, now)

    def _meaning(self, path: str, docstrings: str) -> str:
        with suppress(OSError, CacheError):
            if os.path.isfile(path):
                return self.meanings.digest(path, docstrings)
        return ""

    def _find(self, label: str, module: Module, trace: Trace) -> tuple[str, str]:
        """The file of a module, or the label of what Python would find in its place; both empty if it is gone."""
        if not module.folder:
            return self.places.path(label), ""
        parts = stem_of(f"/{_inside(label, module.folder)}")[1:].removesuffix("/__init__").split("/")
        for before in module.before:
            if origin := self.places.found_in(before, parts[0]):
                return "", f"{before}/{stem_of(origin).rpartition('/')[2].replace('__init__', parts[0])}"
        for root in self._roots(parts[0], module.folder):
            if found := self._walk(root, parts):
                loaded = [_label(path, root, module.folder) for path in found]
                other = next((one for one in loaded[:-1] if one not in trace.modules), "")
                return found[-1], other or (loaded[-1] if loaded[-1] != label else "")
        return "", ""

    def _roots(self, top: str, folder: str) -> list[str]:
        """The folders with a label, or the one of the environment in which Python finds a name."""
        if folder != ENVIRONMENT:
            return self.places.paths(folder)
        spec = self.places.find(top)
        if spec is None:  # perhaps a namespace
            return [one for one in self.places.search if os.path.isdir(f"{one}/{top}")]
        return [os.path.dirname(one) for one in spec.submodule_search_locations or [spec.origin or ""]]

    def _walk(self, folder: str, parts: list[str]) -> list[str]:
        """The files that Python loads for a dotted name below a folder; none if it finds no module."""
        found = []
        for number, name in enumerate(parts):
            spec = self.places.find_in(folder, name)
            last = number == len(parts) - 1
            if spec and spec.origin:
                found.append(spec.origin)
                if not last and not spec.submodule_search_locations:
                    return found  # a module in place of a package
            elif last:
                return []
            folder = f"{folder}/{name}"
        return found

    def _distributions(self, trace: Trace) -> Iterator[Change]:
        sites = self.places.sites
        for name, was in trace.distributions.items():
            if name.startswith(f"{SITE}/"):  # files that no distribution has installed
                contents = (self.hasher.content(f"{one}{name[len(SITE) :]}") for one in sites.folders)
                version = next((one.md5 for one in contents if one), "")
            else:
                version = sites.version(name) or ""
            if version != was.version:
                yield Change("distribution", name, was.version, version)
            elif not name.startswith(f"{SITE}/"):
                for top in was.tops:
                    if name not in (owners := sites.owners(top)):
                        yield Change("distribution", top, name, ", ".join(owners))

    def _reads(self, trace: Trace) -> Iterator[Change]:
        for label, was in trace.reads.items():
            now = ABSENT
            with suppress(OSError):
                path = self._path(label)
                if os.path.isfile(path):
                    now = self.hasher.file(path).md5
            if now != was:
                yield Change("read", label, was, now)

    def _path(self, label: str) -> str:
        """The file that was read; empty for none."""
        if not label.startswith(ENVIRONMENT) or label.startswith(ELSEWHERE):
            return self.places.path(label)
        top = label[1:].partition("/")[0]
        paths = (f"{root}/{label[1:]}" for root in self._roots(top, ENVIRONMENT))
        return next((path for path in paths if os.path.exists(path)), "")

    def _hiding(self, trace: Trace) -> Iterator[Change]:
        for label, name in hiding(trace, self.places):
            if label not in trace.unused:
                was = "the standard library" if name in sys.stdlib_module_names else "the environment"
                yield Change("found", name, was, label)


def hiding(trace: Trace, places: Places) -> Iterator[tuple[str, str]]:
    """Modules that a job didn't load, but that hide one from elsewhere: label and name."""
    tops = {top.partition("/")[0] for one in trace.distributions.values() for top in one.tops}
    tops |= {
        stem_of(f"/{label[1:].partition('/')[0]}")[1:]
        for label, one in trace.modules.items()
        if one.folder == ENVIRONMENT
    }
    searched = [(label, folder, tops) for label in trace.folders for folder in places.paths(label)]
    searched += [(ENVIRONMENT, folder, set()) for folder in places.first]
    for label, folder, names in searched:
        for name in sorted(places.names_in(folder) & (sys.stdlib_module_names | names)):
            spec = places.find_in(folder, name)
            if spec and spec.origin and (found := _label(spec.origin, folder, label)) not in trace.modules:
                yield found, name


def _inside(label: str, folder: str) -> str:
    """The path of a module in its folder."""
    if folder == ENVIRONMENT:
        return label[len(ENVIRONMENT) :]
    return label if folder == PROJECT else label[len(folder) + 1 :]


def _label(path: str, root: str, folder: str) -> str:
    """The label of a file below a folder that has one, too."""
    if folder == ENVIRONMENT:
        return environment_label(path, root)
    name = path[len(root) + 1 :]
    return name if folder == PROJECT else f"{folder}/{name}"
