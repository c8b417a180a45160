"""Deal the prompts of a source or of another scheme's rows to shards, one row of each prompt."""

from bezoar.script import run
from bezoar.steps.data.shard import deal
from bezoar.steps.generate.scheme import shard_flags
from bezoar.steps.generate.seeds import Dealt


def main(argv: list[str] | None = None) -> None:
    flags = shard_flags(__doc__, many=True)
    args, shards = flags.start(argv, shards=int)
    dealt = Dealt(args.rows, shards, answered=False)
    deal(dealt, shards, args.out, dealt.unused, hint="the seeds have no row that can be asked: see their files")


if __name__ == "__main__":
    run(main)
