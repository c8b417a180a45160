"""The project of a command: the one around the current folder."""

import argparse
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from bezoar import installed
from bezoar.errors import problem
from bezoar.text import show

RULE = re.compile(r"^\s*(?:rule|checkpoint)\s+(\w+)\s*:", re.MULTILINE)
MARKS = ("Snakefile", "params.yaml", "recipes")  # files of a project's root


def enter(args: argparse.Namespace) -> None:
    """Change to the root of the project around this folder, and make paths relative to it.

    Raises:
        CacheError: There is no project around, or it belongs to another user.
    """
    here, folder = Path.cwd(), root()
    targets, given = getattr(args, "targets", None), vars(args).copy()
    if given.get("file", ...) is None:
        args.file = Path("params.yaml")
    if folder == here:
        return
    for name, value in given.items():
        if isinstance(value, Path):
            setattr(args, name, _moved(value, folder))
        elif isinstance(value, list) and all(isinstance(one, Path) for one in value):
            setattr(args, name, [_moved(one, folder) for one in value])
    if targets:
        rules = _rules(folder)
        args.targets = [
            os.path.relpath(one, folder) if os.path.exists(one) and one not in rules else one for one in targets
        ]
    os.chdir(folder)
    show(f"in {folder}:", file=sys.stderr)


def _moved(path: Path, folder: Path) -> Path:
    """A path of this folder, as it is called from another one."""
    return Path(os.path.relpath(Path.cwd() / path, folder))


def root() -> Path:
    """The root of the project around this folder.

    Raises:
        CacheError: There is no project around, or it belongs to another user.
    """
    from bezoar.cache import CacheError

    here = Path.cwd()
    for folder in (here, *here.parents):
        marks = [mark for mark in MARKS if os.path.lexists(folder / mark)]
        if marks and folder == here:
            return here
        if "Snakefile" in marks or len(marks) > 1:
            _check_owner([folder, *(folder / mark for mark in marks)])
            return folder
        if (folder / ".git").exists():
            break
    raise CacheError(
        problem(
            "no project here",
            found=f"no {' or '.join(MARKS[:2])} in {here} or in a folder around it",
            expected="the folder of a project, or one inside it",
            hint="`cd` to the repository that you cloned, or `bezoar init DIR` makes a new project",
        )
    )


def _rules(root: Path) -> set[str]:
    """Names of the rules that a project has or may include: such a target is the rule, not a file."""
    found: set[str] = set()
    for path in (root / "Snakefile", *root.glob("rules/*.smk"), *installed.ROOT.glob("rules/*.smk")):
        with suppress(OSError):
            found |= set(RULE.findall(path.read_text(encoding="utf-8", errors="replace")))
    return found


def _check_owner(paths: list[Path]) -> None:
    """Refuse another user's project around this folder, such as /tmp/Snakefile: its code would run."""
    from bezoar.cache import CacheError

    for path in paths:
        if (owner := os.lstat(path).st_uid) != os.getuid():
            raise CacheError(
                problem(
                    f"{path} belongs to another user, so it isn't used from a folder inside",
                    found=f"owner {owner}",
                    expected=f"your own, {os.getuid()}",
                    hint=f"if you trust it, `cd {paths[0]}`; otherwise `cd` to your own project",
                )
            )
