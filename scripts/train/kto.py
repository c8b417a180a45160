"""Train an adapter on single answers, good and bad ones (KTO)."""

from bezoar.script import run
from bezoar.steps.train.kto import Kto, trainer_of
from bezoar.steps.train.stage import flags, train


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Kto, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
