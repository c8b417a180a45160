"""Problems of a params file as text: place, found, expected, hint."""

import difflib
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bezoar import errors, yaml12
from bezoar.errors import InputError

KeyPath = tuple[str | int, ...]
Kind = TypeVar("Kind", bound=BaseModel)
NO_KEY, MISSING, NO_FIT = "no such key", "the key is missing", "the value does not fit"
DISCRIMINATORS = ("kind", "method")  # keys that select the kind of a block
EXPECTED = {
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "too_short": "{min_length} or more entries",
    "string_pattern_mismatch": "text that matches {pattern}",
}


class RecipeError(InputError):
    """A params file is not a recipe; the message lists every problem that was found."""


@dataclass(frozen=True)
class Problem:
    """One problem, at one key."""

    key: KeyPath
    what: str
    found: str
    expected: str
    hint: str = ""

    def below(self, *around: str | int) -> "Problem":
        """The same, with its key below another."""
        return replace(self, key=(*around, *self.key))


def unknown(key: KeyPath, what: str, found: str, known: Iterable[str]) -> Problem:
    """An unknown name, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else ""
    return Problem(key, what, found, ", ".join(names) or "nothing of this kind is defined", hint)


def report(path: str, problems: list[Problem], lines: dict[KeyPath, int]) -> str:
    """All problems as text, in the order of their lines."""
    texts = []
    for problem in sorted(problems, key=lambda one: _line(one.key, lines)):
        place = ".".join(map(str, problem.key)) or "the file"
        what = f"{path}:{_line(problem.key, lines)}: {place}: {problem.what}"
        texts.append(errors.problem(what, found=problem.found, expected=problem.expected, hint=problem.hint))
    return "\n".join(texts)


def _line(key: KeyPath, lines: dict[KeyPath, int]) -> int:
    """The line of a key, or of the innermost block around it that exists."""
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key, 1)


def text_of(path: Path) -> str:
    """The text of a params file.

    Raises:
        RecipeError: The file is missing, can't be read, or isn't UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            errors.problem(
                f"{path}:{line}: not UTF-8",
                found=f"byte 0x{error.object[error.start]:02x}",
                expected="text in UTF-8",
                hint="save the file as UTF-8; it may be in Latin-1",
            )
        ) from error
    except OSError as error:
        found = "nothing" if isinstance(error, FileNotFoundError) else error.strerror
        here = "run `bezoar recipe use tiny`" if Path("recipes").is_dir() else "run this in a clone of the repository"
        raise RecipeError(
            errors.problem(f"{path}: no params file here", found=found, expected="a recipe", hint=here)
        ) from error


def parsed(text: str, path: Path) -> Any:
    """A params file's content, as DVC reads it.

    Raises:
        RecipeError: It isn't YAML.
    """
    try:
        return yaml12.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        context, found = getattr(error, "context", None), getattr(error, "problem", None) or str(error)
        what = f"{path}:{mark.line + 1 if mark else 1}: not YAML"
        text = errors.problem(what, found=f"{found}, {context}" if context else found, expected="a recipe in YAML")
        raise RecipeError(text) from error


def lines_of(path: str, text: str) -> dict[KeyPath, int]:
    """Line number, from 1, of every key and list item.

    Raises:
        RecipeError: A map has one key twice (YAML itself would silently take the last), or a block contains itself.
    """
    lines: dict[KeyPath, int] = {}

    def walk(node: yaml.Node | None, key: KeyPath, around: tuple[yaml.Node, ...] = ()) -> None:
        if any(node is one for one in around):
            raise RecipeError(
                errors.problem(
                    f"{path}:{lines[key]}: {'.'.join(map(str, key))}: the block contains itself",
                    found="an alias of a block around it",
                    expected="blocks that end",
                )
            )
        around = (*around, node) if node else around
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                inner = (*key, name.value)
                line = name.start_mark.line + 1
                if inner in lines:
                    raise RecipeError(
                        errors.problem(
                            f"{path}:{line}: {'.'.join(map(str, inner))}: the key is in one block twice",
                            found=f"lines {lines[inner]} and {line}",
                            expected="once",
                        )
                    )
                lines[inner] = line
                walk(value, inner, around)
        elif isinstance(node, yaml.SequenceNode):
            for position, value in enumerate(node.value):
                lines[(*key, position)] = value.start_mark.line + 1
                walk(value, (*key, position), around)

    walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
    return lines


