"""Evaluation on held-out rows while a stage trains, and the curve of its figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bezoar.files import rounded, write_json
from bezoar.logs import logger

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock

FILE = "history.json"
BETTER = {"loss": "low", "reward": "high"}


def settings(stage: StageBlock) -> dict[str, Any]:
    """Keyword arguments for TRL's config classes: when to evaluate and to save, and which weights to keep."""
    saving = stage.eval_steps if stage.keep == "best" and stage.eval_steps else stage.save_steps
    found: dict[str, Any] = {"save_strategy": "steps", "save_steps": saving, "save_total_limit": 2}
    found["logging_steps"] = math.gcd(10, saving)  # a resumed run can't average over steps before its saved state
    if stage.eval_steps is None:
        return found
    return found | {
        "eval_strategy": "steps",
        "eval_steps": stage.eval_steps,
        "load_best_model_at_end": stage.keep == "best",
        "metric_for_best_model": f"eval_{stage.figure}",
        "greater_is_better": stage.figure == "reward",
    }


def attach(trainer: Trainer, work: Path, stage: StageBlock) -> None:
    """Let a trainer evaluate without an effect on what it trains, stop early, and write its curve while it runs."""
    trainer.evaluate = undisturbed(trainer.evaluate)
    trainer.add_callback(LiveCurve(work / FILE))
    if stage.patience is not None:
        trainer.add_callback(EarlyStop(stage.patience, stage.figure))


def undisturbed(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """An evaluation that leaves the random numbers of training as they were: dropout doesn't depend on it."""

    def apart(*args: Any, **options: Any) -> Any:
        with torch.random.fork_rng():
            return evaluate(*args, **options)

    return apart


def finish(trainer: Trainer, name: str, stage: StageBlock) -> dict[str, Any]:
    """The figures of the weights that are kept; they are evaluated unless that has been done after the last step."""
    state = trainer.state
    done = evaluations(state.log_history)
    if not done or done[-1]["step"] != state.global_step:
        trainer.evaluate()
        done = evaluations(state.log_history)
    if stage.keep == "last" or state.best_global_step is None:
        return repeatable(done[-1])
    best = next(line for line in done if line["step"] == state.best_global_step)
    highest = f"{BETTER[stage.figure]}est {stage.figure}"
    logger.info(f"train {name}: step {best['step']:,} is kept, with the {highest} on held-out rows")
    if done[0]["step"] == 0 and not cost(best, stage.figure) < cost(done[0], stage.figure):
        before, after = (line[f"eval_{stage.figure}"] for line in (done[0], best))
        what = {"loss": "less likely", "reward": "better answered"}[stage.figure]
        unit = " nats" * (stage.figure == "loss")
        logger.warning(
            f"train {name}: held-out rows were no {what} after any step: {before:.4f}{unit} before training, "
            f"{after:.4f} at best"
        )
    return repeatable(best)


def evaluations(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a history that are evaluations, in their order."""
    return [line for line in history if "eval_loss" in line]


def cost(evaluation: dict[str, Any], figure: str) -> float:
    """What is to fall: the loss on held-out rows, or their reward with its sign changed."""
    return float(evaluation[f"eval_{figure}"]) * (-1 if figure == "reward" else 1)


class EarlyStop(TrainerCallback):
    """Ends training after a number of evaluations in a row without a better one, by the history of all steps.

    The history is part of a saved state, so a resumed run stops where an uninterrupted one does.
    """

    def __init__(self, patience: int, figure: str) -> None:
        self.patience, self.figure = patience, figure

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        costs = [cost(line, self.figure) for line in evaluations(state.log_history) if line["step"] > 0]
        if since_best(costs) >= self.patience:
            better = f"{BETTER[self.figure]}er {self.figure}"
            logger.info(f"no {better} on held-out rows in {self.patience} evaluations: training ends")
            control.should_training_stop = True


def since_best(losses: list[float]) -> int:
    """The number of losses after the lowest one; a loss that isn't a number is none."""
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    return len(finite) - 1 - finite.index(min(finite)) if finite else 0


class LiveCurve(TrainerCallback):
    """Writes the history so far, for `dvc plots show` and other readers of a running job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            write_json(self.path, curve(state.log_history))


def curve(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A trainer's history as rows for `dvc plots`."""
    return datapoints([line for line in map(repeatable, history) if len(line) > 2])


def datapoints(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that all have the same keys, null where a row has no such figure: `dvc plots` draws no others."""
    names = sorted({name for row in rows for name in row})
    return [{name: row.get(name) for name in names} for row in rows]


def repeatable(figures: dict[str, Any]) -> dict[str, Any]:
    """Logged figures that two equal runs share: no times, no speed, no counts that a resumed run repeats.

    A figure that isn't finite becomes None, as JSON needs it.
    """
    varying = ("runtime", "per_second", "flos", "memory", "train_loss", "num_tokens")
    kept = {name: value for name, value in figures.items() if not any(word in name for word in varying)}
    finite = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in kept.items()}
    return cast(dict[str, Any], rounded(finite))
