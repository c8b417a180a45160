"""What an evaluation asks, as items that training rows are compared with."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.logs import logger
from bezoar.steps.data.contamination.items import Item
from bezoar.steps.data.contamination.words import plain, words
from bezoar.steps.data.rows import QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate.evaluation import QUESTIONS
from bezoar.steps.evaluate.task import DATA, read_task
from bezoar.steps.evaluate.task_data import manager_of, offline


def write_question_targets(questions: Path, out: Path) -> None:
    """Write all turns of a set of questions; the folder of `out` is named by the evaluation."""
    rows = read_rows(questions, QuestionRow)
    items = [
        Item(eval=out.parent.name, task=QUESTIONS, id=str(row.question_id), texts={"turns": row.turns}) for row in rows
    ]
    _write(items, QUESTIONS, out)


def write_harness_targets(fields: list[str] | None, task: Path, task_folder: str | None, out: Path) -> None:
    """Write the texts of a task's documents, as lm-evaluation-harness reads them for its scores.

    Args:
        fields: Fields with texts, as `choices.text`; None takes all texts.
        task: Folder of a task, or of a group of tasks. If it has solved examples, the documents that they are drawn
            from count.
        task_folder: Folder with the project's own tasks.
        out: File to write to, named by the task; its folder is named by the evaluation.

    Raises:
        InputError: A document has no such field, or no document of the task has a text.
    """
    import datasets

    name, shots = out.stem, read_task(task).num_fewshot
    with tempfile.TemporaryDirectory() as cache, offline(task / DATA):
        if task_folder:  # as for scores: the shared cache would not notice a changed file
            datasets.config.HF_DATASETS_CACHE = cache
        items = [
            item
            for inner, one in _tasks(name, task_folder, shots).items()
            for item in _items(out.parent.name, inner, one, fields)
        ]
        _write(items, name, out)


def _tasks(task: str, task_folder: str | None, num_fewshot: int | None) -> dict[str, Any]:
    """The tasks of a group, or the task, by name, each with the number of examples that the harness would give it."""
    found = manager_of(task_folder).load([task])["tasks"]
    for one in found.values():
        if num_fewshot is not None and one.get_config("num_fewshot") != 0:  # a task that says 0 keeps it
            one.set_config(key="num_fewshot", value=num_fewshot)
    return dict(found)


def _items(name: str, task: str, loaded: Any, fields: list[str] | None) -> Iterator[Item]:
    for number, document in enumerate(loaded.eval_docs):
        texts = _texts(document, fields, f"{task}, document {number}")
        yield Item(eval=name, task=task, id=str(number), texts=texts)
    examples = loaded.fewshot_docs() if loaded.get_config("num_fewshot") else []
    for number, document in enumerate(examples):
        texts = _texts(document, fields, f"{task}, solved example {number}")
        yield Item(eval=name, task=task, id=f"fewshot-{number}", fewshot=True, texts=texts)


def _texts(document: Any, fields: list[str] | None, where: str) -> dict[str, list[str]]:
    """The texts of a document by field: those of named fields, or all of two words or more."""
    if fields is None:
        found = {field: [text for text in texts if _is_prose(text)] for field, texts in _all(document, "").items()}
    else:
        found = {field: _named(document, field, where) for field in fields}
    return {field: texts for field, texts in found.items() if texts}


def _is_prose(text: str) -> bool:
    return len(words(plain(text))) > 1


def _all(value: Any, field: str) -> dict[str, list[str]]:
    """The texts in a value at any depth, by field."""
    if isinstance(value, str):
        return {field: [value]}
    found: dict[str, list[str]] = {}
    pairs: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        pairs = ((f"{field}.{name}" if field else str(name), one) for name, one in value.items())
    elif isinstance(value, list | tuple):
        pairs = ((field, one) for one in value)
    for name, one in pairs:
        for key, texts in _all(one, name).items():
            found.setdefault(key, []).extend(texts)
    return found


def _named(document: Any, field: str, where: str) -> list[str]:
    """The texts of a field; a part of its name behind a point is a field of the field, or of each value of a list."""
    values = [document]
    for part in field.split("."):
        values = [one for value in values for one in (value if isinstance(value, list) else [value])]
        if not all(isinstance(value, dict) and part in value for value in values):
            names = sorted({str(name) for value in values if isinstance(value, dict) for name in value})
            raise InputError(
                problem(
                    f"{where}: no field {field!r}",
                    found=", ".join(names) or "no field",
                    expected="a field of the task's documents in `texts` of the evaluation",
                )
            )
        values = [value[part] for value in values]
    found = [one for value in values for one in (value if isinstance(value, list) else [value]) if one is not None]
    if wrong := [one for one in found if not isinstance(one, str)]:
        raise InputError(problem(f"{where}: {field!r} isn't text", found=f"{wrong[0]!r:.100}", expected="text"))
    return [one for one in found if one.strip()]


def _write(items: list[Item], task: str, out: Path) -> None:
    """Write items.

    Raises:
        InputError: None has a text.
    """
    bare = [item.id for item in items if not item.texts]
    if len(bare) == len(items):
        raise InputError(
            problem(
                f"{out.parent.name}: {task} has no text to compare training rows with",
                found=f"{len(items):,} items, none with a text" if items else "no item",
                expected="a text in each item",
                hint="name the fields with texts under `texts` of the evaluation",
            )
        )
    write_rows(out, items)
    level = logging.WARNING if bare else logging.INFO
    without = f"; {len(bare):,} have no text, such as {bare[0]}" if bare else ""
    logger.log(level, f"targets {out.parent.name}: {task}: {len(items):,} items{without}")
