"""The data of harness tasks: fetched once at pinned commits of the hub, and read from there without a network."""

import difflib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.files import whole
from bezoar.logs import logger
from bezoar.steps.evaluate.tasks import LOCAL_DATA

MANIFEST = "manifest.json"
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of time in a zip file
NLTK = "NLTK_DATA"  # where nltk looks first, and downloads to if there is such a folder


def manager_of(task_folder: str | None) -> Any:
    """The harness's index of tasks: those of a folder, or its own."""
    if task_folder is None:
        return _index_of_all()
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=task_folder, include_defaults=False)


@cache
def _index_of_all() -> Any:
    """The index of the harness's own tasks: made once for a process, since it reads 14,000 files."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def data_sets(tasks: Iterable[str], task_folder: str | None) -> list[str]:
    """The data sets of the hub that tasks read, sorted, as their files say; nothing is loaded."""
    index, waiting, seen = manager_of(task_folder).task_index, list(tasks), set[str]()
    found = set[str]()
    for name in waiting:
        entry = index.get(name)
        if entry is None or name in seen:
            continue
        seen.add(name)
        waiting += sorted(entry.tags) if entry.cfg is None else []
        for config in _configs(entry.cfg):
            waiting += [one for one in (config.get("task"), config.get("group")) if isinstance(one, str)]
            path = config.get("dataset_path")
            if isinstance(path, str) and _is_of_hub(path) and "revision" not in (config.get("dataset_kwargs") or {}):
                found.add(path)
    return sorted(found)


def _configs(config: Any) -> Iterator[dict[str, Any]]:
    """A task's or a group's settings, and those of the members in it at any depth."""
    if isinstance(config, str):
        yield {"task": config}
    if isinstance(config, dict):
        yield config
        members = config.get("task")
        for one in members if isinstance(members, list) else []:
            yield from _configs(one)


def _is_of_hub(path: str) -> bool:
    return path not in LOCAL_DATA and not os.path.exists(path)


def fetch(task: str, task_folder: str | None, revisions: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Load a task as the harness does, and keep all data that it loads over a network.

    Args:
        task: A task, or a group of tasks.
        task_folder: Folder with the project's own tasks.
        revisions: By data set of the hub, its commit.
        out: Zip file to write.

    Returns the versions of the task and those in it, and the data sets with their commits.

    Raises:
        InputError: A data set has no commit, or can't be downloaded.
    """
    import datasets

    original, kept = datasets.load_dataset, dict[str, Any]()

    def load(path: str, name: str | None = None, **settings: Any) -> Any:
        if _is_local(path, settings):
            return original(path, name, **settings)
        key = _key(path, name, settings)
        if key not in kept:
            kept[key] = _downloaded(original, path, name, {**_pin(path, settings, revisions), **settings})
        return kept[key]

    with tempfile.TemporaryDirectory() as folder, _replaced(load):
        nltk = Path(folder, "nltk")
        nltk.mkdir()
        os.environ[NLTK] = str(nltk)  # a task's code may download words at its import
        loaded = _known(task, task_folder).load([task])["tasks"]
        entries = _write(kept, revisions, Path(folder), out)
    told = ", ".join(f"{one['path']} {one['name'] or ''}".strip() for one in entries)
    logger.info(f"data of {task}: {told or 'local'}")
    versions = {name: one.VERSION for name, one in sorted(loaded.items())}
    named = [{name: one[name] for name in ("path", "name", "revision")} for one in entries]
    return {"versions": versions, "data": named}


def _known(task: str, task_folder: str | None) -> Any:
    """The harness's index of tasks, which has this task.

    Raises:
        InputError: It hasn't.
    """
    manager = manager_of(task_folder)
    if task not in manager.task_index:
        near = difflib.get_close_matches(task, manager.all_tasks, n=1)
        raise InputError(
            problem(
                "the harness has no such task",
                found=task,
                expected=f"one of its {len(manager.all_tasks):,} tasks, groups and tags",
                hint=f"did you mean `{near[0]}`?" if near else "`lm_eval ls tasks` lists them",
            )
        )
    return manager


def _is_local(path: str, settings: Mapping[str, Any]) -> bool:
    texts = [settings.get(name) for name in ("data_files", "data_dir")]
    return not _is_of_hub(path) and not any("://" in json.dumps(text, default=str) for text in texts)


