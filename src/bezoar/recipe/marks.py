"""Find values of a recipe by marks on their types: names of other blocks, paths that have to exist."""

import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

from bezoar.problems import KeyPath

Mark = TypeVar("Mark")


def marked(block: BaseModel, kind: type[Mark], around: KeyPath = ()) -> Iterator[tuple[KeyPath, Mark, str]]:
    """Every value whose type has a mark of a class, with its key and its mark.

    Args:
        block: The recipe, or a part of it.
        kind: Class of the mark.
        around: KeyPath of the block.
    """
    for name, field in type(block).model_fields.items():
        yield from _walk((*around, name), getattr(block, name), field.annotation, list(field.metadata), kind)


def _walk(key: KeyPath, value: Any, annotation: Any, metadata: list[Any], kind: type[Mark]) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        yield from marked(value, kind, key)
        return
    members = list(_members(annotation, metadata))
    if isinstance(value, list | dict):
        inner = next((typing.get_args(one)[-1] for one, _ in members if typing.get_origin(one) is type(value)), Any)
        for place, one in enumerate(value) if isinstance(value, list) else value.items():
            yield from _walk((*key, place), one, inner, [], kind)
    elif value is not None and not any(_is_word(one, value) for one, _ in members):
        yield from ((key, mark, value) for _, marks in members for mark in marks if isinstance(mark, kind))


def _is_word(annotation: Any, value: Any) -> bool:
    """Whether a value is a word of the schema, and so no name and no path."""
    return typing.get_origin(annotation) is typing.Literal and value in typing.get_args(annotation)


def _members(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The members of a union, each with its annotations."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        yield from _members(inner, [*metadata, *more])
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from _members(one, metadata)
    else:
        yield annotation, metadata
