"""Run one task of lm-evaluation-harness on one checkpoint."""

from bezoar.script import Flags
from bezoar.steps.evaluate.harness import Scoring, loaded, write_result
from bezoar.together import once, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("checkpoint", "model directory")
    flags.path("task", "folder with settings.json and data.zip of the task")
    flags.folder("out", "folder to write result.json to; named by the task")
    args, evaluation, seed = flags.start(argv, eval=Scoring, seed=int)
    model = once(loaded, args.checkpoint, evaluation.batch_size, evaluation.max_length, evaluation.dtype)
    write_result(model, evaluation, args.task, seed, args.out)


if __name__ == "__main__":
    run(main)
