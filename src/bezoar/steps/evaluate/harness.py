"""One task of EleutherAI's lm-evaluation-harness on one checkpoint; the artifact is the harness's own result."""

import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from bezoar.blocks import Block, Commit, Dtype, FolderPath, Name, NamedBlock, SourceName
from bezoar.files import artifact, rounded
from bezoar.logs import logger
from bezoar.problems import Problem, unknown
from bezoar.steps.evaluate import task_data, task_settings
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.evaluation import Scores, ServedEval
from bezoar.steps.evaluate.samples import item_scores, write_samples
from bezoar.steps.evaluate.task import DATA, Task, read_task
from bezoar.steps.evaluate.task_settings import TaskSettings
from bezoar.steps.evaluate.tasks import names_in, needs_hub, outside, read_tasks, undeclared_data

ADDRESS = re.compile(r"(<function [^<>]*) at 0x[0-9a-f]+>")  # a function whose source the harness can't read
SAMPLES = "samples"  # of the harness's result
RUN_FACTS = ("date", "git_hash", "pretty_env_info", "upper_git_hash", "total_evaluation_time_seconds")


class Expected(Block):
    """Published scores, which a report compares those of this evaluation with."""

    source: str = Field(min_length=1, description="Where they were published.")
    decimals: int = Field(ge=1, le=6, description="Decimals that they were rounded to.")
    scores: dict[Name, dict[Name, dict[str, float]]] = Field(
        description="By checkpoint, task and metric, as the report names them."
    )


