"""Train an adapter on answers and preferences at once, by odds ratios (ORPO)."""

from bezoar.script import run
from bezoar.steps.train.orpo import Orpo, trainer_of
from bezoar.steps.train.stage import flags, train


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Orpo, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
