"""`bezoar track`: curves of running stages for TensorBoard, trackio or W&B."""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    text = "send the curves of running stages to the tools in `trackers`; a run starts this command itself"
    parser = commands.add_parser("track", help=text)
    parser.add_argument("--while", dest="process", type=int, help="end when the process with this id ends")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pass curves on until the run ends, or Ctrl-C."""
    from bezoar.recipe.load import load  # slow to import
    from bezoar.steps.train.trackers import follow

    follow(load().trackers, lambda: args.process is None or alive(args.process))
    return 0


def alive(process: int) -> bool:
    """Whether a process is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
