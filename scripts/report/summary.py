"""Write a line for each evaluation, checkpoint and metric, and log a table of them."""

from bezoar.script import Flags, run
from bezoar.steps.results.summary import write_summary


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("reports", "results/<evaluation>.json of each evaluation", many=True)
    flags.path("out", "file to write the summary to")
    [args] = flags.start(argv)
    write_summary(args.reports, args.out)


if __name__ == "__main__":
    run(main)
