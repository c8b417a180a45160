"""Grade a model's answers from 1 to 5 by a rubric."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.evaluate.gradings import Grading, Inputs, write_gradings
from bezoar.steps.evaluate.questions import Asked


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("answers", "answers.jsonl of the model")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("references", "rows.jsonl of the reference answers; none to grade without", optional=True)
    flags.path("prompts", "YAML file with the prompts")
    flags.path("rubric", "YAML file with the rubric")
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.path("gate", "gate file of this judge; none for a control", optional=True)
    flags.folder("out", "folder to write gradings.jsonl and feedback.jsonl to; named by the model")
    takes = {"eval": Grading, "answers": Asked, "backend": AnyBackend, "prompt": Prompt, "seed": int, "budget": Budget}
    args, evaluation, asked, backend, prompt, seed, budget = flags.start(argv, **takes)
    inputs = Inputs(args.answers, args.questions, args.references, args.prompts, args.rubric, args.judge, args.gate)
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget)
    write_gradings(inputs, evaluation, backend, judge, args.out, single_turn=asked.single_turn)


if __name__ == "__main__":
    run(main)
