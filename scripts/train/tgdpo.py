"""Train an adapter on preferences by DPO with a guide for tokens (TGDPO)."""

from bezoar.script import run
from bezoar.steps.train.stage import flags, train
from bezoar.steps.train.tgdpo import Tgdpo, trainer_of


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Tgdpo, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
