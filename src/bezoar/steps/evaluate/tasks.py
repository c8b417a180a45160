"""Your own tasks for lm-evaluation-harness: the files that a score depends on, and what they read beside these."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import yaml

from bezoar.yaml12 import UNREADABLE, Loader

MOST_BYTES = 1 << 24  # of a task's file
LOCAL_DATA = {"arrow", "csv", "json", "parquet", "text"}  # kinds of files that the library `datasets` reads
NO_TASKS = {"__pycache__", ".ipynb_checkpoints"}  # the harness skips these folders, too
FUNCTION = "!function"  # the tag of a function's name

Nodes = dict[str, yaml.Node]


def task_files(folder: Path | str) -> list[str]:
    """All files below a task folder, sorted: tasks at any depth, files that they include, code of `!function`."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(str(path) for path in files if not NO_TASKS & set(path.relative_to(folder).parts))


def inputs_of(folder: Path) -> dict[str, Path]:
    """The files below a task folder by their real place, where the harness looks for what a task names."""
    real = folder.resolve()
    return {str(real / path.relative_to(folder)): path for path in map(Path, task_files(folder))}


def read_tasks(folder: Path) -> Iterator[tuple[Path, Nodes | str]]:
    """The files below a task folder that the harness reads as YAML: for each, its nodes by name, or its problem.

    An included file may have any name. Nodes aren't converted to values, since `!function` would import code.
    """
    waiting, inputs = sorted(path for path in folder.rglob("*") if _is_task(path, folder)), inputs_of(folder)
    for path in waiting:
        nodes = _nodes(path)
        yield path, nodes
        if isinstance(nodes, dict):
            included = (_input(_place(path, text), inputs) for text in _texts(nodes.get("include")))
            waiting += [one for one in dict.fromkeys(included) if one and one not in waiting]


def _is_task(path: Path, folder: Path) -> bool:
    named = path.suffix in (".yaml", ".yml") and not NO_TASKS & set(path.relative_to(folder).parts)
    return named and not path.is_dir()


def _nodes(path: Path) -> Nodes | str:
    if not path.is_file():  # reading a link to a device may never end
        return "no regular file"
    try:
        tree = yaml.compose(_text(path), Loader)
    except (*UNREADABLE, yaml.YAMLError, OSError) as error:
        return " ".join(str(error).split())
    return _pairs(tree)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return data.decode()


def names_in(nodes: Nodes) -> set[str]:
    """The tasks and groups that a file defines."""
    return {node.value for key in ("task", "group") if isinstance(node := nodes.get(key), yaml.ScalarNode)}


def needs_hub(folder: Path) -> bool:
    """Whether a task below a folder reads a data set that is neither a file of a known kind nor in this repository."""
    found = (nodes.get("dataset_path") for _, nodes in read_tasks(folder) if isinstance(nodes, dict))
    paths = {node.value for node in found if isinstance(node, yaml.ScalarNode)}
    return any(path not in LOCAL_DATA and not os.path.exists(path) for path in paths)


def outside(path: Path, nodes: Nodes, folder: Path) -> Iterator[tuple[str, str]]:
    """What a file of a task folder names that is no input of a score, with the problem: includes, and code.

    A module that isn't beside the file is one of an installed package, or the job fails.
    """
    inputs, real = inputs_of(folder), folder.resolve()
    for text in _texts(nodes.get("include")):
        place = _place(path, text)
        if not _input(place, inputs) and (os.path.exists(place) or not Path(place).is_relative_to(real)):
            yield "a task includes a file from outside", text
    for node in _below(nodes.values()):
        if node.tag == FUNCTION and isinstance(node, yaml.ScalarNode):
            place = _place(path, f"{node.value.rpartition('.')[0].replace('.', '/')}.py")
            if os.path.exists(place) and not _input(place, inputs):
                yield "a task runs code from outside", node.value


def _place(path: Path, text: str) -> str:
    """Where the harness looks for what a file names: beside the file itself, not beside a link to it."""
    return os.path.normpath(path.resolve().parent / text)


def _input(place: str, inputs: dict[str, Path]) -> Path | None:
    return inputs.get(place) or inputs.get(os.path.realpath(place))


def undeclared_data(
    tasks: Iterable[str], files: dict[Path, Nodes], folder: Path, declared: Collection[str]
) -> Iterator[tuple[Path, str]]:
    """Local data of tasks, and of the tasks of groups and tags, that are no input of a score.

    Args:
        tasks: Names of tasks, groups and tags.
        files: The files that the harness reads as YAML.
        folder: The task folder.
        declared: Files that are inputs apart from the folder's.
    """
    inputs, real = inputs_of(folder), folder.resolve()
    for path in _asked(tasks, files):
        for text in dict.fromkeys(_data(_merged(path, files, inputs))):
            for one in glob.glob(text) if glob.has_magic(text) else [text]:
                relative, place = os.path.relpath(one), str(Path(one).parent.resolve() / Path(one).name)
                known = relative in declared or place in inputs or Path(one).resolve().is_relative_to(real)
                if not known and (os.path.exists(one) or relative.startswith("data/")):  # it may not be built yet
                    yield path, one
                    break


def _asked(tasks: Iterable[str], files: dict[Path, Nodes]) -> list[Path]:
    """The files that define tasks, and the members of groups and tags among them."""
    waiting, found = list(tasks), []
    for name in waiting:
        for path, nodes in files.items():
            if path not in found and name in names_in(nodes) | set(_texts(nodes.get("tag"))):
                found.append(path)
                if isinstance(members := nodes.get("task"), yaml.SequenceNode):
                    waiting += _scalars(members)
    return found


def _merged(path: Path, files: dict[Path, Nodes], inputs: dict[str, Path], seen: tuple[Path, ...] = ()) -> Nodes:
    """The nodes of a file over those of the files that it includes."""
    nodes, merged = files.get(path, {}), Nodes()
    for text in _texts(nodes.get("include")):
        one = _input(_place(path, text), inputs)
        if one and one not in (*seen, path):
            merged |= _merged(one, files, inputs, (*seen, path))
    return merged | nodes


def _data(nodes: Nodes) -> Iterator[str]:
    """What a task's dataset is read from, as written; nothing for a dataset of the hub, and no web address."""
    inner = (_pairs(node) for node in _below(nodes.values()) if isinstance(node, yaml.MappingNode))
    for block in (nodes, *inner):  # a group may give its members other data
        dataset = next(iter(_texts(block.get("dataset_path", nodes.get("dataset_path")))), "")
        if "/" in dataset and not os.path.exists(dataset):
            continue  # of the hub, and so are its files
        keywords = _pairs(block.get("dataset_kwargs"))
        texts = [text for key in ("data_files", "data_dir") for text in _scalars(keywords.get(key))]
        yield from (text for text in [dataset] * ("/" in dataset) + texts if "://" not in text)


def _pairs(node: yaml.Node | None) -> Nodes:
    """The values of a map by name."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _texts(node: yaml.Node | None) -> list[str]:
    """A text, or a list's texts."""
    found = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [one.value for one in found if isinstance(one, yaml.ScalarNode)]


def _scalars(node: yaml.Node | None) -> list[str]:
    """All texts in a node, at any depth, without names of maps."""
    return [one.value for one in _below([node] if node else []) if isinstance(one, yaml.ScalarNode)]


def _below(nodes: Iterable[yaml.Node]) -> Iterator[yaml.Node]:
    """Nodes and all nodes in them, each once: aliases may form circles."""
    waiting, seen = list(nodes), set[int]()
    for node in waiting:
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