class Harness(ServedEval, ComparedEval):
    """lm-evaluation-harness."""

    served_rule: ClassVar[str] = "harness"

    method: Literal["harness"]
    task_folder: FolderPath | None = Field(
        None, description="Folder of your own task files; null for the harness's tasks."
    )
    num_fewshot: int | None = Field(
        None,
        ge=0,
        description="Solved examples in the prompt, of tasks that don't say otherwise; null takes the number of each "
        "task's own file, 0 if it has none.",
    )
    chat_template: bool = Field(
        False,
        description="Ask through the checkpoint's chat template, under `prompt.system`; false sends the tasks' text as "
        "it is. A task may say otherwise.",
    )
    limit: int | None = Field(
        None, ge=1, description="Documents of each task, from the first; null asks all. A task may say otherwise."
    )
    revisions: dict[str, Commit] = Field(
        {}, description="By data set of the hub that the tasks read, its commit; `bezoar recipe pin` writes them."
    )
    tasks: dict[Name, TaskSettings] = Field(
        min_length=1,
        description="Tasks, or groups of them: a list of names and of blocks with a `name` and settings of its own, "
        "or a map of settings by name.",
    )
    data: list[SourceName] = Field([], description="Sources that these task files read.")
    texts: dict[Name, list[str]] = Field(
        {},
        description="By task, the fields of its documents that training rows are compared with, such as `question` or "
        "`choices.text`; a task that isn't named has all its texts of two words or more compared.",
    )
    max_length: int = Field(2048, ge=16, description="Most tokens of prompt and response.")
    expected: Expected | None = Field(
        None, description="Published scores; result and log say which of ours differ by more than two standard errors."
    )

    @field_validator("tasks", mode="before")
    @classmethod
    def _complete(cls, tasks: Any, info: ValidationInfo) -> Any:
        defaults = {name: one for name, one in info.data.items() if name in TaskSettings.model_fields}
        return task_settings.completed(tasks, defaults, own=info.data.get("task_folder") is not None)

    def stage_names(self) -> list[str]:
        """A stage for each checkpoint, and the report."""
        return [
            f"report_harness-{self.name}",
            f"harness_tasks-{self.name}",
            f"harness_targets-{self.name}",
            *(f"harness-{self.name}-{one}" for one in self.checkpoints),
        ]

    def downloads(self) -> bool:
        """Whether its tasks have data of the hub: the harness's own have, a task folder may."""
        return self.task_folder is None or needs_hub(Path(self.task_folder))

    def targets(self) -> dict[str, str]:
        """The texts of each task's documents."""
        return {task: ", ".join(self.texts.get(task, ["all texts"])) for task in self.tasks}

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """Every metric of every task with its standard error."""
        rows = tuple(
            (task, metric, *(None if one is None else f"{one:.3f}" for one in pair), one["questions"])
            for task, one in sorted(report["checkpoints"][checkpoint].items())
            for metric, value in sorted(one["metrics"].items())
            for pair in [(value["score"], value["standard_error"])]
        )
        shots = {task: one["num_fewshot"] for task, one in report["tasks"].items()}
        counts = sorted(set(shots.values()), key=lambda count: math.inf if count is None else count)
        told = [f"{'mixed' if count is None else count}-shot{_of_tasks(shots, count)}" for count in counts]
        text = f"lm-evaluation-harness, {', '.join(told)}; ± is one standard error."
        return Scores(text, ("task", "metric", "score", "±", "questions"), rows)

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Tasks that the task folder doesn't define (a group counts as a task), and files that are no inputs."""
        yield from super().problems(recipe)
        yield from task_settings.problems(self.tasks, own=self.task_folder is not None)
        for task, fields in self.texts.items():
            if task not in self.tasks:
                yield unknown(("texts", task), "no such task in `tasks`", task, self.tasks)
            elif not fields:
                yield Problem(("texts", task), "a task without texts", "no field", "one field or more")
        yield from self._expected_problems()
        if self.task_folder is None or Path(self.task_folder).is_dir():
            yield from self._folder_problems(Path(self.task_folder)) if self.task_folder else ()
            if self.downloads() and not any(task.revisions for task in self.tasks.values()):
                what, expected = "the tasks read data sets of the hub, which can change", "their commits"
                yield Problem(("revisions",), what, "nothing", expected, "`bezoar recipe pin` finds them out")

    def _expected_problems(self) -> Iterator[Problem]:
        for checkpoint, tasks in self.expected.scores.items() if self.expected else ():
            key = ("expected", "scores", checkpoint)
            if checkpoint not in self.checkpoints:
                yield unknown(key, "a checkpoint that isn't evaluated here", checkpoint, self.checkpoints)
            for task in tasks:
                if task not in self.tasks:
                    yield unknown((*key, task), "no such task in `tasks`", task, self.tasks)

    def _folder_problems(self, folder: Path) -> Iterator[Problem]:
        """Problems of the files in a task folder."""
        files = list(read_tasks(folder))
        yield from _file_problems(folder, files)
        yield from self._data_problems(folder, files)
        tasks = [nodes for path, nodes in files if isinstance(nodes, dict) and path.suffix == ".yaml"]
        defined = {task for nodes in tasks for task in names_in(nodes)}
        for task in self.tasks:
            if task not in defined:
                yield unknown(("tasks", task), "no such task in task_folder", task, defined)

    def _data_problems(self, folder: Path, files: list[tuple[Path, Any]]) -> Iterator[Problem]:
        """Data that the tasks read and that are no inputs of their jobs, so that a change would rerun nothing."""
        nodes = {path: one for path, one in files if isinstance(one, dict)}
        declared = {f"data/source/{name}/rows.jsonl" for name in self.data}
        for path, text in undeclared_data(self.tasks, nodes, folder, declared):
            what, found = "a task reads undeclared data", f"{text}, in {path.relative_to(folder)}"
            expected = "a file below task_folder, or data/source/<name>/rows.jsonl of a source in `data`"
            yield Problem(("data",), what, found, expected)


def _of_tasks(shots: dict[str, int | None], count: int | None) -> str:
    """The tasks with a number of examples, if others have another one."""
    names = [task for task, shown in shots.items() if shown == count]
    return "" if len(names) == len(shots) else f" ({', '.join(names)})"


def _file_problems(folder: Path, files: list[tuple[Path, Any]]) -> Iterator[Problem]:
    for path, nodes in files:
        shown = path.relative_to(folder)
        if isinstance(nodes, str):
            found = f"{nodes}, in {shown}"
            yield Problem(("task_folder",), "a task file is not YAML", found, "a task of the harness")
            continue
        for what, text in outside(path, nodes, folder):
            yield Problem(("task_folder",), what, f"{text}, in {shown}", "files below task_folder only")


class Asking(NamedBlock):
    """The keys of an evaluation that a task's score depends on, also if a server has loaded the checkpoint."""

    section: ClassVar[str] = "evals"

    max_length: int
    task_folder: str | None


class Scoring(Asking):
    """The keys of an evaluation that a task's score depends on if its job loads the checkpoint."""

    batch_size: int
    dtype: Dtype


