"""Decide by the games of the controls whether a judge of pairs can be trusted."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.gate import Gate, write_gate
from bezoar.steps.evaluate.pairwise_gate import PAIRS


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("verdicts", "verdicts.jsonl of each control, in a folder of its name", many=True)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("out", "file to write the judge's id, and whether it is compromised, to")
    args, evaluation, seed = flags.start(argv, eval=Gate, seed=int)
    write_gate(args.verdicts, args.questions, evaluation, seed, args.out, PAIRS)


if __name__ == "__main__":
    run(main)
