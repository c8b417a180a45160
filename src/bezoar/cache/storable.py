"""What DVC's form of a directory can't hold: an output with it is refused when it is made.

A stored directory is a list of paths and MD5s. What restores it, DVC or the build, makes regular files without the
executable bit. Empty folders, links, that bit and names that DVC ignores would be lost.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from bezoar.cache import CacheError
from bezoar.cache.foreign import FOREIGN_FOLDERS
from bezoar.errors import problem
from bezoar.text import printable

IGNORED = {".snakemake_timestamp"}  # Snakemake's marker in a directory output; .dvcignore names it as well
IGNORED_FOLDERS = {"__pycache__", *FOREIGN_FOLDERS}  # ignored by DVC, or by .dvcignore
REFUSED = {*IGNORED_FOLDERS, ".dvcignore"}  # DVC stops at a directory with rules of its own
DVCIGNORE = ".dvcignore"
ALWAYS = {*IGNORED, "__pycache__/"}  # lines of .dvcignore that are known without matching
LOST_BITS = 0o111 | stat.S_ISUID | stat.S_ISGID
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}

Entries = list["os.DirEntry[str]"]
Ignores = Callable[[str, bool], bool]


class Loss(NamedTuple):
    """Something that a restored output wouldn't have: where, what it is, and what to do."""

    path: str
    found: str
    hint: str


def check_storable(outs: Mapping[str, str], folder: str | None = None) -> None:
    """Refuse outputs that wouldn't come back as they are.

    Args:
        outs: By output, the path that DVC stores: itself, or a folder around it.
        folder: A folder of this job alone, with the outputs: all in it is checked.

    Raises:
        CacheError: An output wouldn't come back as it is.
    """
    loss = next(_of_outputs(outs, folder), None)
    if loss:
        raise CacheError(
            problem(
                f"{printable(loss.path, lines=False)} can't be stored as it is, so nothing is recorded",
                found=loss.found,
                expected="regular files that aren't executable, and folders with files",
                hint=loss.hint,
            )
        )


def check_paths(paths: Iterable[str]) -> None:
    """Refuse outputs that DVC ignores, before anything runs.

    Raises:
        CacheError: .dvcignore names one.
    """
    for path in sorted(paths):
        if found := _ignored_path(path):
            raise CacheError(
                problem(
                    f"{path} is an output that DVC ignores",
                    found=found.found,
                    expected="an output that DVC can store",
                    hint=found.hint,
                )
            )


def is_exact(folder: str) -> bool:
    """Whether a directory has regular files and folders with files only, as after it is restored.

    Names that DVC ignores don't count, nor do permissions.
    """
    return not any(True for parent, entries in _walk(folder) for _ in _shape(parent, entries, parent == folder))


def _of_outputs(outs: Mapping[str, str], folder: str | None) -> Iterator[Loss]:
    for path in outs:
        if os.path.islink(path):
            yield _link(path)
    alone = {path for path, out in outs.items() if path == out}  # only these may be empty
    for root in [folder] if folder and os.path.isdir(folder) else list(outs):
        if found := _ignored_path(root):
            yield found
        if not os.path.isdir(root):
            yield from _file(root, os.lstat(root).st_mode)
            continue
        ignores = _ignores(root)
        for parent, entries in _walk(root):
            yield from _shape(parent, entries, parent in alone)
            for entry in entries:
                yield from _names(entry, ignores)
                yield from _file(entry.path, entry.stat(follow_symlinks=False).st_mode)


def _walk(folder: str) -> Iterator[tuple[str, Entries]]:
    """A folder and those below it that DVC sees, with what is in them; links aren't followed."""
    todo = [folder]
    while todo:
        parent = todo.pop()
        with os.scandir(parent) as found:
            entries = [entry for entry in found if entry.name not in IGNORED]
        yield parent, entries
        todo += [
            entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name not in IGNORED_FOLDERS
        ]


