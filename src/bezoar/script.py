"""The frame of all scripts: flags, the log, values of params.yaml, and the exit status."""

import argparse
import atexit
import gc
import os
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bezoar import logs, yaml12
from bezoar.blocks import NamedBlock
from bezoar.errors import BezoarError, InputError, problem
from bezoar.files import check_empty

# A script's imports are a million objects and no garbage. Repeated collections, and one at the end, took a third of the
# CPU time of a small job (docs/appendix/benchmarks.md). Objects outside cycles are freed as before.
gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)

STRICT = (int, float, str, bool)  # blocks are strict themselves


class Flags(argparse.ArgumentParser):
    """A script's flags: the common ones and its own.

    Args:
        description: What the script does; help shows its first line.
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(description=(description or "").split("\n", 1)[0])
        self.add_argument("--log", type=Path, help="file to log to, beside stderr")
        self.folders: list[str] = []

    def path(self, name: str, text: str, *, many: bool = False, optional: bool = False) -> None:
        """A flag with one path, with `many` any number of paths, or with `optional` at most one."""
        count = "*" if many else "?" if optional else None
        self.add_argument(
            f"--{name}",
            type=Path,
            nargs=count,
            required=not (many or optional),
            default=[] if many else None,
            help=text,
        )

    def folder(self, name: str, text: str) -> None:
        """A flag with the folder of a new artifact; `start` refuses a folder with files."""
        self.path(name, text)
        self.folders.append(name)

    def start(self, argv: list[str] | None, **takes: Any) -> list[Any]:
        """The parsed flags, then the values of --params in the order of `takes`; opens the log.

        Args:
            argv: The command line.
            takes: Type of each value by role. A block class takes a block (`stages.dpo_hh`) or single keys of one
                (`evals.mtbench.batch_size`), also those of its maps (`evals.harness.tasks.arc_easy`); any other type
                takes the key with the role's name (`seed=int`). A value may be missing if its type allows None.
                `dict[str, KIND]` takes any number of blocks by name.

        Raises:
            SystemExit: The flags don't fit; the message is on stderr.
            InputError: A key is missing in the params file, a value doesn't fit, or the folder of a new artifact
                contains files.
        """
        forms = " ".join(_form(role, kind) for role, kind in takes.items())
        text = f"keys of params.yaml: {forms or 'none'}"
        self.add_argument("--params", nargs="+", required=bool(takes), default=[], metavar="NAME", help=text)
        args = self.parse_args(argv)
        found = {role: [name for name in args.params if _takes(role, kind, name)] for role, kind in takes.items()}
        missing = [role for role, names in found.items() if not names and not _may_be_none(takes[role])]
        unknown = set(args.params) - {name for names in found.values() for name in names}
        several = [role for role in takes if not _is_map(takes[role]) and len({_block(one) for one in found[role]}) > 1]
        if missing or unknown or several:
            self.error(problem("--params", found=" ".join(args.params), expected=f"{forms or 'none'}, in any order"))
        for variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            os.environ.setdefault(variable, "1")
        for name in self.folders:
            check_empty(getattr(args, name))  # now, since hours of work may pass before it is written
        logs.setup(args.log)
        path = params_file()
        params = yaml12.load(path.read_text(encoding="utf-8"))
        return [args, *(_value(path, params, kind, found[role]) for role, kind in takes.items())]


def params_file() -> Path:
    """The file with a script's values: the run's copy, else params.resolved.yaml, else params.yaml."""
    if given := os.environ.get("BEZOAR_PARAMS"):
        return Path(given)
    generated = Path("params.resolved.yaml")
    return generated if generated.exists() else Path("params.yaml")


def _members(kind: Any) -> list[Any]:
    """The types of a union, through Annotated; another type by itself."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [one for member in typing.get_args(kind) for one in _members(member)]
    return [kind]


def _is_map(kind: Any) -> bool:
    """Whether a type is a map of blocks by name."""
    return typing.get_origin(kind) is dict


def _section(kind: Any) -> str:
    """The section of a block class, of a union of such classes, or of a map of such blocks."""
    first = _members(typing.get_args(kind)[1] if _is_map(kind) else kind)[0]
    return first.section if isinstance(first, type) and issubclass(first, NamedBlock) else ""


def _may_be_none(kind: Any) -> bool:
    return types.NoneType in _members(kind)


def _form(role: str, kind: Any) -> str:
    """A value's name on the command line."""
    name = f"{_section(kind)}.<{role}>" if _section(kind) else role
    return f"[{name}]" if _may_be_none(kind) else name


def _takes(role: str, kind: Any, name: str) -> bool:
    section, *rest = name.split(".")
    return section == _section(kind) and 1 <= len(rest) <= 3 if _section(kind) else name == role


def _block(name: str) -> str:
    """The block of a name: `evals.mtbench` for `evals.mtbench.batch_size`."""
    return ".".join(name.split(".")[:2])


def _value(path: Path, params: Any, kind: Any, names: list[str]) -> Any:
    """The values of the params file under these names, as their type."""
    if not names:
        return None
    if _is_map(kind):
        return {_block(name).split(".")[1]: _value(path, params, typing.get_args(kind)[1], [name]) for name in names}
    parts = {name: _found(path, params, name) for name in names}
    keys: dict[str, Any] = {}
    for name, part in parts.items():
        match name.split(".")[2:]:
            case [key]:
                keys[key] = part
            case [key, inner]:
                keys.setdefault(key, {})[inner] = part
    try:
        value = TypeAdapter(kind).validate_python(keys or parts[names[0]], strict=True if kind in STRICT else None)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([_block(names[0]), *(str(part) for part in first["loc"])])
        raise InputError(
            problem(f"{path}: {place}: the value does not fit", found=f"{first['input']!r:.200}", expected=first["msg"])
        ) from error
    if isinstance(value, NamedBlock):
        value._name = names[0].split(".")[1]
    return value


def _found(path: Path, params: Any, name: str) -> Any:
    value = params
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise InputError(problem(f"{path}: {name}: no such key", found=part, expected="a key of the recipe"))
        value = value[part]
    return value


def run(main: Callable[[], None]) -> None:
    """Run a script and exit with its status; errors go to its log, which Snakemake shows.

    A BezoarError is logged as its text, any other error with a traceback.
    """
    try:
        main()
    except BezoarError as error:
        logs.logger.error(error)
        sys.exit(error.status)
    except Exception:
        logs.logger.exception("failed")
        sys.exit(1)
