"""Write the texts of the documents that a task of lm-evaluation-harness asks."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.targets import write_harness_targets
from bezoar.steps.evaluate.task import Targets


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("task", "folder with settings.json and data.zip of the task")
    flags.path("out", "file to write to; named by the task, its folder by the evaluation")
    args, block = flags.start(argv, eval=Targets)
    write_harness_targets(block.texts.get(args.out.stem), args.task, block.task_folder, args.out)


if __name__ == "__main__":
    run(main)
