"""Fingerprints of code: the meaning of a script with all modules that it imports, in code.lock.

A fingerprint covers the syntax tree, without comments, docstrings and layout, of the script and of every module of the
project that it imports, directly or not, also inside functions; and the version of each other distribution that they
import. Imports that are computed at run time aren't seen.
"""

import json
import os
import shlex
import sys
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from bezoar import installed
from bezoar.cache import CacheError, foreign
from bezoar.cache.dvc import Dumper
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.meanings import Meanings, write_whole
from bezoar.cache.modes import make_folder, settle
from bezoar.cache.objects import unwritable
from bezoar.cache.syntax import LENGTH
from bezoar.errors import problem
from bezoar.yaml12 import Loader

CODE_LOCK = "code.lock"
ACCEPTED = "code.accepted.yaml"
SCRIPTS = "scripts"
PACKAGE = "src/bezoar"  # in a checkout
# Modules of the standard library of 3.11 that 3.12 or 3.13 removed.
REMOVED = frozenset(
    """aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib""".split()
)
HEAD = "# Generated: fingerprints of rules and scripts (docs/how-it-decides.md). `bezoar fingerprint` writes it.\n"


def script_name(path: str) -> str:
    """Name of a script in code.lock: `scripts.train.dpo` for scripts/train/dpo.py, a project's own or the package's."""
    return ".".join(Path(installed.name_of(path)).with_suffix("").parts)


def rule_print(command: str) -> str:
    """Fingerprint of a rule's command as written in the rule, without its layout."""
    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError:  # unbalanced quotes: the shell will report them
        words = [command]
    return digest_of(words)[:LENGTH]


@cache
def _package_folder() -> str:
    """The folder of the package `bezoar`: a checkout's src, or where it is installed."""
    spec = find_spec("bezoar")
    assert spec
    assert spec.origin
    return str(Path(spec.origin).parents[1])


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

    def save(self) -> None:
        """Store meanings of modules by content."""
        self.meanings.save()

    def _walk(self, script: str) -> tuple[dict[str, str], list[str]]:
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


def acceptances() -> dict[tuple[str, str], dict[str, Any]]:
    """The entries of `bezoar accept`, by name in code.lock and fingerprint.

    Each has `was`, the earlier fingerprint that counts instead; `reason`; and `what`, the changed parts, or None.

    Raises:
        CacheError: The file isn't what `bezoar accept` writes.
    """
    return {
        (one["code"], one["now"]): {"was": one["was"], "reason": one["reason"], "what": one.get("what")}
        for one in accepted_entries()
    }


def accepted_entries() -> list[dict[str, Any]]:
    """The content of code.accepted.yaml; empty if it doesn't exist.

    Raises:
        CacheError: The file isn't what `bezoar accept` writes.
    """
    try:
        read = foreign.from_yaml(foreign.read(ACCEPTED), Loader)
        entries = [] if read is None else foreign.array(read)
        for entry in entries:
            found = foreign.table(entry)
            for name in ("code", "now", "was", "reason"):
                if not foreign.text(found.get(name)):
                    raise foreign.Malformed(f"an empty {name}")
            if found.get("what") is not None:
                foreign.texts(found["what"])
    except FileNotFoundError:
        return []
    except foreign.Malformed as error:
        raise CacheError(
            problem(
                f"{ACCEPTED} can't be read",
                found=error,
                expected="a list of code, was, now and reason",
                hint="restore it with `git checkout`",
            )
        ) from error
    return entries


def earliest(name: str, found: str, accepted_: dict[tuple[str, str], dict[str, Any]]) -> str:
    """The earlier fingerprint that an acceptance puts in place of this one, or this one."""
    seen = {found}
    while (name, found) in accepted_:
        found = accepted_[name, found]["was"]
        if found in seen:
            break
        seen.add(found)
    return found


def accepted_fingerprint(name: str, closures: Closures) -> str:
    """A script's current fingerprint, or the accepted earlier one."""
    path = installed.find(name.replace(".", "/") + ".py")
    return earliest(name, fingerprint(closures.parts(path)), acceptances())


