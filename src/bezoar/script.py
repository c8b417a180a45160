"""What every script starts with: its flags, its log, the blocks of params.yaml that it may read, and how it ends."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bezoar import logs, params
from bezoar.files import check_empty
from bezoar.llm import Stopped


class Flags(argparse.ArgumentParser):
    """A script's flags: those of every script, and the script's own.

    Args:
        description: What the script does; its first line is shown.
        blocks: What --params takes, in order: `stages.<name> seed`; in brackets what may come last, `...` for more.
    """

    def __init__(self, description: str | None, *, blocks: str) -> None:
        super().__init__(description=(description or "").split("\n", 1)[0])
        self.add_argument("--params", nargs="+", required=True, metavar="NAME", help=f"names in params.yaml: {blocks}")
        self.add_argument("--log", type=Path, help="file to log to, beside stderr")
        self.blocks = blocks
        self.folders: list[str] = []

    def path(self, name: str, text: str, *, many: bool = False, optional: bool = False) -> None:
        """A flag that takes a path, or several (none if absent); an optional one may also stand without its path."""
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
        """A flag that takes the folder of an artifact to make; `start` refuses one that holds files."""
        self.path(name, text)
        self.folders.append(name)

    def start(self, argv: list[str] | None) -> tuple[argparse.Namespace, list[Any]]:
        """The parsed flags, and the values of --params; the log is open from here on.

        Raises:
            bezoar.params.RecipeError: params.yaml isn't a recipe, or has no such block.
            FileExistsError: The folder of an artifact to make holds files.
        """
        args = self.parse_args(argv)
        if not _form(self.blocks).fullmatch("".join(f" {name}" for name in args.params)):
            self.error(f"--params\n  found:    {' '.join(args.params)}\n  expected: {self.blocks}, in this order")
        for variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            os.environ.setdefault(variable, "1")
        for name in self.folders:
            check_empty(getattr(args, name))  # here, since there may be hours of work before it is written
        logs.setup(args.log)
        return args, params.select(args.params)


def keys(block: str, names: str) -> str:
    """Keys of a block as --params takes them: `evals.<name>.shots evals.<name>.max_length`."""
    return " ".join(f"{block}.{name}" for name in names.split())


def _form(blocks: str) -> re.Pattern[str]:
    """A pattern for what --params takes, with a blank before each name."""
    pattern = ""
    for token in re.findall(r"\[[^]]*\]|\S+", blocks):
        name = re.sub(r"<\w+>", "[a-z0-9_]+", re.escape(token.strip("[]").removesuffix(" ...")))
        pattern += f" {name}" if token[0] != "[" else f"(?: {name}){'*' if token.endswith('...]') else '?'}"
    return re.compile(pattern)


def run(main: Callable[[], None]) -> None:
    """Run a script to its exit status; what ends it is in its log as well, where Snakemake shows it."""
    try:
        main()
    except Stopped as stopped:
        logs.logger.error(stopped)
        sys.exit(stopped.status)
    except Exception:
        logs.logger.exception("failed")
        sys.exit(1)
