"""Train an adapter on rewards of its own answers by GRPO."""

from bezoar.script import run
from bezoar.steps.train.grpo import Grpo, trainer_of
from bezoar.steps.train.stage import flags, train


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Grpo, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
