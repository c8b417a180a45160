"""Compare a model's answers with the baseline's by a judge, in both orders of seats."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.evaluate.games import Comparing, Inputs, write_verdicts
from bezoar.steps.evaluate.questions import Asked


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("answers", "answers.jsonl of the model; none for a control", optional=True)
    flags.path("baseline", "answers.jsonl of the baseline")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("references", "rows.jsonl of the reference answers", optional=True)
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.path("gate", "gate file of this judge; none for a control", optional=True)
    flags.folder("out", "folder to write judgments.jsonl and verdicts.jsonl to; named by the model")
    args, evaluation, asked, backend, prompt, seed, budget = flags.start(
        argv, eval=Comparing, answers=Asked, backend=AnyBackend, prompt=Prompt, seed=int, budget=Budget
    )
    inputs = Inputs(
        args.answers, args.baseline, args.questions, args.references, args.judge_prompts, args.judge, args.gate
    )
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget)
    write_verdicts(inputs, evaluation, backend, judge, args.out, single_turn=asked.single_turn)


if __name__ == "__main__":
    run(main)
