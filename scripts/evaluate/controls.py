"""Write answers that no model wrote; a judge that rewards them is compromised."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.controls import write_controls


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("answers", "answers.jsonl of the model whose answers are shuffled", optional=True)
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.folder("out", "folder to write answers.jsonl to; named control_<name>")
    args, seed = flags.start(argv, seed=int)
    write_controls(args.questions, args.answers, args.judge_prompts, seed, args.out)


if __name__ == "__main__":
    run(main)
