"""The report of a harness evaluation: all tasks of every checkpoint, with standard errors."""

import json
from pathlib import Path
from typing import Any

from bezoar.files import write_json
from bezoar.logs import logger
from bezoar.steps.evaluate.harness import Harness


def scores_of(result: dict[str, Any], task: str) -> dict[str, Any]:
    """Score and standard error of each metric; the harness names them `metric,filter` and `metric_stderr,filter`.

    A group of tasks, such as mmlu, has no questions of its own: the questions of its tasks are counted, at any depth.
    """
    values = result["results"][task]
    scores = {}
    for name, value in values.items():
        metric, _, chain = name.partition(",")
        if not chain or metric.endswith("_stderr"):
            continue
        error = values.get(f"{metric}_stderr,{chain}")
        label = metric if chain == "none" else f"{metric} ({chain})"
        scores[label] = {"score": value, "standard_error": error if isinstance(error, float) else None}
    questions = sum(count["effective"] for count in result["n-samples"].values())  # a result has one task or group
    return {"metrics": scores, "version": result["versions"][task], "questions": questions}


def write_report(results: Path, block: Harness, out: Path) -> None:
    """Write all scores, and log a line for each checkpoint.

    Args:
        results: Folder of the evaluation, with <checkpoint>/<task>/result.json.
        block: The evaluation.
        out: File to write to.
    """
    models = {}
    for checkpoint in block.checkpoints:
        paths = {task: results / checkpoint / task / "result.json" for task in block.tasks}
        models[checkpoint] = {task: scores_of(json.loads(path.read_text()), task) for task, path in paths.items()}
    write_json(out, {"evaluation": out.stem, "num_fewshot": block.num_fewshot, "checkpoints": models})
    for checkpoint, tasks in models.items():
        line = ", ".join(
            f"{task} {name} {value['score']:.3f}"
            for task, one in tasks.items()
            for name, value in one["metrics"].items()
        )
        logger.info(f"{checkpoint}: {line}")