def of_validation(error: ValidationError, data: object, schema: type[BaseModel]) -> list[Problem]:
    """Pydantic's errors as problems: one for each mistake, with the user's names of places."""
    problems: dict[tuple[KeyPath, str], Problem] = {}
    for finding in error.errors(include_url=False):
        problem = _of_finding(finding, data, schema)
        other = problems.get((problem.key, problem.what))  # another member of the same union
        if other:
            problem = replace(other, expected=f"{other.expected} or {problem.expected}")
        problems[problem.key, problem.what] = problem
    problems = {place: replace(one, hint=one.hint or _pin_hint(one)) for place, one in problems.items()}
    meant = {(*one.key[:-1], one.hint.split("`")[1]) for one in problems.values() if one.what == NO_KEY and one.hint}
    around = {one.key[:length] for one in problems.values() for length in range(len(one.key))}
    return [
        one
        for one in problems.values()
        if not (one.what == MISSING and one.key in meant)
        and not (one.what == NO_FIT and one.key in around)  # a text may stand there, too; the block's own key is wrong
    ]


def _of_finding(finding: Any, data: object, schema: type[BaseModel]) -> Problem:
    place = finding["loc"]
    kind, context, found = finding["type"], finding.get("ctx", {}), finding["input"]
    key = _data_key(place, data, absent=kind == "missing" or place[-1:] == ("[key]",))
    if kind == "extra_forbidden":
        return unknown(key, NO_KEY, str(place[-1]), _fields(place[:-1], schema))
    if kind == "missing":
        return Problem(key, MISSING, "nothing", f"`{place[-1]}`, {_wanted(place, schema)}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        name = context["discriminator"].strip("'")
        if kind == "union_tag_not_found":
            near = difflib.get_close_matches(name, map(str, found), n=1)
            hint = f"is `{near[0]}` meant for it?" if near else ""
            return Problem((*key, name), MISSING, "nothing", f"`{name}`: {_tags(place, schema, name)}", hint)
        tags = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        return unknown((*key, name), f"unknown {name}", str(context["tag"]), tags)
    if place and place[-1] == "[key]":
        return Problem(key[:-1], "the name does not fit", repr(found), "a to z, 0 to 9 and _, a letter first")
    if kind == "literal_error" and isinstance(found, str):
        return unknown(key, NO_FIT, found, re.findall(r"'([^']*)'", context["expected"]))
    if kind in EXPECTED:
        expected = EXPECTED[kind].format(**context)
    else:
        expected = str(context.get("expected", finding["msg"])).removeprefix("Input should be ")
        expected += ", or null" if kind == "literal_error" and _may_be_null(place, schema) else ""
    return Problem(key, NO_FIT, repr(found), expected, _number_hint(found) if "number" in expected else "")


def _pin_hint(found: Problem) -> str:
    """A hint for a value that a command finds out."""
    open_values = [("revision",), ("sha256",)] if found.found in ("nothing", "None") else [("revision",)]
    known = found.key[:1] in (("sources",), ("models",)) and found.key[-1:] in open_values
    return "`bezoar recipe pin` finds it out and writes it" if known else ""


def _number_hint(found: object) -> str:
    """A hint for a number that YAML read as text, such as '5e-6'."""
    if isinstance(found, str) and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", found):
        return "YAML reads a number in quotes as text: remove the quotes"
    return ""


def _data_key(place: tuple[str | int, ...], data: object, absent: bool) -> KeyPath:
    """A place in the data: pydantic's, without the tags of unions.

    Args:
        place: Pydantic's.
        data: The data.
        absent: Whether its last part is a name that isn't in the data.
    """
    key: list[str | int] = []
    tagged = False
    for position, part in enumerate(place):
        if not tagged and isinstance(data, dict) and part in [data.get(name) for name in DISCRIMINATORS]:
            tagged = True  # the tag may be a key as well: an origin of kind url has a key url
            continue
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data, tagged = data[part], False  # type: ignore[index]
            key.append(part)
        elif absent and position == len(place) - 1 and isinstance(data, dict):
            key.append(part)
    return tuple(key)


def _fields(place: tuple[str | int, ...], schema: Any) -> list[str]:
    """The keys that a block at this place may have."""
    for part in place:
        schema = _inner(schema, part)
    models = [model for model in _alternatives(schema) if isinstance(model, type) and issubclass(model, BaseModel)]
    return sorted({name for model in models for name in model.model_fields})


def _may_be_null(place: tuple[str | int, ...], schema: Any) -> bool:
    for part in place:
        schema = _inner(schema, part)
    return type(None) in _alternatives(schema)


def _wanted(place: tuple[str | int, ...], schema: Any) -> str:
    """The value that a missing key needs: its type, choices or range, its description, and an example."""
    for part in place[:-1]:
        schema = _inner(schema, part)
    field = next(
        model.model_fields[str(place[-1])]
        for model in _alternatives(schema)
        if isinstance(model, type) and issubclass(model, BaseModel) and place[-1] in model.model_fields
    )
    kinds = [_kind(one) for one in _alternatives(field.annotation)]
    about = f" ({field.description.rstrip('.')})" if field.description else ""
    return f"{' or '.join(kinds)}{about}; such as `{place[-1]}: {_example(field.annotation)}`"


def _tags(place: tuple[str | int, ...], schema: Any, name: str) -> str:
    """The tags of a union's members."""
    for part in place:
        schema = _inner(schema, part)
    found = [typing.get_args(model.model_fields[name].annotation) for model in _alternatives(schema)]
    return " or ".join(str(tag) for tags in found for tag in tags)


KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
EXAMPLES: dict[Any, str] = {int: "1", float: "0.1", str: "name", bool: "true"}


def _kind(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(map(str, typing.get_args(annotation)))
    if origin is list:
        return "a list"
    return KINDS.get(annotation, "a block of keys")


def _example(annotation: Any) -> str:
    first = _alternatives(annotation)[0]
    origin = typing.get_origin(first)
    if origin is typing.Literal:
        return str(typing.get_args(first)[0])
    if origin is list:
        return f"[{_example(typing.get_args(first)[0])}]"
    if isinstance(first, type) and issubclass(first, BaseModel):
        needed = [name for name, field in first.model_fields.items() if field.is_required()]
        return "{" + ", ".join(f"{name}: {_example(first.model_fields[name].annotation)}" for name in needed) + "}"
    return EXAMPLES.get(first, "{}")


def _inner(schema: Any, part: str | int) -> Any:
    alternatives = _alternatives(schema)
    if len(alternatives) > 1 and (tagged := [option for option in alternatives if _has_tag(option, part)]):
        return tagged[0]  # before a key of the same name: an origin of kind url has a key url
    for option in alternatives:
        if isinstance(option, type) and issubclass(option, BaseModel):
            if part in option.model_fields:
                return option.model_fields[str(part)].annotation
        elif typing.get_origin(option) in (dict, list):
            return typing.get_args(option)[-1]
    return schema


def _has_tag(option: Any, part: str | int) -> bool:
    """Whether a member of a union is selected by a tag."""
    fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
    return any(part in typing.get_args(fields[name].annotation) for name in DISCRIMINATORS if name in fields)


def _alternatives(schema: Any) -> list[Any]:
    """The members of a union, through Annotated."""
    while typing.get_origin(schema) is typing.Annotated:
        schema = typing.get_args(schema)[0]
    members = typing.get_args(schema) if typing.get_origin(schema) not in (dict, list, typing.Literal) else ()
    return [leaf for member in members for leaf in _alternatives(member)] or [schema]


def read_yaml(path: Path | str, kind: type[Kind]) -> Kind:
    """A YAML file as an instance of a class.

    Raises:
        ValueError: The file isn't YAML, or doesn't fit; the message has every problem with its line.
    """
    data, text = yaml_of(path)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = lines_of(str(path), text)
        raise InputError(report(str(path), of_validation(error, data, kind), lines)) from error


def yaml_of(path: Path | str) -> tuple[Any, str]:
    """The content of a YAML file of prompts or prices, and its text; raises ValueError if it isn't YAML."""
    text = Path(path).read_text(encoding="utf-8")
    try:
        return yaml.safe_load(text), text
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        text = errors.problem(f"{path}:{line}: not YAML", found=error.problem, expected="YAML")
        raise InputError(text) from error
