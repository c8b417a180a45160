"""One task of EleutherAI's lm-evaluation-harness on one checkpoint; its own result is kept."""

from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from bezoar import models
from bezoar.files import whole
from bezoar.logs import logger
from bezoar.params.evaluate import Harness
from bezoar.script import Flags

RUN_FACTS = ("date", "git_hash", "pretty_env_info", "upper_git_hash", "total_evaluation_time_seconds", "samples")


def evaluated(checkpoint: Path, task: str, block: Harness, seed: int) -> dict[str, Any]:
    """The harness's result for a task, without what differs between two equal runs (times, machine)."""
    own = {"include_path": block.task_folder, "include_defaults": False} if block.task_folder else {}
    result = simple_evaluate(
        model=HFLM(
            pretrained=str(checkpoint),
            device=str(models.device()),
            dtype=block.precision,
            batch_size=block.batch_size,
            max_length=block.max_length,
        ),
        tasks=[task],
        num_fewshot=block.shots,
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
    flags = Flags(__doc__, blocks="evals.<name> seed")
    flags.path("checkpoint", "model directory")
    flags.path("data", "rows.jsonl of the sources that own tasks read", many=True)
    flags.path("out", "file to write the result to; named by the task")
    args, (block, seed) = flags.start(argv)
    result = evaluated(args.checkpoint, args.out.stem, block, seed)
    write_result(args.out, result)
    logger.info(f"harness {args.out.parent.name}: {result['results'][args.out.stem]}")


def write_result(path: Path, result: dict[str, Any]) -> None:
    """A result as JSON, its numpy numbers and functions as plain values."""
    import json

    with whole(path) as partial:
        text = json.dumps(result, indent=2, sort_keys=True, default=_plain)
        partial.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


if __name__ == "__main__":
    main()
