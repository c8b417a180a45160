"""The JSON schema of params.yaml, for editors: types, choices, ranges and defaults of every key.

`make format` writes it to params.schema.json. `bezoar recipe check` also checks whether names refer to blocks
and files exist.
"""

import json
from typing import Any

from bezoar.recipe.recipe import SECTIONS, Recipe
from bezoar.text import show


def schema() -> dict[str, Any]:
    """The schema of a recipe as a user writes it, which may be short."""
    found = Recipe.model_json_schema()
    blocks = found["$defs"]
    blocks["Part"] = _or_name(blocks["Part"])
    blocks["Harness"]["properties"]["tasks"] = _or_list(blocks["Harness"]["properties"]["tasks"])
    blocks["Source"] = _or_path(blocks["Source"], blocks["File"])
    for section in SECTIONS:
        found["properties"][section]["additionalProperties"] = False  # of names that don't fit
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _or_name(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a mix, or its name alone."""
    return {"description": part["description"], "anyOf": [part["properties"]["name"], part]}


def _or_list(tasks: dict[str, Any]) -> dict[str, Any]:
    """Tasks as a map of settings by name, or as a list of names and of blocks with a name."""
    name = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}
    block = {"type": "object", "required": ["name"], "properties": {"name": name}}
    as_map = {key: value for key, value in tasks.items() if key not in ("description", "title")}
    as_list = {"type": "array", "minItems": 1, "items": {"anyOf": [name, block]}}
    return {"description": tasks["description"], "anyOf": [as_list, as_map]}


def _or_path(source: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """A source with its origin, or with the path of a file in place of it."""
    short = {name: file["properties"][name] for name in ("path", "sha256")}
    forms = [
        {"required": ["origin"], "properties": dict.fromkeys(short, False)},
        {"required": ["path"], "properties": {"origin": False}},
    ]
    return {**source, "properties": {**source["properties"], **short}, "required": [], "oneOf": forms}


def text() -> str:
    """The content of params.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    show(text(), end="")
