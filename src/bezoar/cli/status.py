"""`bezoar status`: how far a run is."""

import argparse
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bezoar.cli import Commands

SECONDS = 2.0  # between two looks


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="how far a run is: what is up to date, running and waiting, how fast, how long still, and the dollars",
        description="Without a run it says what is up to date, which takes as long as `bezoar plan`.",
    )
    parser.add_argument("--watch", action="store_true", help="show it again and again until the run ends")
    parser.add_argument("--json", action="store_true", help="for programs; null if no run is going on")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print how far the run is, or what is up to date."""
    from bezoar import terminal
    from bezoar.cache import progress, status

    found = progress.look()
    going = found if found and found.is_going_on else None
    if args.json:
        show(status.as_json(going) if going else "null")
    elif going is None:
        terminal.draw(*_at_rest())
    elif args.watch:
        with suppress(KeyboardInterrupt):  # the usual way to stop watching
            _watch()
    else:
        terminal.draw(*status.of_run(going, time.time()))
    return 0


def _at_rest() -> list["RenderableType"]:
    from bezoar.cache import status
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake

    with loaded() as attached:
        return status.at_rest(attached.build)


def _watch() -> None:
    """Draw until the run ends: in place on a terminal, one line for each change elsewhere."""
    from rich.console import Group
    from rich.live import Live

    from bezoar import terminal
    from bezoar.cache import progress, status

    console, last = terminal.console(), ""
    moving = console.is_terminal and not console.is_dumb_terminal
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while found := progress.look():
            now = time.time()
            if moving:
                live.update(Group(*status.of_run(found, now)), refresh=True)
            elif (line := status.head(found, now)) != last:
                last = line
                show(line)
            if not found.is_going_on:
                return
            time.sleep(SECONDS)
