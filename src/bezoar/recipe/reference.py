"""The pages of docs/reference/params: every key of params.yaml with its form, default and meaning, from the schema.

`make format` writes them; the texts are those of the blocks' classes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bezoar.files import whole
from bezoar.recipe.recipe import SECTIONS
from bezoar.recipe.schema import schema

Schema = dict[str, Any]
HEAD = "This page is written by `make format` from `src/bezoar/`."
TABLE = ("| key | form | default | says |", "|---|---|---|---|")
NAME = "^[a-z][a-z0-9_]*$"
KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
}
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


def pages() -> dict[str, str]:
    """By name of a file, the text of each page: one for each section of blocks, and one for all other keys."""
    recipe = schema()
    return {"index.md": _index(recipe)} | {f"{one}.md": _section(recipe, one) for one in SECTIONS}


def write(folder: Path) -> None:
    """Write all pages, and remove those of sections that are gone."""
    found = pages()
    for path in folder.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        with whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _index(recipe: Schema) -> str:
    top = {name: one for name, one in recipe["properties"].items() if name not in SECTIONS}
    lines = [
        "# params.yaml",
        "",
        "For authors of a recipe: all keys, with their defaults. `bezoar recipe show` prints those of your recipe.",
        HEAD,
        "",
        "## Sections of blocks",
        "",
        "A block's name is yours: lower case letters, digits and `_`. Other blocks refer to it by that name.",
        "",
        "| section | methods or kinds |",
        "|---|---|",
        *(f"| [`{one}`]({one}.md) | {_methods(recipe, one)} |" for one in SECTIONS),
        "",
        "## Other keys",
        "",
        *TABLE,
        *(_row(name, one, recipe) for name, one in top.items()),
        "",
        *_nested(recipe, top.values()),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(recipe: Schema, section: str) -> str:
    lines = [f"# {section}", "", f"For authors of a recipe: the keys of a block in `{section}`. {HEAD}", ""]
    names = _references(_content(recipe, section))
    for name in names:
        lines += _block(name, recipe)
    roots = [recipe["$defs"][name] for name in names]
    return "\n".join([*lines, *_nested(recipe, roots, {*names})]).rstrip("\n") + "\n"


def _content(recipe: Schema, section: str) -> Schema:
    """What stands under a name in a section."""
    [content] = recipe["properties"][section]["patternProperties"].values()
    return dict(content)


def _methods(recipe: Schema, section: str) -> str:
    """The methods or kinds of a section's blocks; none if all blocks are alike."""
    return ", ".join(f"`{one}`" for one in _content(recipe, section).get("discriminator", {}).get("mapping", {}))


def _nested(recipe: Schema, roots: Any, shown: set[str] | None = None) -> list[str]:
    """The blocks that others contain, each after the first block that does."""
    seen, open_ = shown or set(), [name for root in roots for name in _references(root)]
    lines: list[str] = []
    while open_:
        name = open_.pop(0)
        if name not in seen and _fields(recipe["$defs"][name]):
            seen.add(name)
            lines += _block(name, recipe)
            open_[:0] = _references(recipe["$defs"][name])
    return lines


def _fields(block: Schema) -> Schema:
    """The form of a block that has keys; empty if none has. Some blocks may also be a name alone."""
    forms = [block, *block.get("anyOf", [])]
    return next((one for one in forms if "properties" in one), {})


def _title(name: str, recipe: Schema) -> str:
    """The method or kind that picks a block, else the name of its class."""
    fields = _fields(recipe["$defs"][name]).get("properties", {})
    for key in ("method", "kind"):
        words = [fields[key]["const"]] if "const" in fields.get(key, {}) else fields.get(key, {}).get("enum", [])
        if words:
            return f"{key}: {' or '.join(words)}"
    return name


def _block(name: str, recipe: Schema) -> list[str]:
    block = _fields(recipe["$defs"][name])
    required = block.get("required", [])
    rows = [_row(key, one, recipe, key in required) for key, one in block["properties"].items()]
    text = _text(block.get("description", "").split("\n\n")[0])
    return [f"## {_title(name, recipe)}", "", *([text, ""] if text else []), *TABLE, *rows, ""]


def _row(name: str, one: Schema, recipe: Schema, required: bool = False) -> str:
    default = _default(one["default"]) if "default" in one else "needed" if required else ""
    return " | ".join([f"| `{name}`", _form(one, recipe), default, _text(one.get("description", ""))]).rstrip() + " |"


def _text(text: str) -> str:
    """A text for a cell: `<name>` is no tag, and `|` ends no cell."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def _default(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "its own"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _form(one: Schema, recipe: Schema) -> str:
    """What may stand there, in words."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return _reference(name, recipe)
    for union in ("anyOf", "oneOf"):
        if union in one:
            return " or ".join(dict.fromkeys(_form(each, recipe) for each in one[union]))
    if "const" in one:
        return f"`{one['const']}`"
    if "enum" in one:
        return ", ".join(f"`{each}`" for each in one["enum"])
    if one.get("type") == "array":
        return f"list of {_form(one['items'], recipe)}" if "items" in one else "list"
    if one.get("type") == "object":
        within = one.get("additionalProperties") or next(iter(one.get("patternProperties", {}).values()), None)
        return f"map of {_form(within, recipe)}" if isinstance(within, dict) else "map"
    if one.get("pattern") == NAME:
        return "name"
    bounds = [text.format(f"{one[key]:g}").replace("<", "&lt;") for key, text in BOUNDS.items() if key in one]
    return ", ".join([KINDS.get(one.get("type", ""), "any value"), *bounds])


def _reference(name: str, recipe: Schema) -> str:
    block, title = recipe["$defs"][name], _title(name, recipe)
    link = f"[{title}](#{title.lower().replace(':', '').replace(' ', '-')})"
    others = [_form(one, recipe) for one in block.get("anyOf", []) if "properties" not in one]
    return " or ".join([*others, link]) if _fields(block) else "any value"


def _references(one: Any) -> list[str]:
    """The names of blocks that a part of the schema refers to, in order."""

    def walk(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"].rpartition("/")[2]
            for key, value in part.items():
                if key not in ("discriminator", "default"):
                    yield from walk(value)
        elif isinstance(part, list):
            for value in part:
                yield from walk(value)

    return list(dict.fromkeys(walk(one)))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
