"""Keep all rows of a shard that a filter's rules let pass, or as many of them at random as the filter keeps."""

from bezoar.script import Flags, run
from bezoar.steps.filter.baseline import Baseline, Shard, write_baseline


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("kept", "kept.jsonl of the other filter's shard")
    flags.path("rejected", "rejected.jsonl of the other filter's shard")
    flags.folder("out", "folder of the shard to write kept.jsonl, rejected.jsonl and report.json to")
    args, block, seed = flags.start(argv, filter=Baseline, seed=int)
    write_baseline(block.method, Shard(args.kept, args.rejected), seed, args.out)


if __name__ == "__main__":
    run(main)
