"""Write the answers of all checkpoints side by side, without a score."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.side_by_side import SideBySide
from bezoar.steps.report.side_by_side import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with <checkpoint>/answers.jsonl")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write the report to")
    args, evaluation = flags.start(argv, eval=SideBySide)
    write_report(args.results, args.questions, evaluation, args.out)


if __name__ == "__main__":
    run(main)
