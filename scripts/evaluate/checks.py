"""Check a model's answers by the items of their checklists, with the probabilities of a judge's yes and no."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.evaluate.checks import Checking, Inputs, write_checks
from bezoar.steps.evaluate.questions import Asked


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("answers", "answers.jsonl of the model")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("items", "items.jsonl of the checklists")
    flags.path("prompts", "YAML file with the prompts")
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.path("gate", "gate file of this judge; none for a control", optional=True)
    flags.folder("out", "folder to write checks.jsonl to; named by the model")
    takes = {"eval": Checking, "answers": Asked, "backend": AnyBackend, "prompt": Prompt, "seed": int, "budget": Budget}
    args, evaluation, asked, backend, prompt, seed, budget = flags.start(argv, **takes)
    inputs = Inputs(args.answers, args.questions, args.items, args.prompts, args.judge, args.gate)
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget)
    write_checks(
        inputs, evaluation, backend, judge, args.out, seed=seed, system=prompt.system, single_turn=asked.single_turn
    )


if __name__ == "__main__":
    run(main)
