"""Add an adapter to the weights that it was trained on; out comes a checkpoint that any transformers program opens."""

from bezoar import models
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.script import Flags, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="stages.<name>")
    flags.path("base", "model directory that the adapter lies on")
    flags.path("adapter", "adapter of the stage")
    flags.folder("out", "folder to write the checkpoint to")
    args, (stage,) = flags.start(argv)
    nf4 = stage.quantization == "nf4" and stage.merge_into == "as_trained"
    model = models.merge(args.base, args.adapter, precision=stage.compute, nf4=nf4)
    with artifact(args.out) as out:
        models.save(model, models.load_tokenizer(args.base), out, stage.merged)
    logger.info(f"merge {args.out.name}: {model.num_parameters():,} parameters in {stage.merged}")


if __name__ == "__main__":
    run(main)
