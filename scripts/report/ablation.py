"""Report what each level of a matrix changes."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.matrix import Matrix
from bezoar.steps.report.ablation import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("report", "report of the evaluation")
    flags.path("scores", "its scores of single items, by checkpoint, and its questions", many=True)
    flags.path("out", "file to write the report to")
    args, matrix, seed = flags.start(argv, matrix=Matrix, seed=int)
    write_report(args.report, args.scores, matrix, seed, args.out)


if __name__ == "__main__":
    run(main)
