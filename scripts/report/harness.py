"""Write the scores of all tasks of a harness evaluation, for every checkpoint, each with its standard error."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.report import clean
from bezoar.steps.report.harness import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with <checkpoint>/<task>/result.json and items.jsonl")
    flags.path("tasks", "folder of the evaluation's tasks, with <task>/settings.json")
    clean.add_flag(flags)
    flags.path("out", "file to write the report to")
    args, evaluation, _ = flags.start(argv, eval=Harness, seed=int)
    write_report(args.results, args.tasks, evaluation, args.out, clean.left_out(args.certificates, evaluation.name))


if __name__ == "__main__":
    run(main)
