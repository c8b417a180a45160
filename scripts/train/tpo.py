"""Train an adapter on preferences with a gold answer beside each pair (TPO)."""

from bezoar.script import run
from bezoar.steps.train.stage import flags, train
from bezoar.steps.train.tpo import Tpo, trainer_of


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Tpo, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
