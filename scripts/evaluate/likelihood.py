"""Score the answers that mixes hold out by their log-likelihood under one checkpoint."""

from bezoar.script import Flags, run
from bezoar.steps.evaluate.likelihood import Scored, write_scores


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("checkpoint", "model directory")
    flags.path("rows", "eval.jsonl of each mix, in a folder with its name", many=True)
    flags.path("trained", "train.jsonl of each mix that the checkpoint was trained on", many=True)
    flags.folder("out", "folder to write scores.jsonl to; named by the checkpoint")
    args, evaluation = flags.start(argv, eval=Scored)
    write_scores(args.checkpoint, args.rows, args.trained, evaluation, args.out)


if __name__ == "__main__":
    run(main)
