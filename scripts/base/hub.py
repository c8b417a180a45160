"""A base model of the Hugging Face hub, at one revision, in safetensors."""

import shutil
from pathlib import Path

from huggingface_hub import snapshot_download

from bezoar import models
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.params.train import HubModel
from bezoar.script import Flags, run

TOKENIZER_AND_CONFIG = ["*.json", "*.jinja", "tokenizer.model", "*.txt"]


def fetch(model: HubModel, folder: Path) -> Path:
    """Download what a model needs, and nothing that would have to be unpickled or run.

    Raises:
        ValueError: There are no safetensors and `torch_weights` isn't set.
    """
    wanted = [*TOKENIZER_AND_CONFIG, "*.bin" if model.torch_weights else "*.safetensors"]
    snapshot_download(model.repository, revision=model.revision, allow_patterns=wanted, local_dir=folder)
    if not model.torch_weights and not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"{model.repository} has no safetensors\n  found:    {sorted(path.name for path in folder.iterdir())}\n"
            "  expected: *.safetensors\nhint: torch_weights: true reads weights only, and saves them as safetensors"
        )
    return folder


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="models.<name> seed")
    flags.path("source", "nothing: the model is fetched", optional=True)
    flags.folder("out", "folder to write the model to")
    args, (model, _) = flags.start(argv)
    fetched = fetch(model, args.out.with_name(f".{args.out.name}.fetched"))  # a killed download goes on from there
    with artifact(args.out) as out:
        if model.torch_weights:
            models.convert(fetched, out)
            models.load_tokenizer(fetched).save_pretrained(out)
        else:
            shutil.copytree(fetched, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".cache"))
        models.check_tokenizer(models.load_tokenizer(out), fetched)
    shutil.rmtree(fetched)
    logger.info(f"base {args.out.name}: {model.repository} at {model.revision}")


if __name__ == "__main__":
    run(main)
