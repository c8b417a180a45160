"""A base model of this machine: a directory that is read in place, or copied under another chat template, or a GGUF."""

import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bezoar.blocks import ModelPath
from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock

UNSAFE = shutil.ignore_patterns("*.bin", "*.pt", "*.pth", "*.py")


class LocalModel(ModelBlock):
    """A model directory on this machine, in safetensors. It is read in place if it has the chat template to use."""

    method: Literal["local"]
    path: ModelPath = Field(description="Its directory: in the project or outside, also by ~ or a link.")
    file: Annotated[str, Field(pattern=r"^[^/]+\.gguf$")] | None = Field(
        None, description="A GGUF file in it, which is dequantised; null takes the directory as it is."
    )

    @property
    def in_place(self) -> bool:
        """Whether its own directory is what stages start from."""
        return not self.file and not self.templates()

    @property
    def folder(self) -> str:
        """Its own directory, or the artifact that is made of it."""
        return self.path if self.in_place else super().folder

    def files(self) -> list[str]:
        """Its input file or folder."""
        return [f"{self.path}/{self.file}" if self.file else self.path]

    def stage_names(self) -> list[str]:
        """None for a model that is read in place."""
        return [] if self.in_place else super().stage_names()

    def lacks_template(self) -> bool:
        """Whether there is none in its directory."""
        return not self.file and Path(self.path).is_dir() and not template.is_in(Path(self.path))

    def lacks_weights(self) -> bool:
        """Whether there are none in its directory."""
        wanted = self.file or "*.safetensors"
        return Path(self.path).is_dir() and not any(Path(self.path).glob(wanted))


def make(source: Path, chat_template: Path | None, out_folder: Path) -> None:
    """Copy a model directory, but no files that would have to be unpickled or run; or dequantise a GGUF file.

    Raises:
        ValueError: It isn't a model directory, or its tokenizer differs from the SentencePiece model beside it.
    """
    from bezoar.steps import models
    from bezoar.steps.base import gguf

    if source.is_dir() and not list(source.glob("*.safetensors")):
        raise InputError(
            problem(f"{source} is not a model directory", found="no weights", expected="config.json, *.safetensors")
        )
    with artifact(out_folder) as out:
        if source.is_dir():
            shutil.copytree(source, out, ignore=_left_out, copy_function=shutil.copyfile, dirs_exist_ok=True)
        else:
            gguf.convert(source, out)
        template.put(out, chat_template)
        models.load_tokenizer(out)  # checks it
    logger.info(f"base {out_folder.name}: {'copied' if source.is_dir() else 'dequantised'} from {source}")


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Files that would have to be unpickled or run, and folders with nothing else: DVC stores none without files."""
    unsafe = UNSAFE(folder, names)
    return unsafe | {name for name in names if _is_bare(Path(folder, name))}


def _is_bare(path: Path) -> bool:
    names = [one.name for one in path.iterdir()] if path.is_dir() else []
    return path.is_dir() and len(_left_out(str(path), names)) == len(names)