def checkpoint_of(folder: Path, **settings: Any) -> Any:
    """A checkpoint for the harness: every end token ends a response; its other generation settings don't count.

    Args:
        folder: The model directory.
        settings: Of the harness's own class.
    """
    import torch
    from lm_eval.models.huggingface import HFLM

    from bezoar.steps import models

    class Checkpoint(HFLM):
        def _model_generate(
            self, context: torch.Tensor, max_length: int, stop: list[str], **settings: Any
        ) -> torch.Tensor:
            """Token ids (batch, context and response), with end tokens as padding, which is left out of the text."""
            ids = super()._model_generate(context, max_length, stop, **settings)
            ends = torch.tensor(models.end_tokens(self.model, self.tokenizer), device=ids.device)
            written = ids[:, context.shape[1] :]
            written.masked_fill_(torch.isin(written, ends), self.tokenizer.pad_token_id)
            return ids

    made = Checkpoint(pretrained=str(folder), device=str(models.device()), **settings)
    models.ignore_generation_config(made.model, made.tokenizer)
    return made


def loaded(checkpoint: Path, batch_size: int, max_length: int, dtype: Dtype) -> Any:
    """A checkpoint as an evaluation wants it."""
    return checkpoint_of(checkpoint, batch_size=batch_size, max_length=max_length, dtype=dtype)


def through_template(model: Any, *, chat_template: bool) -> None:
    """Let a model's texts come from its chat template, which writes the start token itself, or not."""
    from bezoar.steps import chat

    if chat_template:
        chat.check_template(model.tokenizer)
    model.add_bos_token = False if chat_template else None


def evaluated(model: Any, name: str, task: Task, task_folder: str | None, seed: int) -> dict[str, Any]:
    """The harness's result for a task, without values that differ between equal runs (times, machine), and its samples.

    Args:
        model: The checkpoint, as one of the harness's models.
        name: The task's name.
        task: How it is asked.
        task_folder: Folder with the project's own tasks.
        seed: Of all draws.
    """
    from lm_eval import evaluator

    evaluator.get_git_commit_hash = lambda: None  # a fact of the run; git would say here that a job sees no repository
    through_template(model, chat_template=task.chat_template)
    result = evaluator.simple_evaluate(
        model=model,
        tasks=[name],
        apply_chat_template=task.chat_template,
        system_instruction=task.system,
        num_fewshot=task.num_fewshot,
        limit=task.limit,
        task_manager=task_data.manager_of(task_folder),
        log_samples=True,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {name: value for name, value in result.items() if name not in RUN_FACTS}


def write_result(model: Any, block: Asking, task_folder: Path, seed: int, out_folder: Path) -> None:
    """Run a task on a model; the output folder is named by the task, its parent by the checkpoint.

    Args:
        model: The checkpoint, as one of the harness's models.
        block: The evaluation.
        task_folder: Folder with the task's settings and data.
        seed: Of all draws.
        out_folder: Folder to write to.
    """
    import datasets

    name = out_folder.name
    _forget_task_code()
    with tempfile.TemporaryDirectory() as cache, task_data.offline(task_folder / DATA):
        if block.task_folder:  # the shared cache would not notice a changed local file of equal size and time
            datasets.config.HF_DATASETS_CACHE = cache
        result = evaluated(model, name, read_task(task_folder), block.task_folder, seed)
    samples = result.pop(SAMPLES, {})
    with artifact(out_folder) as out:
        lines = (json.dumps(rounded(item)) + "\n" for item in item_scores(samples))
        (out / "items.jsonl").write_text("".join(lines), encoding="utf-8")
        write_samples(samples, out / "samples.parquet")
        text = json.dumps(rounded(result), indent=2, sort_keys=True, default=_plain)
        (out / "result.json").write_text(ADDRESS.sub(r"\1>", text) + "\n", encoding="utf-8")
    found = {key.partition(",")[0]: value for key, value in result["results"][name].items()}
    shown = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, float))
    logger.info(f"harness {out_folder.parent.name}, {name}: {shown or 'no number'}")


def _forget_task_code() -> None:
    """Let the harness load the code of tasks anew: its state, such as a generator of numbers, isn't the next task's."""
    for name, module in list(sys.modules.items()):
        if "__mtime__" in getattr(module, "__dict__", {}):  # the harness's mark
            del sys.modules[name]


def _plain(value: Any) -> Any:
    """A numpy number as Python's; anything else by its name."""
    return value.item() if hasattr(value, "item") else str(value)
