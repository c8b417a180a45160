"""The report of a harness evaluation: all tasks of every checkpoint, with standard errors."""

import json
import math
from collections.abc import Collection, Hashable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.files import rounded
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.evaluate.significance import separability
from bezoar.steps.evaluate.task import read_task
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.report.item_differences import item_differences
from bezoar.steps.results.harness import HarnessReport, ends
from bezoar.steps.results.write import write


def scores_of(result: dict[str, Any], task: str) -> dict[str, Any]:
    """Score and standard error of each metric; the harness names them `metric,filter` and `metric_stderr,filter`.

    A group of tasks, such as mmlu, has no questions of its own: the questions of its tasks are counted, at any depth.
    A score that isn't a finite number, such as a perplexity of nothing, is None, with the reason.
    """
    values = result["results"][task]
    scores: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        metric, _, chain = name.partition(",")
        if not chain or metric.endswith("_stderr"):
            continue
        score, error = _finite(value), _finite(values.get(f"{metric}_stderr,{chain}"))
        label = metric if chain == "none" else f"{metric} ({chain})"
        if score is None:
            scores[label] = {"score": None, "standard_error": None, "why": f"the harness says {value!r:.60}"}
        else:
            scores[label] = {"score": score, "standard_error": error}
    questions = sum(count["effective"] for count in result["n-samples"].values())  # a result has one task or group
    return {"metrics": scores, "version": result["versions"][task], "questions": questions}


def _finite(value: Any) -> float | None:
    return value if isinstance(value, float | int) and math.isfinite(value) else None


def compare(metrics: dict[str, Any], expected: dict[str, float], decimals: int) -> list[str]:
    """Put a published score beside each of ours that has one; returns the metrics that differ from it.

    A difference is more than two standard errors of ours and what rounding of the published score can make. A missing
    score differs.
    """
    differs = []
    for name, published in expected.items():
        one = metrics[name]
        allowed = 2 * (one["standard_error"] or 0.0) + 0.5 * 10**-decimals
        away = one["score"] is None or abs(one["score"] - published) > allowed * (1 + 1e-9)
        one["expected"] = {"score": published, "allowed": allowed, "differs": away}
        differs += [name] if away else []
    return differs


def clean_scores(full: dict[str, Any], items: list[dict[str, Any]], gone: set[tuple[str, str]]) -> dict[str, Any]:
    """The scores of the items that no training row repeats; None for a metric that isn't a mean over items.

    Args:
        full: The scores of all items.
        items: The scores of each item.
        gone: Task and id of the items to leave out.
    """
    means: dict[str, Any] = {}
    for label, one in full["metrics"].items():
        pairs = [(item, item["scores"][name]) for item in items if (name := _metric(label, item)) in item["scores"]]
        kept = [score for item, score in pairs if (item["task"], item["id"]) not in gone]
        is_mean = _is_mean([score for _, score in pairs], one["score"])
        means[label] = {"score": fmean(kept), "standard_error": _error(kept)} if is_mean and kept else None
    asked = {(item["task"], item["id"]) for item in items}
    return {"questions": len(asked - gone), "left_out": len(asked & gone), "metrics": rounded(means)}


def _is_mean(scores: Collection[float], score: float | None) -> bool:
    return bool(scores) and score is not None and math.isclose(fmean(scores), score, abs_tol=1e-5)


def _metric(label: str, item: dict[str, Any]) -> str | None:
    """The metric with a label, if an item has been scored under its filter."""
    name, _, rest = label.partition(" (")
    return name if item["filter"] == (rest.removesuffix(")") or "none") else None


def _error(scores: list[float]) -> float | None:
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None


def values_of(label: str, items: list[dict[str, Any]], score: float | None) -> dict[Hashable, float]:
    """A metric's value of each item; none if the score isn't their mean."""
    found: dict[Hashable, float] = {
        (item["task"], item["id"]): item["scores"][name]
        for item in items
        if (name := _metric(label, item)) in item["scores"]
    }
    return found if _is_mean(found.values(), score) else {}


