"""Keep a number of rows of all generated shards of a scheme that pass cheap rules and then a judge, if there is one."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.judge import filter_prompts
from bezoar.steps.filter.quota import write_up_to_quota


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("generated", "folder of the scheme's generated shards")
    flags.path("prompts", "prompt file of the judge, if there is one", optional=True)
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.path("out", "folder to write a folder with kept.jsonl, rejected.jsonl and report.json for each shard to")
    takes = {"filter": Filter, "backend": AnyBackend | None, "prompt": Prompt, "seed": int, "budget": Budget}
    args, block, backend, prompt, seed, budget, shards = flags.start(argv, **takes, shards=int)
    texts = filter_prompts(args.prompts) if args.prompts else None
    judge = backend.open(checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget) if backend else None
    at_once = backend.at_once if backend else None
    files = [args.generated / f"{shard:04d}" / "rows.jsonl" for shard in range(shards)]
    write_up_to_quota(files, judge, block, texts, seed, at_once, args.out)


if __name__ == "__main__":
    run(main)
