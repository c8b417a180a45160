"""`bezoar recipe show`: every value of the recipe, with its origin."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bezoar.problems import KeyPath, lines_of, text_of
from bezoar.recipe.load import load

MERGE = "<<"


def shown(path: Path) -> str:
    """The whole recipe as YAML, each value with its line in the file or the source of its default.

    Raises:
        RecipeError: The file isn't a recipe.
    """
    recipe = load(path)
    lines = lines_of(str(path), text_of(path))
    return "\n".join(_rows(recipe, (), lines, str(path)))


def _rows(block: BaseModel, around: KeyPath, lines: dict[KeyPath, int], path: str) -> Iterator[str]:
    for name, field in type(block).model_fields.items():
        key = (*around, name)
        value = getattr(block, name)
        if field.exclude_if and field.exclude_if(value):
            continue  # it is no value of a recipe
        line = _line(key, lines)
        if line is None and value != field.get_default(call_default_factory=True):
            line = next(found for length in range(len(key) - 1, 0, -1) if (found := _line(key[:length], lines)))
        origin = f"{path}:{line}" if line else _default(field.description or "")
        yield from _entry(key, value, origin, lines, path)


def _entry(key: KeyPath, value: Any, origin: str, lines: dict[KeyPath, int], path: str) -> Iterator[str]:
    indent = "  " * (len(key) - 1)
    if isinstance(value, BaseModel):
        yield f"{indent}{key[-1]}:"
        yield from _rows(value, key, lines, path)
    elif isinstance(value, dict) and any(isinstance(one, BaseModel) for one in value.values()):
        yield f"{indent}{key[-1]}:"
        for name, one in value.items():
            yield from _entry((*key, name), one, origin, lines, path)
    else:
        plain = [_plain(one) for one in value] if isinstance(value, list) else value
        yield f"{indent}{key[-1]}: {json.dumps(plain, ensure_ascii=False)}  # {origin}"


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _default(description: str) -> str:
    """The origin of a default, with its source if the class names one."""
    _, mark, source = description.partition("Default: ")
    return f"default: {source.rstrip('.')}" if mark else "default"


def _line(key: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    """The line that a value comes from, perhaps by a merge (`<<`) of another block."""
    if key in lines:
        return lines[key]
    for place in range(len(key) - 1, 0, -1):
        merged = (*key[:place], MERGE, *key[place:])
        if merged in lines:
            return lines[merged]
    return None
