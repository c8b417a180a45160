"""Write all turns of a set of questions, which training rows are compared with."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.targets import write_question_targets


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write to; its folder is named by the evaluation")
    (args,) = flags.start(argv)
    write_question_targets(args.questions, args.out)


if __name__ == "__main__":
    run(main)
