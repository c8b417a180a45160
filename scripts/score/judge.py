"""Score a shard of a scheme's rows by a judge."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.score.block import flags, rows_of
from bezoar.steps.score.judge import TEMPLATES, JudgeScore, judged
from bezoar.steps.score.scoring import write_shard


def main(argv: list[str] | None = None) -> None:
    takes = {"score": JudgeScore, "backend": AnyBackend, "prompt": Prompt, "seed": int, "budget": Budget}
    args, block, backend, prompt, seed, budget = flags(__doc__).start(argv, **takes)
    rows, templates = list(rows_of(args.rows)), prompts.load(args.prompts, TEMPLATES)
    weights = args.models[0] if args.models else None
    judge = backend.open(checkpoint=weights, system=prompt.system, seed=seed, budget=budget)
    write_shard(args.out, rows, judged(rows, judge, block, templates, seed), block)


if __name__ == "__main__":
    run(main)
