"""Run one task of lm-evaluation-harness on one checkpoint."""

from bezoar.blocks import Prompt
from bezoar.script import Flags
from bezoar.steps.evaluate.harness import Scoring, loaded, write_result
from bezoar.together import once, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("checkpoint", "model directory")
    flags.folder("out", "folder to write result.json to; named by the task")
    args, evaluation, prompt, seed = flags.start(argv, eval=Scoring, prompt=Prompt | None, seed=int)
    write_result(once(loaded, args.checkpoint, evaluation), evaluation, prompt, seed, args.out)


if __name__ == "__main__":
    run(main)
