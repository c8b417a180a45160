"""Files that are written whole or not at all, and what they were made from."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROVENANCE = "provenance.json"
IGNORED = (PROVENANCE, ".snakemake_timestamp")  # Snakemake's marker inside a directory output


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A neighbour of `path` to write a file to, renamed to `path` once the block is left without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def artifact(
    folder: Path | str,
    *,
    rule: str,
    block: Mapping[str, Any],
    inputs: Iterable[Path | str],
    packages: Iterable[str] = (),
) -> Iterator[Path]:
    """A neighbour of `folder` to write an artifact's files to; it replaces `folder` once it is complete.

    Last of all, provenance.json is written: the rule, the parameters, and a sha256 of every input and file. It holds
    nothing that differs between two equal runs, so that equal artifacts have equal bytes.

    Raises:
        FileExistsError: `folder` holds files but no provenance.json, so it isn't an artifact and isn't replaced.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PROVENANCE).exists():
        raise FileExistsError(
            f"{folder} is not an artifact and would be replaced\n"
            f"  found:    files without {PROVENANCE}\n  expected: an artifact, an empty folder or none\n"
            "hint: move the folder away, or name another"
        )
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        provenance = {
            "rule": rule,
            "params": dict(block),
            "inputs": {str(path): digest(path) for path in sorted(map(str, inputs))},
            "files": {str(path.relative_to(partial)): sha256(path) for path in files_in(partial)},
            "packages": {name: version(name) for name in sorted(packages)},
        }
        write_json(partial / PROVENANCE, provenance)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path | str, data: Any) -> None:
    """Data as JSON with sorted keys, whole or not at all."""
    with whole(path) as partial:
        text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def readable(folder: Path) -> None:
    """Let everyone read a folder's files: safetensors are written with mode 0600, which a shared folder can't use."""
    for path in files_in(folder):
        path.chmod(0o644)


def files_in(folder: Path | str) -> list[Path]:
    """The files of an artifact, sorted, without its provenance."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name not in IGNORED)


def digest(path: Path | str) -> str:
    """Sha256 of a file's content, or of the names and contents of a folder's files without its provenance."""
    path = Path(path)
    if not path.is_dir():
        return sha256(path)
    recorded = path / PROVENANCE
    if recorded.is_file():  # written last, so it speaks of all the files, and large ones aren't read again
        files = json.loads(recorded.read_text(encoding="utf-8"))["files"]
    else:
        files = {str(one.relative_to(path)): sha256(one) for one in files_in(path)}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
