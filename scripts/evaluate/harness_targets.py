"""Write the texts of the documents that a task of lm-evaluation-harness asks."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.harness import Targets
from bezoar.steps.evaluate.targets import write_harness_targets


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("out", "file to write to; named by the task, its folder by the evaluation")
    args, block = flags.start(argv, eval=Targets)
    fields = block.texts.get(args.out.stem)
    write_harness_targets(args.out.stem, fields, block.num_fewshot, block.task_folder, args.out)


if __name__ == "__main__":
    run(main)
