"""A weighted mean of checkpoints of one architecture and tokenizer: a soup (Wortsman et al. 2022, arXiv:2203.05482).

The files of the first checkpoint are written one by one, so never more than one file of weights is in memory. Each
weight is averaged in float64 and rounded once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import Block, Name, Reference
from bezoar.errors import InputError, problem
from bezoar.files import artifact, readable
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock

if TYPE_CHECKING:
    import torch  # slow to import, and every recipe imports its models

INDEX = "model.safetensors.index.json"
FREE = {"_name_or_path", "transformers_version"}  # keys of config.json that say nothing about the weights


class Member(Block):
    """A checkpoint of a soup."""

    checkpoint: Annotated[Name, Reference(("models", "stages"), "a soup of a checkpoint that nothing builds")]
    weight: float = Field(1.0, gt=0, description="Its share is its weight among the weights of all.")


class Soup(ModelBlock):
    """The weighted mean of checkpoints that have one architecture and one tokenizer."""

    method: Literal["soup"]
    of: list[Member] = Field(min_length=2, description="Its checkpoints. Tokenizer and files are those of the first.")

    @field_validator("of")
    @classmethod
    def _once(cls, of: list[Member]) -> list[Member]:
        if len({one.checkpoint for one in of}) < len(of):
            raise PydanticCustomError("once", "each checkpoint once, with a weight")
        return of

    def checkpoints(self) -> list[str]:
        """Names of its checkpoints."""
        return [one.checkpoint for one in self.of]

    def shares(self) -> list[float]:
        """The factors of its checkpoints; their sum is 1."""
        total = sum(one.weight for one in self.of)
        return [one.weight / total for one in self.of]

    def __str__(self) -> str:
        """What it is made of, in words."""
        return " + ".join(
            f"{share:.4g} x {name}" for name, share in zip(self.checkpoints(), self.shares(), strict=True)
        )


def make(folders: list[Path], chat_template: Path | None, block: Soup, out_folder: Path) -> None:
    """Write the mean of checkpoints as a model directory.

    Raises:
        InputError: They differ in architecture, tokenizer, names, shapes or number formats of weights.
    """
    from safetensors.torch import save_file

    from bezoar.steps import models

    check(folders)
    first, shares = folders[0], block.shares()
    files = [_files(folder) for folder in folders]
    count = 0
    with artifact(out_folder) as out:
        for path in sorted(first.glob("*.safetensors")):
            mixed = dict(_mixed(path, files, shares))
            count += sum(one.numel() for one in mixed.values())
            save_file(mixed, out / path.name, metadata={"format": "pt"})
        for name in ("config.json", "generation_config.json", INDEX):
            if (first / name).exists():
                (out / name).write_bytes((first / name).read_bytes())
        models.save_tokenizer(first, out)
        models.save_generation_config(out)
        template.put(out, chat_template)
        readable(out)
    logger.info(f"base {out_folder.name}: {count:,} parameters, {block}")


def check(folders: list[Path]) -> None:
    """Refuse checkpoints whose mean would be no model.

    Raises:
        InputError: They differ in architecture, tokenizer, names, shapes or number formats of weights.
    """
    first, *others = folders
    config, tokenizer, weights = _config(first), _tokenizer(first), _weights(first)
    for other in others:
        _same(first, other, "config.json", config, _config(other))
        _same(first, other, "the tokenizer's", tokenizer, _tokenizer(other))
        _same(first, other, "the weights'", weights, _weights(other))


def _same(first: Path, second: Path, what: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises InputError with the first key that differs."""
    for key in sorted(wanted.keys() | found.keys()):
        one, other = (side.get(key, "nothing") for side in (wanted, found))
        if one != other:
            raise InputError(
                problem(
                    f"{second} and {first} can't be averaged: {what} {key} differs",
                    found=str(other)[:200],
                    expected=str(one)[:200],
                    hint="a soup is made of checkpoints that were trained from one base model",
                )
            )


def _config(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in FREE}


def _tokenizer(folder: Path) -> dict[str, Any]:
    from bezoar.steps.models import load_tokenizer

    found = load_tokenizer(folder)
    backend = getattr(found, "backend_tokenizer", None)
    return {
        "vocabulary": found.get_vocab(),
        "special tokens": found.special_tokens_map,
        "chat template": found.chat_template,
        "rules": backend.to_str() if backend else None,
    }


def _weights(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Shapes and number formats by name."""
    from safetensors import safe_open

    found = {}
    for name, path in _files(folder).items():
        with safe_open(path, framework="pt") as file:
            part = file.get_slice(name)
            found[name] = (part.get_shape(), part.get_dtype())
    return found


def _files(folder: Path) -> dict[str, Path]:
    """The file of each weight."""
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _mixed(path: Path, files: list[dict[str, Path]], shares: list[float]) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a file of the first checkpoint, averaged; what isn't a floating-point number is the first's."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = sorted(file.keys())
    for name in names:
        total: Any = 0.0
        for one, share in zip(files, shares, strict=True):
            with safe_open(one[name], framework="pt") as file:
                tensor = file.get_tensor(name)
            if not tensor.is_floating_point():
                total = tensor
                break
            total = total + share * tensor.double()
        yield name, total.to(tensor.dtype).contiguous()