def _shape(parent: str, entries: Entries, may_be_empty: bool) -> Iterator[Loss]:
    """Losses that are no matter of names and permissions."""
    if not may_be_empty and not entries:
        yield Loss(parent, "an empty folder", "write a file into it, or don't make it")
    for entry in entries:
        if entry.is_symlink():
            yield _link(entry.path)
        elif not entry.is_file() and not entry.is_dir():
            yield _special(entry.path, entry.stat(follow_symlinks=False).st_mode)


def _link(path: str) -> Loss:
    return Loss(path, f"a link to {os.readlink(path)!r}", "copy the file or the folder instead of making a link to it")


def _special(path: str, mode: int) -> Loss:
    return Loss(path, KINDS.get(stat.S_IFMT(mode), "a device"), "write a regular file, or remove it")


def _names(entry: "os.DirEntry[str]", ignores: Ignores | None) -> Iterator[Loss]:
    """Names that DVC leaves out or refuses, or that a list can't hold."""
    name = entry.name
    if name in REFUSED or name.lower() in FOREIGN_FOLDERS:
        yield Loss(entry.path, f"the name {name!r}, which DVC never stores", "rename it, or remove it")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        yield Loss(entry.path, f"the name {name!r}, which isn't UTF-8", "rename it")
    elif ignores and ignores(entry.path, entry.is_dir(follow_symlinks=False)):
        yield _ignored(entry.path)


def _file(path: str, mode: int) -> Iterator[Loss]:
    """A file's permissions that are lost. Who may read and write it isn't part of it."""
    if stat.S_ISREG(mode) and mode & LOST_BITS and _keeps_modes(os.path.dirname(path) or "."):
        found = f"a file with the mode {stat.S_IMODE(mode):04o}"
        yield Loss(path, found, "`chmod a-x,u-s,g-s` it; a script also starts as `sh FILE`")


def _keeps_modes(folder: str) -> bool:
    """Whether a new file isn't executable: on some mounts (FAT, NTFS) every file is."""
    import tempfile  # slow to import, and hardly ever needed

    with tempfile.TemporaryFile(dir=folder) as file:
        return not os.fstat(file.fileno()).st_mode & 0o111


def _ignored(path: str) -> Loss:
    return Loss(path, f"a name that {DVCIGNORE} ignores", f"rename it, or remove the pattern from {DVCIGNORE}")


def _ignored_path(path: str) -> Loss | None:
    """The loss if DVC ignores a path or a folder around it."""
    ignores = _ignores(path)
    parts = path.split("/")
    parents = ["/".join(parts[:n]) for n in range(1, len(parts))]
    if ignores and (any(ignores(parent, True) for parent in parents) or ignores(path, os.path.isdir(path))):
        return _ignored(path)
    return None


def _ignores(path: str) -> Ignores | None:
    """Whether DVC ignores a path there, given whether it is a folder; None without patterns but the known ones.

    As in git, a pattern in a deeper folder counts more, and of one file the last one that matches.
    """
    parts = path.split("/")
    rules = [(folder, _lines(folder)) for folder in ("/".join(parts[:n]) for n in range(len(parts)))]
    if not any(set(lines) - ALWAYS for _, lines in rules):
        return None
    from pathspec import GitIgnoreSpec  # slow to import; DVC matches with it

    specs = [(f"{folder}/" if folder else "", GitIgnoreSpec.from_lines(lines)) for folder, lines in reversed(rules)]

    def ignores(found: str, is_folder: bool) -> bool:
        for prefix, spec in specs:
            if found.startswith(prefix):
                said = spec.check_file(found[len(prefix) :] + "/" * is_folder).include
                if said is not None:
                    return bool(said)
        return False

    return ignores


def _lines(folder: str) -> list[str]:
    """The patterns in a folder's .dvcignore, as DVC reads them."""
    try:
        with open(os.path.join(folder, DVCIGNORE), encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [line for line in lines if line and not line.startswith("#")]
