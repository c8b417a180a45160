"""Own tasks of lm-evaluation-harness: which files a score depends on."""

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

NO_TASKS = {"__pycache__", ".ipynb_checkpoints"}  # the harness passes these folders over, too


def task_files(folder: Path | str) -> list[str]:
    """All files below a task folder, sorted: tasks at any depth, what they include, the code behind `!function`."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(str(path) for path in files if not NO_TASKS & set(path.relative_to(folder).parts))


def includes_outside(folder: Path) -> Iterator[tuple[Path, str]]:
    """Tasks that include a file from outside their folder, which no score would be known to depend on.

    Raises:
        yaml.YAMLError: A task file isn't YAML.
    """
    inside = folder.resolve()
    for path in map(Path, task_files(folder)):
        if path.suffix not in (".yaml", ".yml"):
            continue
        for include in _includes(path):
            if not Path(os.path.normpath(inside / path.parent.resolve() / include)).is_relative_to(inside):
                yield path, include


def _includes(path: Path) -> list[str]:
    """What a task file includes; its nodes are read and not made, since `!function` would import code."""
    tree = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    pairs = tree.value if isinstance(tree, yaml.MappingNode) else []
    named = [value for key, value in pairs if key.value == "include"]
    return [one.value for node in named for one in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
