"""Decide by the grades of the controls whether a judge can be trusted."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.gate import write_gate
from bezoar.steps.evaluate.nulls import METHODS, GradedGate


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("grades", "grades of each control, in a folder of its name", many=True)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write the judge's id, and whether it is compromised, to")
    args, evaluation, seed = flags.start(argv, eval=GradedGate, seed=int)
    write_gate(args.grades, args.questions, evaluation, seed, args.out, METHODS[evaluation.method])


if __name__ == "__main__":
    run(main)
