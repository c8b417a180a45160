"""The command line `bezoar`: one module per command.

Each module has `add`, which adds the command to the parser, and `run`, which runs it. Modules import nothing slow
before `run`: every job starts `bezoar exec`.
"""

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from bezoar import __version__
from bezoar.cli import (
    accept,
    answers,
    attest,
    build,
    cache,
    compare,
    completion,
    costs,
    dvc,
    exec,
    fingerprint,
    forget,
    gc,
    init,
    key,
    label,
    plan,
    project,
    publish,
    recipe,
    report,
    responses,
    rows,
    serve,
    status,
    trace,
    track,
    verify,
    why,
)
from bezoar.errors import BezoarError, unusable
from bezoar.text import show

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = (
    recipe,
    exec,
    serve,
    init,
    completion,
    plan,
    status,
    why,
    accept,
    forget,
    verify,
    attest,
    publish,
    key,
    compare,
    answers,
    costs,
    report,
    cache,
    gc,
    build,
    responses,
    rows,
    trace,
    label,
    dvc,
    track,
    fingerprint,
)


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0, 1 for a recipe with problems, 2 for wrong usage."""
    args = parser().parse_args(argv)
    try:
        if args.in_project:
            project.enter(args)
        status: int = args.run(args)
        return status
    except BrokenPipeError:  # of `bezoar plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        show(_message(error), file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, and `in_project` to false if it may run anywhere.

    `parser` is the whole parser, for shell completion.
    """
    made = argparse.ArgumentParser(prog="bezoar", description="Datasets and checkpoints as a declarative graph.")
    made.add_argument("--version", action="version", version=f"bezoar {__version__}")
    made.set_defaults(in_project=True, parser=made)
    commands = made.add_subparsers(dest="command", required=True)
    for module in COMMANDS:
        module.add(commands)
    return made


def _message(error: Exception) -> str:
    """The text of an error that needs no traceback; other errors are raised again."""
    if isinstance(error, BezoarError):
        return str(error)
    if isinstance(error, OSError):
        return unusable(error)
    raise error
