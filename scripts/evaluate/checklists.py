"""Write a checklist for every turn of every question, once for all checkpoints."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.evaluate.checks import Authoring, write_checklists
from bezoar.steps.evaluate.questions import Asked


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("prompts", "YAML file with the prompts")
    flags.path("author", "model directory of a local author", optional=True)
    flags.folder("out", "folder to write items.jsonl to; named by the evaluation")
    takes = {
        "eval": Authoring,
        "answers": Asked,
        "backend": AnyBackend,
        "prompt": Prompt,
        "seed": int,
        "budget": Budget,
    }
    args, evaluation, asked, backend, prompt, seed, budget = flags.start(argv, **takes)
    author = backend.open(checkpoint=args.author, system=prompt.system, seed=seed, budget=budget)
    write_checklists(args.questions, args.prompts, author, evaluation, args.out, single_turn=asked.single_turn)


if __name__ == "__main__":
    run(main)
