"""`bezoar completion`: what completes commands in a shell."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("completion", help="print what completes commands in a shell")
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    parser.set_defaults(run=run, in_project=False)


def run(args: argparse.Namespace) -> int:
    """Print the script of a shell."""
    import shtab  # not needed by any other command

    files = {"targets": shtab.FILE, "file": shtab.FILE, "folder": shtab.DIRECTORY}
    made = args.parser
    for action in _actions(made):
        if action.dest in files:
            action.complete = files[action.dest]  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(made, args.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser, and of the commands below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
