"""Write how a task of lm-evaluation-harness is asked, and the data of the hub that it reads."""

from bezoar.blocks import Prompt
from bezoar.script import Flags
from bezoar.steps.evaluate.task import Tasks, write_task
from bezoar.together import run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.folder("out", "folder to write settings.json and data.zip to; named by the task")
    args, evaluation, prompt = flags.start(argv, eval=Tasks, prompt=Prompt | None)
    write_task(evaluation, prompt, args.out)


if __name__ == "__main__":
    run(main)
