"""A base model from a directory of this machine: read in place, or copied under another chat template."""

import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from bezoar.blocks import FolderPath
from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock

UNSAFE = shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.py")


class LocalModel(ModelBlock):
    """A model directory on this machine, in safetensors. It is read in place if it has the chat template to use."""

    method: Literal["local"]
    path: FolderPath = Field(description="Its directory: in the project or outside, also by ~ or a link.")

    @property
    def folder(self) -> str:
        """Its own directory; the copy that has the other chat template, if the recipe names one."""
        return super().folder if self.templates() else os.path.expanduser(self.path)

    def files(self) -> list[str]:
        """Its input files."""
        return [os.path.expanduser(self.path)]

    def stage_names(self) -> list[str]:
        """None for a model that is read in place."""
        return super().stage_names() if self.templates() else []

    def lacks_template(self) -> bool:
        """Whether there is none in its directory."""
        folder = Path(self.path).expanduser()
        return folder.is_dir() and not template.is_in(folder)

    def lacks_weights(self) -> bool:
        """Whether there are none in its directory."""
        folder = Path(self.path).expanduser()
        return folder.is_dir() and not any(folder.glob("*.safetensors"))


def make(folder: Path, chat_template: Path | None, out_folder: Path) -> None:
    """Copy a model directory, but no files that would have to be unpickled or run.

    Raises:
        ValueError: It isn't a model directory, or its tokenizer differs from the SentencePiece model beside it.
    """
    from bezoar.steps import models

    if not list(folder.glob("*.safetensors")):
        raise InputError(
            problem(f"{folder} is not a model directory", found="no weights", expected="config.json, *.safetensors")
        )
    with artifact(out_folder) as out:
        shutil.copytree(folder, out, ignore=_left_out, copy_function=shutil.copyfile, dirs_exist_ok=True)
        template.put(out, chat_template)
        models.load_tokenizer(out)  # checks it
    logger.info(f"base {out_folder.name}: copied from {folder}")


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Files that would have to be unpickled or run, and folders with nothing else: DVC stores none without files."""
    unsafe = UNSAFE(folder, names)
    return unsafe | {name for name in names if _is_bare(Path(folder, name))}


def _is_bare(path: Path) -> bool:
    names = [one.name for one in path.iterdir()] if path.is_dir() else []
    return path.is_dir() and len(_left_out(str(path), names)) == len(names)
