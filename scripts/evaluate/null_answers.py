"""Write answers that no model wrote, for a judge that grades every answer by itself."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.nulls import Spoofed, write_nulls


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("answers", "answers.jsonl of the model whose answers are shuffled", optional=True)
    flags.path("prompts", "YAML file with the judge's prompts")
    flags.folder("out", "folder to write answers.jsonl to; named control_<name>")
    args, evaluation, seed = flags.start(argv, eval=Spoofed, seed=int)
    write_nulls(args.questions, args.answers, args.prompts, evaluation, seed, args.out)


if __name__ == "__main__":
    run(main)
