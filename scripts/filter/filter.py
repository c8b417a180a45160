"""Keep the rows of a generated shard that pass cheap rules and then a judge, if there is one."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.data.rows import GeneratedRow, read_rows
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.filter import filtered, share_of, write_shard
from bezoar.steps.filter.judge import filter_prompts


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "rows.jsonl of a generated shard")
    flags.path("prompts", "prompt file of the judge, if there is one", optional=True)
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.folder("out", "folder of the shard to write kept.jsonl, rejected.jsonl and report.json to")
    takes = {"filter": Filter, "backend": AnyBackend | None, "prompt": Prompt, "seed": int, "budget": Budget}
    args, block, backend, prompt, seed, budget, shards = flags.start(argv, **takes, shards=int | None)
    rows = list(read_rows(args.rows, GeneratedRow))
    texts = filter_prompts(args.prompts) if args.prompts else None
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget) if backend else None
    quota = share_of(block.quota, int(args.out.name), shards) if block.quota else None
    write_shard(args.out, len(rows), *filtered(rows, judge, block, texts, quota, seed))


if __name__ == "__main__":
    run(main)
