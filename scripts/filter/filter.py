"""Keep the rows of a generated shard that pass cheap rules and then a judge, if there is one."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.data.rows import GeneratedRow, read_rows
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.filter import decided, write_shard
from bezoar.steps.filter.judge import filter_prompts


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "rows.jsonl of a generated shard")
    flags.path("prompts", "prompt file of the judge, if there is one", optional=True)
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.folder("out", "folder of the shard to write kept.jsonl, rejected.jsonl and report.json to")
    takes = {"filter": Filter, "backend": AnyBackend | None, "prompt": Prompt, "seed": int, "budget": Budget}
    args, block, backend, prompt, seed, budget = flags.start(argv, **takes)
    texts = filter_prompts(args.prompts) if args.prompts else None
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget) if backend else None
    at_once = backend.at_once if backend else None
    rows = read_rows(args.rows, GeneratedRow)
    write_shard(args.out, rows, lambda some: decided(some, judge, block, texts, seed, at_once), block)


if __name__ == "__main__":
    run(main)