def _pin(path: str, settings: Mapping[str, Any], revisions: Mapping[str, str]) -> dict[str, str]:
    if "revision" in settings or not _is_of_hub(path):
        return {}
    if path not in revisions:
        raise InputError(
            problem(
                f"the data set {path} has no commit",
                found=", ".join(revisions) or "none",
                expected="a commit for each data set, in `revisions` of the evaluation",
                hint="`bezoar recipe pin` finds it out and writes it",
            )
        )
    return {"revision": revisions[path]}


def _downloaded(original: Callable[..., Any], path: str, name: str | None, settings: dict[str, Any]) -> Any:
    try:
        return original(path, name, **settings)
    except (OSError, ValueError) as error:  # of datasets and huggingface_hub
        raise InputError(
            problem(
                f"the data set {path} can't be loaded",
                found=str(error).strip().partition("\n")[0] or type(error).__name__,
                expected=f"{name or 'its default configuration'} at {settings.get('revision', 'its address')}",
                hint="is there a network? a private or gated data set needs HF_TOKEN",
            )
        ) from error


def _key(path: str, name: str | None, settings: Mapping[str, Any]) -> str:
    return json.dumps([path, name, settings], sort_keys=True, default=str)


@contextmanager
def _replaced(load: Callable[..., Any]) -> Iterator[None]:
    """The harness loads its data by another function."""
    import datasets

    before, datasets.load_dataset = datasets.load_dataset, load
    words = os.environ.get(NLTK)
    try:
        yield
    finally:
        datasets.load_dataset = before
        os.environ.pop(NLTK, None)
        if words is not None:
            os.environ[NLTK] = words


def _write(kept: Mapping[str, Any], revisions: Mapping[str, str], folder: Path, out: Path) -> list[dict[str, Any]]:
    """Write data sets as Parquet, one file a split, and what a task's code has downloaded, into a zip file."""
    import datasets

    entries, files = [], dict[str, Path]()
    for number, (key, data) in enumerate(sorted(kept.items())):
        path, name, settings = json.loads(key)
        splits = data if isinstance(data, datasets.DatasetDict) else {"": data}
        places = {split: f"{number}/{split or 'rows'}.parquet" for split in splits}
        for split, rows in splits.items():
            files[places[split]] = folder / places[split]
            files[places[split]].parent.mkdir(exist_ok=True)
            rows.to_parquet(files[places[split]])
        revision = settings.get("revision") or revisions.get(path)
        entries.append({"key": key, "path": path, "name": name, "revision": revision, "splits": places})
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1))
    words = {path.relative_to(folder).as_posix(): path for path in (folder / "nltk").rglob("*") if path.is_file()}
    pack({MANIFEST: folder / MANIFEST, **files, **words}, out)
    return entries


def pack(files: Mapping[str, Path], out: Path) -> None:
    """Write files as a zip file: equal ones for equal files."""
    with whole(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, path in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, BEGINNING), path.read_bytes())


@contextmanager
def offline(archive: Path) -> Iterator[None]:
    """The harness reads the data that `fetch` has kept, and local files; it connects to nobody."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        manifest = Path(folder, MANIFEST)
        entries = {one["key"]: one for one in json.loads(manifest.read_text())} if manifest.exists() else {}
        with _replaced(_from(Path(folder), entries)):
            os.environ[NLTK] = f"{folder}/nltk"
            yield


def _from(folder: Path, entries: Mapping[str, dict[str, Any]]) -> Callable[..., Any]:
    import datasets

    original = datasets.load_dataset

    def load(path: str, name: str | None = None, **settings: Any) -> Any:
        if _is_local(path, settings):
            return original(path, name, **settings)
        found = entries.get(_key(path, name, settings))
        if found is None:
            known = ", ".join(f"{one['path']} {one['name'] or ''}".strip() for one in entries.values())
            raise InputError(
                problem(
                    "a task reads a data set that wasn't fetched for it",
                    found=f"{path} {name or ''}".strip(),
                    expected=known or "no data of the hub",
                    hint="the code of this task reads other data each time, or the evaluation names no such data",
                )
            )
        splits = {split: _rows(folder / place) for split, place in found["splits"].items()}
        return splits[""] if "" in splits else datasets.DatasetDict(splits)

    return load


def _rows(path: Path) -> Any:
    import pyarrow.parquet
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(pyarrow.parquet.read_table(path)))
