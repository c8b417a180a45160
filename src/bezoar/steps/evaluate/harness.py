"""One task of EleutherAI's lm-evaluation-harness on one checkpoint; the artifact is the harness's own result."""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Dtype, FolderPath, Name, NamedBlock, Prompt, SourceName
from bezoar.files import artifact, rounded
from bezoar.logs import logger
from bezoar.problems import Problem, unknown
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.evaluation import Scores, ServedEval
from bezoar.steps.evaluate.tasks import names_in, needs_hub, outside, read_tasks, undeclared_data

ADDRESS = re.compile(r"(<function [^<>]*) at 0x[0-9a-f]+>")  # a function whose source the harness can't read
SAMPLES = "samples"
RUN_FACTS = ("date", "git_hash", "pretty_env_info", "upper_git_hash", "total_evaluation_time_seconds")


class Harness(ServedEval, ComparedEval):
    """lm-evaluation-harness."""

    served_rule: ClassVar[str] = "harness"

    method: Literal["harness"]
    tasks: list[Name] = Field(min_length=1)
    task_folder: FolderPath | None = Field(
        None, description="Folder of your own task files; null for the harness's tasks."
    )
    data: list[SourceName] = Field([], description="Sources that these task files read.")
    texts: dict[Name, list[str]] = Field(
        {},
        description="By task, the fields of its documents that training rows are compared with, such as `question` or "
        "`choices.text`; a task that isn't named has all its texts of two words or more compared.",
    )
    num_fewshot: int = Field(0, ge=0, description="Solved examples in the prompt.")
    max_length: int = Field(2048, ge=16, description="Most tokens of prompt and response.")
    chat_template: bool = Field(
        False,
        description="Ask through the checkpoint's chat template, under `prompt.system`; false sends the tasks' text as "
        "it is.",
    )

    def stage_names(self) -> list[str]:
        """A stage for each checkpoint, and the report."""
        return [
            f"report_harness-{self.name}",
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
            (task, metric, f"{value['score']:.3f}", None if error is None else f"{error:.3f}", one["questions"])
            for task, one in sorted(report["checkpoints"][checkpoint].items())
            for metric, value in sorted(one["metrics"].items())
            for error in [value["standard_error"]]
        )
        text = f"lm-evaluation-harness, {report['num_fewshot']}-shot; ± is one standard error."
        return Scores(text, ("task", "metric", "score", "±", "questions"), rows)

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Tasks that the task folder doesn't define (a group counts as a task), and files that are no inputs."""
        yield from super().problems(recipe)
        for task, fields in self.texts.items():
            if task not in self.tasks:
                yield unknown(("texts", task), "no such task in `tasks`", task, self.tasks)
            elif not fields:
                yield Problem(("texts", task), "a task without texts", "no field", "one field or more")
        if self.task_folder and Path(self.task_folder).is_dir():
            files = list(read_tasks(Path(self.task_folder)))
            yield from _file_problems(Path(self.task_folder), files)
            yield from self._data_problems(Path(self.task_folder), files)
            tasks = [nodes for path, nodes in files if isinstance(nodes, dict) and path.suffix == ".yaml"]
            defined = {task for nodes in tasks for task in names_in(nodes)}
            for position, task in enumerate(self.tasks):
                if task not in defined:
                    yield unknown(("tasks", position), "no such task in task_folder", task, defined)

    def _data_problems(self, folder: Path, files: list[tuple[Path, Any]]) -> Iterator[Problem]:
        """Data that the tasks read and that are no inputs of their jobs, so that a change would rerun nothing."""
        nodes = {path: one for path, one in files if isinstance(one, dict)}
        declared = {f"data/source/{name}/rows.jsonl" for name in self.data}
        for path, text in undeclared_data(self.tasks, nodes, folder, declared):
            what, found = "a task reads undeclared data", f"{text}, in {path.relative_to(folder)}"
            expected = "a file below task_folder, or data/source/<name>/rows.jsonl of a source in `data`"
            yield Problem(("data",), what, found, expected)


def _file_problems(folder: Path, files: list[tuple[Path, Any]]) -> Iterator[Problem]:
    for path, nodes in files:
        shown = path.relative_to(folder)
        if isinstance(nodes, str):
            found = f"{nodes}, in {shown}"
            yield Problem(("task_folder",), "a task file is not YAML", found, "a task of the harness")
            continue
        for what, text in outside(path, nodes, folder):
            yield Problem(("task_folder",), what, f"{text}, in {shown}", "files below task_folder only")


