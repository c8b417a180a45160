"""`bezoar init`: a new project in an empty folder."""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar import installed
from bezoar.cli import recipe
from bezoar.cli.dvc import generate
from bezoar.errors import BezoarError, problem
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands

TEMPLATE = Path(__file__).parents[1] / "template"
HIDDEN = "dot-"  # in place of a dot: a .gitignore in the template would apply to the template itself
FINE = {".git", ".venv"}  # may exist already
NEXT = """\
next: `cd {folder}`; params.yaml is the recipe, data/ has the rows
  bezoar plan          what would run, and why
  snakemake            builds it; so does `dvc repro`
  git add --all        and commit, with the generated files
pages that messages and comments name as docs/...: {docs}"""


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="make your own project in an empty folder")
    parser.add_argument("folder", metavar="DIR", type=Path, help="an empty folder, or a new one")
    parser.add_argument("--recipe", metavar="NAME", help="start from a recipe that comes with bezoar, such as tiny")
    parser.set_defaults(run=run, in_project=False)


def run(args: argparse.Namespace) -> int:
    """Make the project with its generated files, so that `snakemake` and `dvc repro` run at once."""
    from bezoar.cache import git

    if args.recipe:
        recipe.check_known(args.recipe, recipe.packaged())
    _check_empty(args.folder)
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)
    git.begin()
    _copy(TEMPLATE, Path())
    shutil.copytree(installed.ROOT / "profiles", "profiles")
    shutil.copyfile(installed.ROOT / recipe.SCHEMA, Path(recipe.SCHEMA).name)
    if args.recipe:
        recipe.bring(args.recipe)
        shutil.copyfile(f"recipes/{args.recipe}.yaml", "params.yaml")
        shutil.rmtree("data")  # the rows of the template's recipe
    else:
        recipe.bring_named(Path("params.yaml"))
    generate()
    show(NEXT.format(folder=args.folder, docs=installed.ROOT / "docs"), file=sys.stderr)
    return 0


def _check_empty(folder: Path) -> None:
    found = sorted({path.name for path in folder.iterdir()} - FINE) if folder.is_dir() else []
    if found or (folder.exists() and not folder.is_dir()):
        raise BezoarError(
            problem(
                f"{folder} is not empty",
                found=f"{', '.join(found[:3]) or 'a file'}{' and more' if len(found) > 3 else ''}",
                expected="an empty folder, or none",
                hint="name another folder",
            )
        )


def _copy(template: Path, folder: Path) -> None:
    """Copy the files of the template, with a dot before the names of hidden ones."""
    for path in sorted(template.iterdir()):
        target = folder / path.name.replace(HIDDEN, ".")
        if path.is_dir() and path.name != "__pycache__":
            target.mkdir(exist_ok=True)
            _copy(path, target)
        elif path.is_file():
            shutil.copyfile(path, target)
