"""`bezoar completion`: shell completion."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("completion", help="print a script for shell completion")
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    parser.set_defaults(run=run, in_project=False)


def run(args: argparse.Namespace) -> int:
    """Print the script for a shell."""
    import shtab  # needed by this command only

    files = {"targets": shtab.FILE, "file": shtab.FILE, "folder": shtab.DIRECTORY, "out": shtab.FILE}
    made = args.parser
    for action in _actions(made):
        if action.dest in files:
            action.complete = files[action.dest]  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(made, args.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
