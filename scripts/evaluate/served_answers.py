"""Answer questions with a checkpoint that a server has loaded, as answers.py does."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.requests.openai import OpenAiBackend
from bezoar.script import Flags, run
from bezoar.steps.evaluate.answers import Asking, write_answers
from bezoar.steps.evaluate.served import served


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("checkpoint", "model directory that the server loads")
    flags.folder("out", "folder to write answers.jsonl and turns.jsonl to; named by the checkpoint")
    takes = {"eval": Asking, "backend": OpenAiBackend, "prompt": Prompt, "seed": int, "budget": Budget}
    args, evaluation, backend, prompt, seed, budget = flags.start(argv, **takes)
    write_answers(args.questions, served(args.checkpoint, backend, prompt, seed, budget), evaluation, args.out)


if __name__ == "__main__":
    run(main)
