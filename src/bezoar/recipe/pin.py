"""Pins of a params file: commits for names of revisions on the hub, and the sha256 of addresses and files.

Values are written into the text where they belong, so that comments and layout stay.
"""

import hashlib
import os
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bezoar import yaml12
from bezoar.errors import InputError, problem
from bezoar.files import sha256
from bezoar.problems import KeyPath, lines_of, parsed
from bezoar.steps.evaluate import task_data, task_settings
from bezoar.steps.evaluate.tasks import needs_hub

COMMIT = re.compile("[0-9a-f]{40}")
CHUNK = 1 << 18  # bytes per read


@dataclass(frozen=True)
class Pin:
    """A value to write.

    Attributes:
        key: Its key.
        found: What is there now, for a message.
        value: The commit or sha256, or a map of commits.
        beside: The key of its block after which it is written if it isn't there.
    """

    key: KeyPath
    found: str
    value: str | dict[str, str]
    beside: str


def pins_of(text: str, path: Path) -> list[Pin]:
    """What a params file leaves open: it asks the hub, reads files, and fetches what is at addresses.

    Raises:
        ValueError: The file isn't YAML, or a repository, an address or a file can't be read.
    """
    data = parsed(text, path)
    lines_of(str(path), text)  # refuses a key that is there twice
    return [
        *_of_sources(_blocks(data, "sources")),
        *_of_models(_blocks(data, "models")),
        *_of_evals(_blocks(data, "evals")),
    ]


def _blocks(data: Any, section: str) -> dict[str, Any]:
    found = data.get(section) if isinstance(data, dict) else None
    blocks = found if isinstance(found, dict) else {}
    return {name: block for name, block in blocks.items() if isinstance(block, dict)}


def _of_sources(blocks: dict[str, Any]) -> Iterator[Pin]:
    for name, block in blocks.items():
        short = isinstance(block.get("path"), str) and "origin" not in block
        origin = {"kind": "file", **block} if short else block.get("origin")
        key: KeyPath = ("sources", name) if short else ("sources", name, "origin")
        match origin:
            case {"kind": "hub", "repository": str(repository)}:
                yield from _revision(key, "dataset", repository, origin.get("revision"))
            case {"kind": "url", "url": str(url)} if not origin.get("sha256"):
                yield Pin((*key, "sha256"), "nothing", _fetched_sha256(url, key), "url")
            case {"kind": "file", "path": str(file)} if not origin.get("sha256"):
                found = os.path.expanduser(file)
                if os.path.isfile(found):
                    yield Pin((*key, "sha256"), "nothing", sha256(Path(found)), "path")


def _of_models(blocks: dict[str, Any]) -> Iterator[Pin]:
    for name, block in blocks.items():
        match block:
            case {"method": "hub", "repository": str(repository)}:
                yield from _revision(("models", name), "model", repository, block.get("revision"))


def _of_evals(blocks: dict[str, Any]) -> Iterator[Pin]:
    """Commits of the data sets that tasks of the harness read, as far as their files say."""
    for name, block in blocks.items():
        folder = block.get("task_folder")
        tasks = task_settings.names_of(block.get("tasks"), own=folder is not None)
        if block.get("method") != "harness" or not tasks or (folder is not None and not needs_hub(Path(str(folder)))):
            continue
        key: KeyPath = ("evals", name, "revisions")
        known = block.get("revisions")
        known = known if isinstance(known, dict) else {}
        wanted = {one: str(known.get(one) or "main") for one in (*known, *task_data.data_sets(tasks, folder))}
        found = {one: _commit("dataset", one, at, key) for one, at in wanted.items() if not COMMIT.fullmatch(at)}
        if known:
            yield from (Pin((*key, one), str(known.get(one, "nothing")), at, [*known][-1]) for one, at in found.items())
        elif found:
            yield Pin(key, "nothing", found, "method")


def _revision(key: KeyPath, kind: Literal["dataset", "model"], repository: str, found: Any) -> Iterator[Pin]:
    """The commit of a revision that isn't one; none means `main`."""
    name = "main" if found is None else str(found)
    if not COMMIT.fullmatch(name):
        yield Pin((*key, "revision"), str(found or "nothing"), _commit(kind, repository, name, key), "repository")


