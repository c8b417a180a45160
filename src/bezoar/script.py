"""What every script starts with: its flags, its log, the blocks of params.yaml that it may read, and how it ends."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bezoar import logs, params
from bezoar.files import check_empty
from bezoar.llm import Stopped


class Flags(argparse.ArgumentParser):
    """A script's flags: those of every script, and the script's own."""

    def __init__(self, description: str | None, *, blocks: str) -> None:
        super().__init__(description=(description or "").split("\n", 1)[0])
        self.add_argument("--params", nargs="+", required=True, metavar="NAME", help=f"names in params.yaml: {blocks}")
        self.add_argument("--log", type=Path, help="file to log to, beside stderr")
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
        for variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            os.environ.setdefault(variable, "1")
        for name in self.folders:
            check_empty(getattr(args, name))  # here, since there may be hours of work before it is written
        logs.setup(args.log)
        return args, params.select(args.params)


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
