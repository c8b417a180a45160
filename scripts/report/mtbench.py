"""Write MT-Bench scores of every checkpoint and control, by category and turn, each with its 95 % interval."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.mtbench import Mtbench
from bezoar.steps.report.mtbench import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with <model>/verdicts.jsonl")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("references", "rows.jsonl of the reference answers")
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.path("out", "file to write the report to")
    args, evaluation, seed = flags.start(argv, eval=Mtbench, seed=int)
    write_report(args.results, args.questions, args.references, args.judge_prompts, evaluation, seed, args.out)


if __name__ == "__main__":
    run(main)
