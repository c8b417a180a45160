"""`bezoar compare`: scores of two revisions, recipes, results or checkpoints, and whether they differ beyond chance."""

import argparse
import os
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="scores of two revisions, recipes, results or checkpoints, with intervals of their differences",
        description="Each side is a revision of git, a recipe whose results are built, a file or folder of results, or "
        "`.` for this folder; or both are checkpoints. Nothing is checked out, and nothing runs. Differences are of "
        "the same items where both sides have scores of items; a line says where not.",
    )
    for side in ("a", "b"):
        parser.add_argument(side, metavar=side.upper(), help="revision, recipe, results or checkpoint")
    parser.add_argument("--eval", action="append", default=[], metavar="NAME", help="this evaluation; all by default")
    parser.add_argument("--all", action="store_true", help="parts of scores, too, such as categories and all metrics")
    parser.add_argument("--seed", type=int, default=0, help="seed of the intervals; 0 by default")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run, start=os.getcwd())


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    from bezoar.cli.recipe import recipes
    from bezoar.compare import differences as compare  # slow to import, and every job starts exec
    from bezoar.compare import table
    from bezoar.compare.sides import of_workspace, side_of

    if {args.a, args.b} <= _checkpoints():  # also where a branch or a folder has such a name
        side = of_workspace()
        made = compare.compare_checkpoints(side, args.a, args.b, args.eval, every=args.all, seed=args.seed)
    else:
        a, b = (side_of(_moved(one, args.start), recipes()) for one in (args.a, args.b))
        made = compare.compare_sides(a, b, args.eval, every=args.all, seed=args.seed)
    show(table.as_json(made) if args.json else table.as_text(made))
    return 0


def _moved(text: str, start: str) -> str:
    """A path as it is called from the project's root, if it is one of the folder where the command was given."""
    path = os.path.join(start, text)
    return os.path.relpath(path) if text != "." and not os.path.isabs(text) and os.path.exists(path) else text


def _checkpoints() -> set[str]:
    """The checkpoints of this folder's recipe; none without one, since results can be anywhere."""
    from bezoar import recipe
    from bezoar.recipe.load import active

    return set(recipe.load().checkpoints()) if active().exists() else set()
