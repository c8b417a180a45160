"""Write the scores of all tasks of a harness evaluation, for every checkpoint, each with its standard error."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.report.harness import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with <checkpoint>/<task>/result.json")
    flags.path("out", "file to write the report to")
    args, evaluation, _ = flags.start(argv, eval=Harness, seed=int)
    write_report(args.results, evaluation, args.out)


if __name__ == "__main__":
    run(main)
