"""How a task of the harness is asked: its own settings over those of its evaluation, and named groups of tasks."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from pydantic import Field
from pydantic_core import PydanticCustomError

from bezoar.blocks import Block, Commit
from bezoar.problems import Problem

# By group, the solved examples of each task in it.
GROUPS: dict[str, dict[str, int]] = {
    "open_llm_leaderboard_v1": {
        "arc_challenge": 25,
        "hellaswag": 10,
        "mmlu": 5,
        "truthfulqa_mc2": 0,
        "winogrande": 5,
        "gsm8k": 5,
    },
    "open_llm_leaderboard_2023": {  # the same, as it was from September to December 2023
        "arc_challenge": 25,
        "hellaswag": 10,
        "mmlu": 5,
        "truthfulqa_mc2": 0,
        "winogrande": 5,
        "gsm8k": 5,
        "drop": 3,
    },
    "openllama": dict.fromkeys(  # the table of its authors, who state no number of examples
        "anli_r1 anli_r2 anli_r3 arc_challenge arc_easy boolq hellaswag openbookqa piqa record rte truthfulqa_mc1 "
        "truthfulqa_mc2 wic winogrande".split(),
        0,
    ),
}
# By data set of the hub, the tasks of these groups that read it: its commit concerns no other of them.
DATA: dict[str, tuple[str, ...]] = {
    "EleutherAI/drop": ("drop",),
    "Rowan/hellaswag": ("hellaswag",),
    "allenai/ai2_arc": ("arc_challenge", "arc_easy"),
    "allenai/openbookqa": ("openbookqa",),
    "allenai/winogrande": ("winogrande",),
    "aps/super_glue": ("boolq", "record", "wic"),
    "baber/piqa": ("piqa",),
    "cais/mmlu": ("mmlu",),
    "facebook/anli": ("anli_r1", "anli_r2", "anli_r3"),
    "nyu-mll/glue": ("rte",),
    "openai/gsm8k": ("gsm8k",),
    "truthfulqa/truthful_qa": ("truthfulqa_mc1", "truthfulqa_mc2"),
}
KNOWN = {task for tasks in DATA.values() for task in tasks}
IFEVAL = ("immutabledict", "langdetect", "nltk")
PACKAGES = {"ifeval": IFEVAL, "leaderboard_ifeval": IFEVAL}  # that tasks need beside the harness's own


class TaskSettings(Block):
    """How a task is asked."""

    num_fewshot: int | None = Field(
        None,
        ge=0,
        description="Solved examples in the prompt; null takes the number of the task's own file, 0 if it has none. A "
        "task whose file says 0 keeps it. Default: the evaluation's.",
    )
    chat_template: bool = Field(
        False, description="Ask through the checkpoint's chat template. Default: the evaluation's."
    )
    system: str | None = Field(
        None,
        description="System text of requests through a chat template; null takes `prompt.system`, an empty text none.",
    )
    limit: int | None = Field(
        None, ge=1, description="Documents to ask, from the first; null asks all. Default: the evaluation's."
    )
    revisions: dict[str, Commit] = Field(
        {},
        description="By data set of the hub that it reads, its commit. Default: those of the evaluation, but for data "
        "sets that only other tasks are known to read.",
    )

    @property
    def takes_prompt(self) -> bool:
        """Whether it sends the recipe's system text, `prompt.system`."""
        return self.chat_template and self.system is None


def completed(tasks: Any, defaults: Mapping[str, Any], *, own: bool) -> Any:
    """Tasks as a map of settings by name, of a list with names, and of blocks with a name and settings.

    Args:
        tasks: As written: a list or a map.
        defaults: Settings of tasks that don't say otherwise.
        own: Whether they are the project's own tasks: then no name is that of a group.
    """
    found: dict[str, Any] = {}
    for name, settings in _written(tasks):
        group: dict[str, int | None] = {} if own else {**GROUPS.get(name, {})}
        for task, shots in (group or {name: None}).items():
            if task in found:
                raise PydanticCustomError("task", "each task once, also among those of groups")
            of_group = {} if shots is None else {"num_fewshot": shots}
            of_task = {**defaults, "revisions": _revisions(task, defaults.get("revisions", {}), own=own)}
            found[task] = {**of_task, **of_group, **settings} if isinstance(settings, dict) else settings
    return found


def _revisions(task: str, commits: Mapping[str, str], *, own: bool) -> dict[str, str]:
    """The commits that may concern a task; all of them if nothing is known of what it reads."""
    known = KNOWN if not own else ()
    return {name: commit for name, commit in commits.items() if task not in known or task in DATA.get(name, [task])}


def _written(tasks: Any) -> Iterator[tuple[Any, Any]]:
    """Names of tasks with their settings as written."""
    if isinstance(tasks, dict):
        yield from ((name, {} if settings is None else settings) for name, settings in tasks.items())
        return
    for one in tasks if isinstance(tasks, list) else [tasks]:
        if isinstance(one, str) and isinstance(tasks, list):
            yield one, {}
        elif isinstance(one, dict) and isinstance(one.get("name"), str):
            yield one["name"], {key: value for key, value in one.items() if key != "name"}
        else:
            raise PydanticCustomError("task", "a list of tasks: a name each, or a block with `name` and settings")


def names_of(tasks: Any, *, own: bool) -> list[str]:
    """The names of the tasks of an unchecked block; none of a block that doesn't fit."""
    try:
        return [str(name) for name in completed(tasks, {}, own=own)]
    except PydanticCustomError:
        return []


def problems(tasks: Mapping[str, TaskSettings], *, own: bool) -> Iterator[Problem]:
    """Settings that have no effect, and packages that aren't installed."""
    for name, settings in tasks.items():
        if settings.system is not None and not settings.chat_template:
            what, expected = "a system text is sent through a chat template only", "chat_template: true, or no system"
            yield Problem(("tasks", name, "system"), what, repr(settings.system), expected)
        lacking = [one for one in PACKAGES.get(name, ()) if find_spec(one) is None] if not own else []
        if lacking:
            found, hint = f"no {', no '.join(lacking)}", "pip install 'bezoar[ifeval]'"
            yield Problem(("tasks", name), "packages of this task aren't installed", found, "all of them", hint)
