"""Write files completely or not at all; hashes of their content."""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem

SEEN = Path(".dvc/tmp/bezoar-sha256.json")
TICK = 2_000_000_000  # nanoseconds; the coarsest clock of a file system
MARKER = ".snakemake_timestamp"  # Snakemake writes it into the folder of an output; it isn't part of the artifact


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A file beside `path` to write to; it is renamed to `path` if the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    if partial.is_symlink():
        partial.unlink()  # a commit may have put it there, so that a build overwrites its target
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def artifact(folder: Path | str) -> Iterator[Path]:
    """A folder beside `folder` to write to; it is renamed to `folder` if the block ends without an exception.

    Raises:
        InputError: `folder` holds files, before or after the block.
    """
    folder = Path(folder)
    check_empty(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    empty(partial)
    try:
        yield partial
        check_empty(folder)
        (folder / MARKER).unlink(missing_ok=True)
        os.replace(partial, folder)  # replaces an empty folder, and fails on any other
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_empty(folder: Path) -> None:
    """Refuse to write an artifact over files; Snakemake itself removes a job's outputs first.

    Raises:
        InputError: There is more in the folder than Snakemake's marker.
    """
    found = sorted(path.name for path in folder.iterdir() if path.name != MARKER) if folder.is_dir() else []
    if found:
        raise InputError(
            problem(
                f"{folder} is not empty and would be replaced",
                found=f"{', '.join(found[:3])}{' and more' if len(found) > 3 else ''}",
                expected="an empty folder or none",
                hint="remove the folder, or name another",
            )
        )


def empty(folder: Path) -> None:
    """Make a folder, or remove what it holds; a job may have the right to write in this very folder only."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def scratch(beside: Path) -> Path:
    """The folder for files that outlive a try, but not the job: the job's own, else the one beside its artifact."""
    own = os.environ.get("BEZOAR_SCRATCH")
    return Path(own) if own else beside.parent


def write_json(path: Path | str, data: Any) -> None:
    """Write data as JSON with sorted keys, completely or not at all."""
    with whole(path) as partial:
        text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def rounded(data: Any) -> Any:
    """Data for JSON with floats of 7 significant digits, as many as a float32 has.

    Equal runs differ beyond: since Python 3.12 `sum` adds floats in another way, also in TRL and lm-eval.
    """
    if isinstance(data, float):
        return float(f"{data:.7g}")
    if isinstance(data, dict):
        return {name: rounded(value) for name, value in data.items()}
    return [rounded(value) for value in data] if isinstance(data, list) else data


def readable(folder: Path) -> None:
    """Let everyone read a folder's files: safetensors writes them with mode 0600, no use in a shared folder."""
    for path in files_in(folder):
        path.chmod(0o644)


def files_in(folder: Path | str) -> list[Path]:
    """The files of an artifact, sorted, without Snakemake's marker."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != MARKER)


def walk(folder: str, left_out: Container[str]) -> Iterator[tuple[str, list[str]]]:
    """A folder and all folders below it, each with the names of its files; links are followed.

    Args:
        folder: Its path.
        left_out: Names of folders that are not looked into.

    Raises:
        OSError: A folder can't be read; or, with `ELOOP`, a link leads to a folder around it, so there is no end.
    """

    def fail(error: OSError) -> None:
        raise error  # an unreadable folder isn't empty

    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = [name for name in folders if name not in left_out]
        for link in filter(os.path.islink, (os.path.join(parent, name) for name in folders)):
            if (real := os.path.realpath(link)) in _real_parents(parent, folder):
                raise OSError(errno.ELOOP, f"a link to {real}, a folder around it", link)
        yield parent, names


def _real_parents(path: str, folder: str) -> Iterator[str]:
    """A path and the folders around it, up to a folder, without links."""
    while len(path) > len(folder):
        yield os.path.realpath(path)
        path = os.path.dirname(path)
    yield os.path.realpath(folder)


def remembered_sha256(path: Path) -> str:
    """Sha256 of a file's content; the file is only read again when its size or time changes."""
    about = path.stat()
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError, RecursionError):
        read = json.loads(SEEN.read_text(encoding="utf-8"))
        known = read if isinstance(read, dict) else {}
    signature, key = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino], str(path.resolve())
    match known.get(key):
        case [found, str(digits)] if found == signature:
            return digits
    known[key] = [signature, sha256(path)]
    settled = (
        time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > TICK
    )  # otherwise it may change again within the clock's tick
    if settled and path.stat().st_ctime_ns == about.st_ctime_ns:
        with suppress(OSError):
            write_json(SEEN, known)
    return str(known[key][1])


def digest(path: Path | str) -> str:
    """Sha256 of a file's content, or of the names and contents of a folder's files."""
    path = Path(path)
    if not path.is_dir():
        return sha256(path)
    files = {str(one.relative_to(path)): sha256(one) for one in files_in(path)}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
