"""Answer questions with a checkpoint: each turn after its own answers to the turns before it, or by itself."""

from bezoar.blocks import Prompt
from bezoar.script import Flags, run
from bezoar.steps.evaluate.answers import Answering, loaded, write_answers


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("checkpoint", "model directory")
    flags.folder("out", "folder to write answers.jsonl and turns.jsonl to; named by the checkpoint")
    args, evaluation, prompt, seed = flags.start(argv, eval=Answering, prompt=Prompt, seed=int)
    model = loaded(args.checkpoint, evaluation, prompt, seed, args.out.name)
    write_answers(args.questions, model, evaluation, args.out)


if __name__ == "__main__":
    run(main)
