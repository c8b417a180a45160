"""A base model from a directory of the repository, copied as an artifact."""

import shutil
from pathlib import Path
from typing import Literal

from bezoar.blocks import ModelPath
from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock

UNSAFE = shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.py")


class LocalModel(ModelBlock):
    """A model directory in the repository, in safetensors."""

    method: Literal["local"]
    path: ModelPath

    def files(self) -> list[str]:
        """Its input files."""
        return [self.path]

    def lacks_template(self) -> bool:
        """Whether there is none in its directory."""
        return Path(self.path).is_dir() and not template.is_in(Path(self.path))


def make(folder: Path, chat_template: Path | None, out_folder: Path) -> None:
    """Copy a model directory, but no files that would have to be unpickled or run.

    Raises:
        ValueError: It isn't a model directory, or its tokenizer differs from the SentencePiece model beside it.
    """
    from bezoar.steps import models, tokenizers

    if not list(folder.glob("*.safetensors")):
        raise InputError(
            problem(f"{folder} is not a model directory", found="no weights", expected="config.json, *.safetensors")
        )
    with artifact(out_folder) as out:
        shutil.copytree(folder, out, ignore=_left_out, copy_function=shutil.copyfile, dirs_exist_ok=True)
        template.put(out, chat_template)
        tokenizers.check_tokenizer(models.load_tokenizer(out), folder)
    logger.info(f"base {out_folder.name}: copied from {folder}")


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Files that would have to be unpickled or run, and folders with nothing else: DVC stores none without files."""
    unsafe = UNSAFE(folder, names)
    return unsafe | {name for name in names if _is_bare(Path(folder, name))}


def _is_bare(path: Path) -> bool:
    names = [one.name for one in path.iterdir()] if path.is_dir() else []
    return path.is_dir() and len(_left_out(str(path), names)) == len(names)
