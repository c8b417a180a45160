"""Write the rubric scores of every checkpoint and control, by category and turn, each with its 95 % interval."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.rubric import Rubric
from bezoar.steps.report import clean
from bezoar.steps.report.rubric import Inputs, write_report


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("results", "folder of the evaluation, with a folder of each model")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("prompts", "YAML file with the prompts")
    flags.path("rubric", "YAML file with the rubric")
    flags.path("references", "rows.jsonl of the reference answers; none to grade without", optional=True)
    clean.add_flag(flags)
    flags.path("out", "file to write the report to")
    args, evaluation, seed = flags.start(argv, eval=Rubric, seed=int)
    left_out = clean.left_out(args.certificates, evaluation.name)
    inputs = Inputs(args.results, args.questions, args.prompts, args.rubric, args.references)
    write_report(inputs, evaluation, seed, args.out, left_out)


if __name__ == "__main__":
    run(main)
