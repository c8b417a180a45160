"""Write the report of a likelihood evaluation."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.likelihood import Likelihood
from bezoar.steps.report.likelihood import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("scores", "scores.jsonl of each checkpoint, in a folder with its name", many=True)
    flags.path("out", "file to write the report to")
    args, evaluation, seed = flags.start(argv, eval=Likelihood, seed=int)
    write_report(args.scores, evaluation, seed, args.out)


if __name__ == "__main__":
    run(main)
