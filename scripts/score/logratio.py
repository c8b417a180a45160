"""Score a shard of a scheme's rows by the log-density ratio of two checkpoints."""

from bezoar.blocks import Prompt
from bezoar.script import run
from bezoar.steps.score.block import flags, rows_of
from bezoar.steps.score.logratio import LogRatio, log_ratios
from bezoar.steps.score.scoring import write_shard


def main(argv: list[str] | None = None) -> None:
    args, block, prompt = flags(__doc__).start(argv, score=LogRatio, prompt=Prompt)
    rows = list(rows_of(args.rows))
    write_shard(args.out, rows, log_ratios(rows, args.models, block, prompt.system), block)


if __name__ == "__main__":
    run(main)
