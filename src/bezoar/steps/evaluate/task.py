"""The artifact of a harness task, data/tasks/<eval>/<task>: how it is asked, and its data from the hub.

Scores and targets read it as an input. So a change of one task's settings or data concerns that task alone.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bezoar.blocks import Block, NamedBlock, Prompt
from bezoar.files import artifact, write_json
from bezoar.steps.evaluate import task_data
from bezoar.steps.evaluate.task_settings import TaskSettings
from bezoar.steps.evaluate.tasks import needs_hub

SETTINGS, DATA = "settings.json", "data.zip"  # its files


class Tasks(NamedBlock):
    """The keys of an evaluation that a task's settings and data depend on: of `tasks` only its own."""

    section: ClassVar[str] = "evals"

    tasks: dict[str, TaskSettings]
    task_folder: str | None


class Targets(NamedBlock):
    """The keys of an evaluation that a task's documents depend on: of `texts` only its own, if there are any."""

    section: ClassVar[str] = "evals"

    texts: dict[str, list[str]] = Field({})
    task_folder: str | None


class Task(Block):
    """A task as it is asked, in data/tasks/<eval>/<task>/settings.json.

    Attributes:
        num_fewshot: Solved examples in the prompt; None takes the number of the task's own file.
        versions: Versions of the harness's own task, and of the tasks in it if it is a group.
        data: Data sets of the hub that it reads, with their commits.
    """

    num_fewshot: int | None
    chat_template: bool
    system: str | None
    limit: int | None
    versions: dict[str, int | float | str]
    data: list[dict[str, str | None]]


def read_task(folder: Path) -> Task:
    """A task's settings."""
    return Task.model_validate_json((folder / SETTINGS).read_text(encoding="utf-8"))


def write_task(block: Tasks, prompt: Prompt | None, out_folder: Path) -> None:
    """Write how a task is asked, and the data of the hub that it reads.

    Args:
        block: The evaluation.
        prompt: What students are told; None if the task sends no such text.
        out_folder: Folder to write to, named by the task.
    """
    name, settings = out_folder.name, block.tasks[out_folder.name]
    system = prompt.system if prompt and settings.takes_prompt else settings.system or None
    asked = settings.model_dump(exclude={"revisions"}) | {"system": system if settings.chat_template else None}
    with artifact(out_folder) as out:
        if block.task_folder is None or needs_hub(Path(block.task_folder)):
            found = task_data.fetch(name, block.task_folder, settings.revisions, out / DATA)
        else:
            found = {"versions": {}, "data": []}
            task_data.pack({}, out / DATA)
        write_json(out / SETTINGS, asked | found)
