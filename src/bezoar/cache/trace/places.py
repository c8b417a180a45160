"""Labels of files, and the files that Python finds under a label now."""

import os
import site
import sys
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from typing import Any

from bezoar import installed
from bezoar.cache.trace.distributions import SITES, Sites
from bezoar.cache.trace.record import ELSEWHERE, ENVIRONMENT, PROJECT, SITE

LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
HOOK = str(Path(__file__).parents[1] / "hook")
LIBRARY = os.path.dirname(os.__file__)
ENDLESS = ("/dev/", "/proc/", "/sys/")  # a trace of others must not make this process read there
PACKAGED = ("profiles", "recipes", "rules", "scripts")  # what the package has for each project


class Places:
    """The project's folder, and the folders in which Python finds modules."""

    def __init__(self) -> None:
        self.project = os.path.realpath(".")
        self.sites = Sites(_sites())
        self._finders: dict[str, FileFinder] = {}
        self._specs: dict[tuple[str, str], ModuleSpec | None] = {}
        self._tops: dict[str, ModuleSpec | None] = {}

    @cached_property
    def first(self) -> list[str]:
        """Folders of PYTHONPATH, which come before the standard library."""
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return [os.path.abspath(one) for one in given if one and os.path.abspath(one) != HOOK]

    @cached_property
    def search(self) -> list[str]:
        """All folders of the environment in which Python finds modules, in order."""
        found = [*self.first]
        for folder in self.sites.folders:
            found.append(folder)
            for name in self.sites.installed(folder).links:
                found += _linked(folder, name)
        return list(dict.fromkeys(found))

    @cached_property
    def folders(self) -> list[str]:
        """Those that no distributions are installed in."""
        return [one for one in self.search if one not in self.sites.folders]

    @cached_property
    def real_folders(self) -> set[str]:
        """The same folders, with and without links in their paths."""
        return {path for one in self.folders for path in (one, os.path.realpath(one))}

    @cached_property
    def real_search(self) -> set[str]:
        """All folders of the environment, with and without links in their paths."""
        return {*self.real_folders, *self.sites.folders}

    def find_in(self, folder: str, name: str) -> ModuleSpec | None:
        """What Python loads under a name from a folder; None for nothing, and for a part of a namespace."""
        if (folder, name) not in self._specs:
            if folder not in self._finders:
                self._finders[folder] = FileFinder(folder, *LOADERS)
            spec = self._finders[folder].find_spec(name)
            self._specs[folder, name] = spec if spec and spec.loader else None
        return self._specs[folder, name]

    def found_in(self, label: str, name: str) -> str:
        """The file that Python loads under a name without dots from the folders with a label; empty for none."""
        if label in (ENVIRONMENT, SITE):
            spec = self.find(name)
            origin = spec.origin if spec and spec.origin else ""
            return "" if label == ENVIRONMENT and is_installed(origin) else origin
        found = (self.find_in(folder, name) for folder in self.paths(label))
        return next((spec.origin for spec in found if spec and spec.origin), "")

    def names_in(self, folder: str) -> set[str]:
        """Names that may be modules of a folder."""
        with suppress(OSError):
            return {name.partition(".")[0] for name in os.listdir(folder)}
        return set()

    def find(self, top: str) -> ModuleSpec | None:
        """What Python loads from the environment under a name without dots."""
        if top not in self._tops:
            found = (self.find_in(folder, top) for folder in self.search)
            editable = (_find_editable(finder, top) for finder in sys.meta_path)
            self._tops[top] = next((spec for spec in (*found, *editable) if spec), None)
        return self._tops[top]

    def label(self, path: str) -> str:
        """The label of a file that isn't found by a search."""
        if relative := self.relative(path):
            return f"{ELSEWHERE}{os.path.realpath(path)[1:]}" if relative.startswith(ENVIRONMENT) else relative
        name = installed.name_of(path)
        if name.split("/")[0] in PACKAGED:
            return name
        return f"{ELSEWHERE}{os.path.abspath(path)[1:]}"

    def folder_label(self, folder: str) -> str:
        """The label of a folder of sys.path; empty for one of the standard library."""
        if in_library(folder) and not is_installed(folder):
            return ""
        if os.path.basename(folder) in SITES:
            return SITE
        if folder in self.real_folders or os.path.realpath(folder) in self.real_folders:
            return ENVIRONMENT
        return PROJECT if os.path.realpath(folder) == self.project else self.label(folder)

    def paths(self, label: str) -> list[str]:
        """The folders with a label outside of the environment: the project's, and perhaps the package's."""
        if label.startswith(ELSEWHERE):
            return [f"/{label[len(ELSEWHERE) :]}"]
        packaged = [str(installed.ROOT / label)] if label.split("/")[0] in PACKAGED else []
        return list(dict.fromkeys(map(os.path.abspath, [label, *packaged])))

    def path(self, label: str) -> str:
        """The file with a label that isn't found by a search; empty for one that no trace can name."""
        if label.startswith(ELSEWHERE):
            path = f"/{label[len(ELSEWHERE) :]}"
            return "" if path.startswith(ENDLESS) else path
        return installed.find(label) if label.split("/")[0] in PACKAGED else label

    def relative(self, path: str) -> str:
        """The path in the project's folder, by name or behind links; empty if it lies elsewhere."""
        for one in (os.path.abspath(path), os.path.realpath(path)):
            if one.startswith(f"{self.project}/"):
                return one[len(self.project) + 1 :]
        return ""


def _find_editable(finder: Any, top: str) -> ModuleSpec | None:
    """What the finder of an editable install finds; tools for that have `editable` in their modules' names."""
    if "editable" not in getattr(finder, "__module__", ""):
        return None
    found: ModuleSpec | None = finder.find_spec(top, None)
    return found


def in_library(path: str) -> bool:
    """Whether a path is in the standard library."""
    return path.startswith((f"{LIBRARY}/", f"{sys.base_prefix}/lib/python")) or path == LIBRARY


def is_installed(path: str) -> bool:
    """Whether a path is in a folder such as site-packages."""
    return any(f"/{one}/" in f"{path}/" for one in SITES)


def _sites() -> list[str]:
    found = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        found = [site.getusersitepackages(), *found]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # as modules of a cluster set it
    found = [*(one for one in given if os.path.basename(os.path.normpath(one)) in SITES), *found]
    return [os.path.abspath(one) for one in dict.fromkeys(found) if os.path.isdir(one)]


def _linked(folder: str, name: str) -> list[str]:
    """The folders that a .pth file adds to sys.path."""
    with suppress(OSError):
        lines = Path(folder, name).read_text(encoding="utf-8", errors="replace").splitlines()
        paths = [os.path.join(folder, line.strip()) for line in lines if line.strip() and line[0] != "#"]
        return [os.path.abspath(one) for one in paths if not one.startswith("import") and os.path.isdir(one)]
    return []


def environment_label(path: str, folder: str) -> str:
    """The label of a module in a folder of the environment; an extension's without Python's version and platform."""
    name = path[len(folder) + 1 :]
    return (
        f"{ENVIRONMENT}{os.path.relpath(stem_of(path), folder)}.so" if name.endswith(".so") else f"{ENVIRONMENT}{name}"
    )


def stem_of(path: str) -> str:
    """The path of a module without its suffix."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def is_inside(path: str, folders: Collection[str]) -> bool:
    """Whether a path is one of these, or in one of them."""
    while path not in folders:
        parent = path.rpartition("/")[0]
        if not parent:
            return False
        path = parent
    return True
