"""Fingerprints of code: the meaning of a script with all modules that its text imports.

They show DVC that a stage's code may have changed (code.lock), and a run that code is being edited. Proofs don't depend
on them, but on what a job was seen to load (bezoar.cache.trace).

A fingerprint covers the syntax tree, without comments, docstrings and layout, of the script and of every module of the
project that it imports, directly or not, also inside functions; and the version of each other distribution that they
import. Imports that are computed at run time aren't seen.
"""

import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from bezoar import installed
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.meanings import Meanings
from bezoar.cache.syntax import LENGTH

# Modules of the standard library of 3.11 that 3.12 or 3.13 removed.
REMOVED = frozenset(
    """aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib""".split()
)


def script_name(path: str) -> str:
    """Name of a script in code.lock: `scripts.train.dpo` for scripts/train/dpo.py, a project's own or the package's."""
    return ".".join(Path(installed.name_of(path)).with_suffix("").parts)


@cache
def _package_folder() -> str:
    """The folder of the package `bezoar`: a checkout's src, or where it is installed."""
    spec = find_spec("bezoar")
    assert spec
    assert spec.origin
    return str(Path(spec.origin).parents[1])


def is_own_package() -> bool:
    """Whether Python finds the package `bezoar` in this project's `src`: so in a checkout, not in another worktree."""
    return os.path.realpath(_package_folder()) == os.path.realpath("src")


@cache
def version_of(module: str) -> str:
    """`name==version` of a top-level module's distribution."""
    for name in (module, {"yaml": "pyyaml"}.get(module, module)):
        try:
            return f"{name}=={_release(name)}"
        except PackageNotFoundError:
            pass
    names = sorted(set(packages_distributions().get(module, [])))  # slow, so last
    return ", ".join(f"{name}=={_release(name)}" for name in names) or f"{module}, not installed"


@cache
def in_standard_library(module: str) -> bool:
    """Whether a top-level module is in the standard library of 3.11 or of this Python, and not in a distribution."""
    return module in sys.stdlib_module_names or (module in REMOVED and version_of(module).endswith("not installed"))


def _release(name: str) -> str:
    """A distribution's version without its build: `2.13.0` for both 2.13.0+cpu and 2.13.0+cu130.

    That of a version in development stays: it names a commit.
    """
    found = version(name)
    return found if ".dev" in found else found.partition("+")[0]


class Closures:
    """The imports of scripts, module by module."""

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self._package = os.path.relpath(_package_folder())
        self.meanings = Meanings(hasher)
        self.md5s = self.meanings.md5s  # of each module when it was read
        self._walked: dict[str, tuple[dict[str, str], list[str]]] = {}

    def files(self, script: str) -> dict[str, str]:
        """Names in the closure by path: the script and each project module that it imports."""
        return self._walk(script)[0]

    def parts(self, script: str) -> dict[str, str]:
        """The parts of a script's fingerprint: digests of modules, versions of distributions."""
        files, foreign = self._walk(script)
        digests = self.meanings.together(files)
        return {name: digests[path] for path, name in files.items()} | {
            f"{name} (package)": version_of(name) for name in foreign
        }

    def contents(self, script: str) -> dict[str, str]:
        """MD5 by path of the script and of each project module that it imports, when they were read."""
        return {path: self.md5s[path] for path in self.files(script)}

    def print_of(self, script: str) -> str:
        """The fingerprint of a script with all that it imports."""
        return fingerprint(self.parts(script))

    def save(self) -> None:
        """Store meanings of modules by content."""
        self.meanings.save()

    def _walk(self, script: str) -> tuple[dict[str, str], list[str]]:
        if script not in self._walked:
            self._walked[script] = self._walk_from(script)
        return self._walked[script]

    def _walk_from(self, script: str) -> tuple[dict[str, str], list[str]]:
        files = {script: script_name(script)}
        foreign: set[str] = set()
        todo = [(script, "")]
        while todo:
            path, package = todo.pop()
            for name in self.meanings.of(path).imports:
                found = self._find(_absolute(name, package), os.path.dirname(script))
                if not found:
                    top = name.split(".")[0]
                    if top and not name.startswith(".") and not in_standard_library(top):
                        foreign.add(top)
                for module, file, inside in found:
                    if file not in files:
                        files[file] = module
                        todo.append((file, inside))
        return files, sorted(foreign - {"bezoar"})

    def _find(self, name: str, folder: str) -> list[tuple[str, str, str]]:
        """Files of a dotted name, parent packages first: name, path, package. None if it isn't the project's."""
        parts = name.split(".")
        for base in (folder, "src", self._package):
            found = []
            for length in range(1, len(parts) + 1):
                stem = os.path.join(base, *parts[:length])
                dotted = ".".join(parts[:length])
                if os.path.isfile(f"{stem}/__init__.py"):
                    found.append((dotted, f"{stem}/__init__.py", dotted))
                elif os.path.isfile(f"{stem}.py"):
                    found.append((dotted, f"{stem}.py", ".".join(parts[: length - 1])))
            if parts[-1] == "*" and found and found[-1][0] == ".".join(parts[:-1]):
                found += _starred(found[-1])
            if found:
                return found
        return []


def _starred(package: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    """The modules in a package, which its `__all__` may name; none for a module."""
    dotted, path, inside = package
    if os.path.basename(path) != "__init__.py":
        return []
    modules = sorted(one for one in Path(path).parent.glob("*.py") if one.name != "__init__.py")
    return [(f"{dotted}.{one.stem}", str(one), inside) for one in modules]


def _absolute(name: str, package: str) -> str:
    """A relative name, resolved from a package."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    around = package.split(".")
    return ".".join([*around[: len(around) - level + 1], name[level:]]).strip(".")


def fingerprint(parts: dict[str, str]) -> str:
    """The fingerprint of all parts."""
    return digest_of(parts)[:LENGTH]
