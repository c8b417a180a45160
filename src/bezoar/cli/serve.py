"""`bezoar serve`: the server of a backend."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("serve", help="start the server of a backend, and stop it once it has no clients")
    parser.add_argument("backend", help="name in params.yaml of a backend with a `server`, such as teacher")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until there are no clients any more."""
    from bezoar import logs
    from bezoar.recipe import load
    from bezoar.serving.command import serve

    logs.setup(None)
    recipe = load()
    return serve(args.backend, recipe.backends, recipe.folder_of)
