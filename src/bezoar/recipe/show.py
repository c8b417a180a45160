"""`bezoar recipe show`: every value of the recipe, with its origin."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bezoar.problems import KeyPath
from bezoar.recipe.load import load, read
from bezoar.recipe.unrolled import Unrolled, line_of


def shown(path: Path) -> str:
    """The whole recipe as YAML, each value with its line in the file or the source of its default.

    Blocks of loops and matrices are shown as the ordinary blocks that they become, with the line that they come from.

    Raises:
        RecipeError: The file isn't a recipe.
    """
    load(path)  # checks it
    recipe, made = read(path)
    return "\n".join(_rows(recipe, (), _Origins(made, str(path))))


class _Origins:
    """Where values come from, in words."""

    def __init__(self, made: Unrolled, path: str) -> None:
        self._made, self._path = made, path

    def of(self, key: KeyPath, default: str | None) -> str:
        """The origin of a value; if it has no line of its own, its default's, or the block's around it."""
        line = line_of(key, self._made.lines)
        if line is None and default is not None:
            return default
        around = (line_of(key[:length], self._made.lines) for length in range(len(key) - 1, 0, -1))
        line = line or next(found for found in around if found)
        label = self._made.made.get((str(key[0]), str(key[1]))) if len(key) > 1 else None
        return f"{self._path}:{line}{f' ({label})' if label else ''}"


def _rows(block: BaseModel, around: KeyPath, origins: _Origins) -> Iterator[str]:
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if field.exclude_if is None or not field.exclude_if(value):
            is_default = value == field.get_default(call_default_factory=True)
            default = _default(field.description or "") if is_default else None
            yield from _entry((*around, name), value, origins.of((*around, name), default), origins)


def _entry(key: KeyPath, value: Any, origin: str, origins: _Origins) -> Iterator[str]:
    indent = "  " * (len(key) - 1)
    if isinstance(value, BaseModel):
        yield f"{indent}{key[-1]}:"
        yield from _rows(value, key, origins)
    elif isinstance(value, dict) and any(isinstance(one, BaseModel) for one in value.values()):
        yield f"{indent}{key[-1]}:"
        for name, one in value.items():
            yield from _entry((*key, name), one, origin, origins)
    else:
        plain = [_plain(one) for one in value] if isinstance(value, list) else value
        yield f"{indent}{key[-1]}: {json.dumps(plain, ensure_ascii=False)}  # {origin}"


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _default(description: str) -> str:
    """The origin of a default, with its source if the class names one."""
    _, mark, source = description.partition("Default: ")
    return f"default: {source.rstrip('.')}" if mark else "default"
