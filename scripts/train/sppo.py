"""Train an adapter on preferences towards win rates (SPPO)."""

from bezoar.script import run
from bezoar.steps.train.sppo import Sppo, trainer_of
from bezoar.steps.train.stage import flags, train


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Sppo, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
