"""A base model from a directory of the repository, copied as an artifact."""

import shutil

from bezoar import models
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.script import Flags, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="models.<name> seed")
    flags.path("source", "model directory")
    flags.folder("out", "folder to write the model to")
    args, _ = flags.start(argv)
    folder = args.source
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} is not a model directory\n  expected: config.json and *.safetensors")
    models.check_tokenizer(models.load_tokenizer(folder), folder)
    with artifact(args.out) as out:
        shutil.copytree(
            folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.py")
        )
    logger.info(f"base {args.out.name}: copied from {folder}")


if __name__ == "__main__":
    run(main)
