"""A base model of the Hugging Face hub, at one revision, in safetensors."""

import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from bezoar.blocks import Commit
from bezoar.errors import InputError, problem
from bezoar.files import artifact, scratch
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock

TOKENIZER_AND_CONFIG = ["*.json", "*.jinja", "tokenizer.model", "*.txt"]


class HubModel(ModelBlock):
    """Weights and tokenizer of the Hugging Face hub at one revision."""

    method: Literal["hub"]
    repository: str
    revision: Commit
    torch_weights: bool = Field(
        False,
        description="True for models without safetensors: reads weights without running code, saves safetensors.",
    )

    def downloads(self) -> bool:
        """Whether it comes over a network."""
        return True


def fetch(model: HubModel, folder: Path) -> Path:
    """Download a model's files, but none that would have to be unpickled or run.

    Raises:
        InputError: It can't be downloaded, or there are no safetensors and `torch_weights` isn't set.
    """
    from huggingface_hub import snapshot_download

    wanted = [*TOKENIZER_AND_CONFIG, "*.bin" if model.torch_weights else "*.safetensors"]
    try:
        snapshot_download(model.repository, revision=model.revision, allow_patterns=wanted, local_dir=folder)
    except (OSError, ValueError) as error:  # huggingface_hub's errors are of these kinds
        raise InputError(
            problem(
                f"{model.repository} can't be downloaded",
                found=str(error).strip().partition("\n")[0] or type(error).__name__,
                expected=f"a model of this name with the revision {model.revision}, and a network",
                hint="a model on this machine: method: local, path: FOLDER",
            )
        ) from error
    if not model.torch_weights and not list(folder.glob("*.safetensors")):
        raise InputError(
            problem(
                f"{model.repository} has no safetensors",
                found=sorted(path.name for path in folder.iterdir()),
                expected="*.safetensors",
                hint="torch_weights: true reads PyTorch weights without running code, and saves them as safetensors",
            )
        )
    return folder


def make(model: HubModel, chat_template: Path | None, out_folder: Path) -> None:
    """Download a model, check its tokenizer, and write both as an artifact; a killed download resumes."""
    from bezoar.steps import models, tokenizers

    fetched = fetch(model, scratch(out_folder) / f".{out_folder.name}.fetched")
    with artifact(out_folder) as out:
        if model.torch_weights:
            models.convert(fetched, out)
            models.load_tokenizer(fetched).save_pretrained(out)
        else:
            ignored = shutil.ignore_patterns(".cache")
            shutil.copytree(fetched, out, ignore=ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)
        template.put(out, chat_template)
        tokenizers.check_tokenizer(models.load_tokenizer(out), fetched)
    shutil.rmtree(fetched)
    logger.info(f"base {out_folder.name}: {model.repository} at {model.revision}")
