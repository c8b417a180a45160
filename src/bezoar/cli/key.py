"""`bezoar key`: keys that sign records and attestations."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.cli.project import root
from bezoar.errors import BezoarError, problem
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands

FOLDER = "bezoar/keys"  # in the user's configuration


def add(commands: "Commands") -> None:
    """Add the command with its action."""
    parser = commands.add_parser("key", help="make a key that signs records")
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("new", help="write a private key, and print the line of trusted.keys that trusts it")
    new.add_argument("name", metavar="NAME", help="whose key it is: a person, or a machine such as ci")
    new.set_defaults(run=run, in_project=False)


def run(args: argparse.Namespace) -> int:
    """Make a key, and say what to do with it."""
    from bezoar.cache.environment import SIGNING_KEY
    from bezoar.cache.signing import NAME, TRUSTED, line_of, make_key

    if not NAME.fullmatch(args.name):
        raise BezoarError(
            problem("not a name for a key", found=repr(args.name), expected="up to 64 of A-Z a-z 0-9 . _ @ -")
        )
    path = _path(args.name)
    _check_outside(path)
    try:
        key = make_key(path)
    except FileExistsError as error:
        raise BezoarError(_there(path, args.name)) from error
    show(f"{path} is the private key: keep it to yourself. To sign with it, set {SIGNING_KEY}={path}")
    show(f"add this line to {TRUSTED} and commit it:")
    show(line_of(key, args.name))
    return 0


def _path(name: str) -> Path:
    """Where a new key goes."""
    from bezoar.cache.environment import SIGNING_KEY

    configured = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get(SIGNING_KEY) or Path(configured, FOLDER, f"{name}.pem")).absolute()


def _check_outside(path: Path) -> None:
    """Refuse a place inside the project, where git may pick the key up."""
    try:
        folder = root()
    except BezoarError:  # no project here
        return
    if path.resolve().is_relative_to(folder.resolve()):
        raise BezoarError(
            problem(
                "a private key doesn't belong in a repository",
                found=path,
                expected=f"a place outside of {folder}",
                hint="unset BEZOAR_SIGNING_KEY, or set it to another path",
            )
        )


def _there(path: Path, name: str) -> str:
    """The message about a key that exists; it has the line that trusts it."""
    from bezoar.cache.signing import TRUSTED, line_of, read_key

    return problem(
        f"{path} exists, and stays as it is",
        found="a file",
        expected="none",
        hint=f"use it: its line of {TRUSTED} is `{line_of(read_key(path), name)}`; or choose another name",
    )