def _commit(kind: Literal["dataset", "model"], repository: str, revision: str, key: KeyPath) -> str:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi  # slow to import; only the hub's repositories need it
    from huggingface_hub.errors import HTTPError

    try:
        found = HfApi().repo_info(repository, repo_type=kind, revision=revision).sha or ""
    except (HTTPError, OSError, ValueError) as error:  # without a network it is an HTTPError, which is no OSError
        raise _unknown(key, f"{repository} at {revision}", error, f"a {kind} of the hub with this revision") from error
    if not COMMIT.fullmatch(found):
        raise _unknown(key, f"{repository} at {revision}", ValueError(f"the hub says {found!r:.60}"), "a commit")
    return found


def _fetched_sha256(url: str, key: KeyPath) -> str:
    """The sha256 of what is at an address; nothing of it is kept."""
    if not re.match("https?://", url):
        raise _unknown(key, url, ValueError("no such protocol"), "an http(s) address")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            while part := answer.read(CHUNK):
                digest.update(part)
    except (OSError, ValueError) as error:
        raise _unknown(key, url, error, "an address that answers") from error
    return digest.hexdigest()


def _unknown(key: KeyPath, what: str, error: Exception, expected: str) -> InputError:
    found = str(error).strip().partition("\n")[0] or type(error).__name__
    hint = "is it spelt right, and is there a network? a private repository needs HF_TOKEN"
    place = ".".join(map(str, key))
    return InputError(problem(f"{place}: {what} can't be pinned", found=found, expected=expected, hint=hint))


def pinned(text: str, pins: list[Pin], path: Path) -> str:
    """The text of a params file with the pins in it, and nothing else changed.

    Raises:
        InputError: A value can't be put in its place, such as one in a block that is an alias.
    """
    root, wanted = yaml.compose(text, Loader=yaml.SafeLoader), parsed(text, path)
    edits = {_edit(text, root, pin) for pin in pins}
    for start, end, new in sorted((one for one in edits if one), reverse=True):
        text = text[:start] + new + text[end:]
    for pin in pins:
        block = wanted
        for name in pin.key[:-1]:
            block = block[name]
        block[pin.key[-1]] = pin.value
    if parsed(text, path) != wanted:
        raise InputError(
            problem(
                f"{path}: the pins can't be written without a change of other values",
                found="a block in an unusual form, such as an alias",
                expected="plain YAML maps",
                hint="write the values above by hand",
            )
        )
    return text


def _edit(text: str, root: Any, pin: Pin) -> tuple[int, int, str] | None:
    """Where a pin is written, and what: in the place of a value, or after the one beside it; None for no place."""
    node = root
    for name in pin.key[:-1]:
        node = _value(node, name) if node else None
    flow = node is None or node.flow_style
    value = _written(pin.value, None if flow else node.start_mark.column)
    there, beside = (_value(node, pin.key[-1]), _value(node, pin.beside)) if node else (None, None)
    if there is not None:
        start, end = there.start_mark.index, there.end_mark.index
        value = _written(pin.value, None)
        return start, end, value if end > start else f" {value}"
    if beside is None:
        return None  # a block that takes its keys from another one
    end = beside.end_mark.index
    if node.flow_style:
        return end, end, f", {pin.key[-1]}: {value}"
    line = re.compile(r"[^\r\n]*").match(text, end)
    after = line.end() if line else end
    newline = "\r\n" if text[after : after + 2] == "\r\n" else "\n"
    line_of_key = f"{' ' * node.start_mark.column}{pin.key[-1]}:{'' if value.startswith(chr(10)) else ' '}{value}"
    return after, after, newline + line_of_key.replace("\n", newline)


def _written(value: str | dict[str, str], column: int | None) -> str:
    """A value as YAML; a map in lines below a key at this column, or in one line without it."""
    if isinstance(value, str):
        return value if yaml12.load(value) == value else f'"{value}"'  # digits alone are a number
    pairs = [f"{name}: {_written(one, None)}" for name, one in value.items()]
    if column is None:
        return "{" + ", ".join(pairs) + "}"
    return "".join(f"\n{' ' * (column + 2)}{pair}" for pair in pairs)


def _value(node: Any, name: str | int) -> Any:
    """The node of a value in a map; None if there is none."""
    return next((value for key, value in node.value if key.value == str(name)), None)
