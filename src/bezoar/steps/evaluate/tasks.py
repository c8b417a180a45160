"""Your own tasks for lm-evaluation-harness: the files that a score depends on."""

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from bezoar.yaml12 import UNREADABLE, Loader

MOST_BYTES = 1 << 24  # of a task's file
LOCAL_DATA = {"arrow", "csv", "json", "parquet", "text"}  # kinds of files that the library `datasets` reads
NO_TASKS = {"__pycache__", ".ipynb_checkpoints"}  # the harness skips these folders, too


def task_files(folder: Path | str) -> list[str]:
    """All files below a task folder, sorted: tasks at any depth, files that they include, code of `!function`."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(str(path) for path in files if not NO_TASKS & set(path.relative_to(folder).parts))


def read_tasks(folder: Path) -> Iterator[tuple[Path, dict[str, yaml.Node] | str]]:
    """The files below a task folder that the harness reads as YAML: for each, its nodes by name, or its problem.

    Nodes aren't converted to values, since `!function` would import code.
    """
    for path in sorted(folder.rglob("*")):
        unseen = path.suffix not in (".yaml", ".yml") or NO_TASKS & set(path.relative_to(folder).parts)
        if unseen or path.is_dir():
            continue
        if not path.is_file():  # reading a link to a device may never end
            yield path, "no regular file"
            continue
        try:
            tree = yaml.compose(_text(path), Loader)
        except (*UNREADABLE, yaml.YAMLError, OSError) as error:
            yield path, " ".join(str(error).split())
        else:
            pairs = tree.value if isinstance(tree, yaml.MappingNode) else []
            yield path, {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return data.decode()


def names_in(nodes: dict[str, yaml.Node]) -> set[str]:
    """The tasks and groups that a file defines."""
    return {node.value for key in ("task", "group") if isinstance(node := nodes.get(key), yaml.ScalarNode)}


def needs_hub(folder: Path) -> bool:
    """Whether a task below a folder reads a data set that is neither a file of a known kind nor in this repository."""
    found = (nodes.get("dataset_path") for _, nodes in read_tasks(folder) if isinstance(nodes, dict))
    paths = {node.value for node in found if isinstance(node, yaml.ScalarNode)}
    return any(path not in LOCAL_DATA and not os.path.exists(path) for path in paths)


def includes_outside(path: Path, nodes: dict[str, yaml.Node], folder: Path) -> Iterator[str]:
    """Files outside of the folder that a task includes: they wouldn't be part of a score's key."""
    inside = folder.resolve()
    for include in _texts(nodes.get("include")):
        if not Path(os.path.normpath(path.parent.resolve() / include)).is_relative_to(inside):
            yield include


def _texts(node: yaml.Node | None) -> list[str]:
    """A text, or a list's texts."""
    found = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [one.value for one in found if isinstance(one, yaml.ScalarNode)]