class Code:
    """The current fingerprints of all rules and scripts.

    Attributes:
        prints: By name, such as `rules.train` and `scripts.train.dpo`, with acceptances.
        elsewhere: Whether rules use code of the package, outside of the project's files.
    """

    def __init__(self, commands: dict[str, str], hasher: Hasher, *, packaged: bool = False) -> None:
        """Take the rules' commands by name; scripts are those in scripts/, and the package's if rules use them."""
        self.closures = Closures(hasher)
        self.elsewhere = packaged and not os.path.isdir(PACKAGE)
        folders = [installed.ROOT / SCRIPTS] * packaged + [Path(SCRIPTS)]
        scripts = {script_name(str(path)): str(path) for folder in folders for path in sorted(folder.rglob("*.py"))}
        self.parts = {name: self.closures.parts(path) for name, path in scripts.items()}  # the project's own win
        self.found = {name: fingerprint(parts) for name, parts in self.parts.items()}
        self.found |= {f"rules.{name}": rule_print(text) for name, text in commands.items()}
        known = acceptances()
        self.prints = {name: earliest(name, print_, known) for name, print_ in sorted(self.found.items())}
        self.closures.save()

    def check_acceptances(self, cache_folder: str) -> None:
        """Compare the changes in acceptances with the real ones, as far as this cache knows the earlier code.

        Raises:
            CacheError: They differ, so a reviewer was misled.
        """
        known = acceptances()
        for name, now in self.found.items():
            seen: set[str] = set()
            while (name, now) in known and now not in seen:
                seen.add(now)
                entry = known[name, now]
                changed = changes(name, entry["was"], now, cache_folder, self.parts.get(name))
                if None not in (changed, entry["what"]) and sorted(entry["what"]) != changed:
                    raise CacheError(
                        problem(
                            f"{ACCEPTED}: the acceptance of {name} doesn't list the real changes",
                            found=f"what: {', '.join(entry['what']) or 'nothing'}",
                            expected=", ".join(changed or []),
                            hint="remove the entry, look at the change, and run `bezoar accept` again",
                        )
                    )
                now = entry["was"]

    @cached_property
    def text(self) -> str:
        """The content of code.lock."""
        nested: dict[str, Any] = {}
        for name, print_ in self.prints.items():
            *parents, last = name.split(".")
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = print_
        return HEAD + yaml.dump(nested, Dumper=Dumper, sort_keys=True)

    def write(self, cache_folder: str) -> bool:
        """Write code.lock if it changed, and the parts of each fingerprint to the cache; whether code.lock changed.

        Raises:
            CacheError: The disk is full, or the cache can't be written.
        """
        try:
            for name, parts in self.parts.items():
                path = Path(cache_folder, "code", f"{self.found[name]}.json")
                if not path.exists():
                    make_folder(path.parent, cache_folder)
                    write_whole(path, json.dumps(parts, indent=1, sort_keys=True))
                    settle(path, cache_folder)
        except OSError as error:
            raise unwritable(cache_folder, error) from error
        lock = Path(CODE_LOCK)
        if lock.exists() and lock.read_bytes() == self.text.encode():
            return False
        write_whole(lock, self.text)
        return True


def parts_of(print_: str, cache_folder: str) -> dict[str, str] | None:
    """The parts of an earlier fingerprint; None if this cache doesn't have them."""
    try:
        found = foreign.table(
            foreign.from_json(foreign.read(f"{cache_folder}/code/{foreign.fingerprint(print_)}.json"))
        )
        parts = {name: foreign.text(value) for name, value in found.items()}
    except (OSError, foreign.Malformed):
        return None
    return parts if fingerprint(parts) == print_ else None


def changes(name: str, was: str, now: str, cache_folder: str, parts: dict[str, str] | None = None) -> list[str] | None:
    """Modules and packages that differ between two fingerprints of a script; None if unknown here.

    Args:
        name: Name in code.lock; a rule is one part.
        was: The earlier fingerprint.
        now: The later one.
        cache_folder: Folder with the parts of earlier code.
        parts: The parts of the current code, which may be the later one.
    """
    if name.startswith("rules."):
        return [name]
    before = parts_of(was, cache_folder)
    after = parts if parts and fingerprint(parts) == now else parts_of(now, cache_folder)
    if before is None or after is None:
        return None
    return [part for part in sorted({*before, *after}) if before.get(part) != after.get(part)]
