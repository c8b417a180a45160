"""`bezoar exec`: run a rule's command through the cache."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "exec", help="run the command of a rule", usage="bezoar exec OUTPUT [OUTPUT ...] -- COMMAND [ARGUMENT ...]"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help="files that the command makes, `--`, the command")
    parser.set_defaults(run=run, in_project=False, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Make the outputs; returns the exit status of the command."""
    from bezoar.cache.execute import execute

    words: list[str] = args.words
    mark = words.index("--") if "--" in words else len(words)
    outputs, command = words[:mark], words[mark + 1 :]
    if not outputs or not command:
        args.parser.error("needs at least one output, `--` and a command")
    return execute(outputs, command)
