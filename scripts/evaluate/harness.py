"""One task of EleutherAI's lm-evaluation-harness on one checkpoint; its own result is kept."""

import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from bezoar import models
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.script import Flags, keys, run

BLOCKS = f"{keys('evals.<name>', 'shots max_length batch_size precision task_folder')} seed"
RUN_FACTS = ("date", "git_hash", "pretty_env_info", "upper_git_hash", "total_evaluation_time_seconds", "samples")


class Checkpoint(HFLM):
    """A checkpoint as the harness runs it: every end token ends a response, nothing else of its own settings counts."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(pretrained=str(folder), device=str(models.device()), **settings)
        models.ignore_generation_config(self.model, self.tokenizer)

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **settings: Any) -> torch.Tensor:
        """Token ids (batch, context and response); end tokens as padding, since not all are left out of the text."""
        ids = super()._model_generate(context, max_length, stop, **settings)
        ends = torch.tensor(models.end_tokens(self.model, self.tokenizer), device=ids.device)
        written = ids[:, context.shape[1] :]
        written.masked_fill_(torch.isin(written, ends), self.tokenizer.pad_token_id)
        return ids


def evaluated(
    checkpoint: Path,
    task: str,
    *,
    shots: int,
    max_length: int,
    batch_size: int,
    precision: str,
    task_folder: str | None,
    seed: int,
) -> dict[str, Any]:
    """The harness's result for a task, without what differs between two equal runs (times, machine)."""
    own = {"include_path": task_folder, "include_defaults": False} if task_folder else {}
    result = simple_evaluate(
        model=Checkpoint(checkpoint, dtype=precision, batch_size=batch_size, max_length=max_length),
        tasks=[task],
        num_fewshot=shots,
        task_manager=TaskManager(**own),
        bootstrap_iters=1000,
        log_samples=False,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {name: value for name, value in result.items() if name not in RUN_FACTS}


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks=BLOCKS)
    flags.path("checkpoint", "model directory")
    flags.folder("out", "folder to write result.json to; named by the task")
    args, (shots, max_length, batch_size, precision, task_folder, seed) = flags.start(argv)
    task = args.out.name
    with tempfile.TemporaryDirectory() as cache:
        if task_folder:  # the shared cache takes a changed local file of equal size and time for the old one
            datasets.config.HF_DATASETS_CACHE = cache
        result = evaluated(
            args.checkpoint,
            task,
            shots=shots,
            max_length=max_length,
            batch_size=batch_size,
            precision=precision,
            task_folder=task_folder,
            seed=seed,
        )
    with artifact(args.out) as out:
        text = json.dumps(result, indent=2, sort_keys=True, default=_plain)
        (out / "result.json").write_text(text + "\n", encoding="utf-8")
    logger.info(f"harness {args.out.parent.name}: {result['results'][task]}")


def _plain(value: Any) -> Any:
    """A numpy number as Python's, and anything else by its name."""
    return value.item() if hasattr(value, "item") else str(value)


if __name__ == "__main__":
    run(main)