class Targets(NamedBlock):
    """The keys of an evaluation that its tasks' documents depend on."""

    section: ClassVar[str] = "evals"

    texts: dict[str, list[str]]
    num_fewshot: int
    task_folder: str | None


class Asking(NamedBlock):
    """The keys of an evaluation that a task's score depends on, also if a server has loaded the checkpoint."""

    section: ClassVar[str] = "evals"

    num_fewshot: int
    max_length: int
    chat_template: bool
    task_folder: str | None


class Scoring(Asking):
    """The keys of an evaluation that a task's score depends on if its job loads the checkpoint."""

    batch_size: int
    dtype: Dtype


def checkpoint_of(folder: Path, *, chat_template: bool = False, **settings: Any) -> Any:
    """A checkpoint for the harness: every end token ends a response; its other generation settings don't count.

    Args:
        folder: The model directory.
        chat_template: Whether texts come from its chat template, which writes the start token itself.
        settings: Of the harness's own class.
    """
    import torch
    from lm_eval.models.huggingface import HFLM

    from bezoar.steps import chat, models

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
    if chat_template:
        chat.check_template(made.tokenizer)
        made.add_bos_token = False
    return made


def loaded(checkpoint: Path, block: Scoring) -> Any:
    """A checkpoint as an evaluation wants it."""
    sizes = {"batch_size": block.batch_size, "max_length": block.max_length}
    return checkpoint_of(checkpoint, chat_template=block.chat_template, dtype=block.dtype, **sizes)


def evaluated(model: Any, task: str, block: Asking, system: str | None, seed: int) -> dict[str, Any]:
    """The harness's result for a task, without values that differ between equal runs (times, machine), and its samples.

    Args:
        model: The checkpoint, as one of the harness's models.
        task: The task's name.
        block: The evaluation.
        system: System text of requests through a chat template.
        seed: Of all draws.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    own = {"include_path": block.task_folder, "include_defaults": False} if block.task_folder else {}
    result = simple_evaluate(
        model=model,
        tasks=[task],
        apply_chat_template=block.chat_template,
        system_instruction=system if block.chat_template else None,
        num_fewshot=block.num_fewshot,
        task_manager=TaskManager(**own),
        bootstrap_iters=1000,
        log_samples=True,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {name: value for name, value in result.items() if name not in RUN_FACTS}


def write_result(model: Any, block: Asking, prompt: Prompt | None, seed: int, out_folder: Path) -> None:
    """Run a task on a model; the output folder is named by the task, its parent by the checkpoint."""
    import datasets

    task = out_folder.name
    _forget_task_code()
    with tempfile.TemporaryDirectory() as cache:
        if block.task_folder:  # the shared cache would not notice a changed local file of equal size and time
            datasets.config.HF_DATASETS_CACHE = cache
        result = evaluated(model, task, block, prompt.system if prompt else None, seed)
    items = item_scores(result.pop(SAMPLES, {}))
    with artifact(out_folder) as out:
        (out / "items.jsonl").write_text("".join(json.dumps(rounded(item)) + "\n" for item in items), encoding="utf-8")
        text = json.dumps(rounded(result), indent=2, sort_keys=True, default=_plain)
        (out / "result.json").write_text(ADDRESS.sub(r"\1>", text) + "\n", encoding="utf-8")
    logger.info(f"harness {out_folder.parent.name}: {result['results'][task]}")


def item_scores(samples: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The scores of each document: task, number, filter, and all metrics that are a number for each document."""
    return [
        {
            "task": task,
            "id": str(one["doc_id"]),
            "filter": one["filter"],
            "scores": {name: float(one[name]) for name in one["metrics"] if isinstance(one[name], Real)},
        }
        for task, documents in sorted(samples.items())
        for one in sorted(documents, key=lambda one: (one["filter"], one["doc_id"]))
    ]


def _forget_task_code() -> None:
    """Let the harness load the code of tasks anew: its state, such as a generator of numbers, isn't the next task's."""
    for name, module in list(sys.modules.items()):
        if "__mtime__" in getattr(module, "__dict__", {}):  # the harness's mark
            del sys.modules[name]


def _plain(value: Any) -> Any:
    """A numpy number as Python's; anything else by its name."""
    return value.item() if hasattr(value, "item") else str(value)