def add_differences(
    models: dict[str, Any], by_item: dict[str, dict[str, dict[Hashable, float]]], block: Harness
) -> dict[str, Any]:
    """Add each metric's paired differences to its scores; how many comparisons they are, and which tasks separate.

    A metric that isn't a mean over items has none.
    """
    means = {label: scores for label, scores in by_item.items() if all(scores.values()) and set(scores) == set(models)}
    found, comparisons = item_differences(block, means)
    for checkpoint, tasks in models.items():
        for task, one in tasks.items():
            for label, value in one["metrics"].items():
                if gaps := found.get(f"{task} {label}"):
                    value |= gaps[checkpoint]
    intervals = {
        f"{task} {label}": [_ends(one[task], label) for one in models.values()]
        for task, first in next(iter(models.values())).items()
        for label in first["metrics"]
    }
    return comparisons | {"separability": rounded({name: separability(one) for name, one in intervals.items()})}


def _ends(task: dict[str, Any], label: str) -> tuple[float | None, float | None]:
    metric = task["metrics"][label]
    return ends(label, metric["score"], metric["standard_error"], task["questions"])


def write_report(results: Path, settings: Path, block: Harness, out: Path, left_out: LeftOut) -> None:
    """Write all scores, and log a line for each checkpoint.

    Args:
        results: Folder of the evaluation, with <checkpoint>/<task>/result.json and items.jsonl.
        settings: Folder of the evaluation, with <task>/settings.json.
        block: The evaluation.
        out: File to write to.
        left_out: By checkpoint, the items that rows of its mixes repeat.
    """
    models: dict[str, Any] = {}
    by_item: dict[str, dict[str, dict[Hashable, float]]] = {}
    shots: dict[str, set[int]] = {}
    for checkpoint in block.checkpoints:
        models[checkpoint] = {}
        for task in block.tasks:
            folder = results / checkpoint / task
            result = json.loads((folder / "result.json").read_text())
            one = scores_of(result, task)
            shots.setdefault(task, set()).update(result["n-shot"].values())
            items = [item for _, item in read_json_lines(folder / "items.jsonl")]
            for label, metric in one["metrics"].items():
                by_item.setdefault(f"{task} {label}", {})[checkpoint] = values_of(label, items, metric["score"])
            models[checkpoint][task] = one | {"clean": clean_scores(one, items, left_out.get(checkpoint, set()))}
    comparisons = add_differences(models, by_item, block)
    differs = _compared(models, block)
    head = {"evaluation": out.stem, "num_fewshot": block.num_fewshot, "tasks": _asked(settings, shots)}
    report = {**head, "order": list(block.checkpoints), "comparisons": comparisons, "checkpoints": models}
    if block.expected:
        report["expected"] = {"source": block.expected.source, "differ": differs}
    write(out, report, HarnessReport)
    for checkpoint, tasks in models.items():
        line = ", ".join(
            f"{task} {name} {_shown(value)}" for task, one in tasks.items() for name, value in one["metrics"].items()
        )
        logger.info(f"{checkpoint}: {line}")
    if block.expected and not differs:
        logger.info(f"all published scores are met: {block.expected.source}")
    for line in differs:
        logger.warning(f"{line} ({block.expected.source if block.expected else ''})")


def _asked(folder: Path, shots: dict[str, set[int]]) -> dict[str, Any]:
    """How each task was asked: by the settings that its jobs read, with the numbers of examples that the harness says.

    Args:
        folder: Folder of the evaluation's tasks.
        shots: By task, the numbers of examples of the tasks in it.
    """
    found = {}
    for task, counts in shots.items():
        sent = read_task(folder / task).model_dump(include={"chat_template", "system", "limit"})
        found[task] = {"num_fewshot": counts.pop() if len(counts) == 1 else None, **sent}
    return found


def _shown(metric: dict[str, Any]) -> str:
    return f"no score ({metric['why']})" if metric["score"] is None else f"{metric['score']:.3f}"


def _compared(models: dict[str, Any], block: Harness) -> list[str]:
    """Compare the scores with those that are expected; a line for each that differs.

    Raises:
        InputError: A task has no such metric.
    """
    lines = []
    for checkpoint, tasks in block.expected.scores.items() if block.expected else ():
        for task, expected in tasks.items():
            metrics = models[checkpoint][task]["metrics"]
            if unknown := sorted(expected.keys() - metrics.keys()):
                what = f"evals.{block.name}.expected.scores.{checkpoint}.{task}: no such metric"
                raise InputError(problem(what, found=", ".join(unknown), expected=", ".join(metrics)))
            for name in compare(metrics, expected, block.expected.decimals if block.expected else 0):
                one = metrics[name]
                text = f"{_shown(one)} ± {one['standard_error'] or 0.0:.3f}, published {expected[name]}"
                lines.append(f"{checkpoint} {task} {name}: {text}")
    return lines
