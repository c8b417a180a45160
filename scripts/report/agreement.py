"""Report how far the judges of several evaluations agree on the same answers."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.report.agreement import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("grades", "verdicts, gradings or checks of each checkpoint, <eval>/<checkpoint>/*.jsonl", many=True)
    flags.path("reports", "report of each evaluation, <eval>.json", many=True)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write the report to")
    args, evaluation, seed = flags.start(argv, eval=Agreement, seed=int)
    write_report(args.grades, args.reports, args.questions, evaluation, seed, args.out)


if __name__ == "__main__":
    run(main)
