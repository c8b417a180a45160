"""Train an adapter on preferences by the odds of each answer (ASFT)."""

from bezoar.script import run
from bezoar.steps.train.asft import Asft, trainer_of
from bezoar.steps.train.stage import flags, train


def main(argv: list[str] | None = None) -> None:
    args, stage, seed = flags(__doc__).start(argv, stage=Asft, seed=int)
    train(args, stage, seed, trainer_of)


if __name__ == "__main__":
    run(main)
