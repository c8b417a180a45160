"""Batches that were submitted and aren't settled, by the ledgers."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bezoar.requests.calls import decoded
from bezoar.requests.index import LEDGER

Batch = tuple[str, str, list[str]]  # id, provider, keys
MARK = b'"event"'  # in the lines about batches alone, so that few lines have to be read as JSON


def open_batches(folder: Path, stage: str, ledgers: Iterable[Path] | None = None) -> Iterator[Batch]:
    """Batches of a stage that were submitted and aren't settled.

    Args:
        folder: The folder of all sessions.
        stage: The stage.
        ledgers: Those that may have such batches; all without it.
    """
    taken = (folder / stage).glob(f"*{LEDGER}") if ledgers is None else ledgers
    lines = [line for path in sorted(taken) if path.parent.name == stage for line in _events(path)]
    settled = {line["batch"] for line in lines if line["event"] == "batch settled"}
    for line in lines:
        if line["event"] == "batch created" and line["batch"] not in settled:
            yield line["batch"], line["provider"], line["keys"]


def unsettled(folder: Path) -> list[str]:
    """The ledgers with batches that aren't settled, as paths in the folder."""
    made: dict[tuple[str, str], str] = {}
    settled: set[tuple[str, str]] = set()
    for path in sorted(folder.glob(f"*/*{LEDGER}")):
        for line in _events(path):
            batch = (path.parent.name, line["batch"])
            if line["event"] == "batch created":
                made[batch] = path.relative_to(folder).as_posix()
            elif line["event"] == "batch settled":
                settled.add(batch)
    return sorted({name for batch, name in made.items() if batch not in settled})


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a ledger that are valid events of batches."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for text in file:
            if MARK in text:
                with suppress(ValueError):
                    line = decoded(text)
                    if isinstance(line, dict) and _is_event(line):
                        yield line


def _is_event(line: dict[str, Any]) -> bool:
    """Whether a line is a valid event of a batch; others may have written it."""
    texts = [line.get("event"), line.get("batch")]
    if line.get("event") == "batch created":
        keys = line.get("keys")
        texts += [line.get("provider"), *keys] if isinstance(keys, list) else [None]
    return all(isinstance(text, str) for text in texts)
