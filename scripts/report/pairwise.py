"""Write win rates of every checkpoint and control against a baseline, each with its 95 % interval."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.pairwise import Pairwise
from bezoar.steps.report import clean
from bezoar.steps.report.pairwise import write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with <model>/verdicts.jsonl")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("references", "rows.jsonl of the reference answers", optional=True)
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    clean.add_flag(flags)
    flags.path("out", "file to write the report to")
    args, evaluation, seed = flags.start(argv, eval=Pairwise, seed=int)
    left_out = clean.left_out(args.certificates, evaluation.name)
    write_report(
        args.results, args.questions, args.references, args.judge_prompts, evaluation, seed, args.out, left_out
    )


if __name__ == "__main__":
    run(main)
