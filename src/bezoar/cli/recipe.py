"""`bezoar recipe`: check the active recipe, show it, list recipes, or switch to another."""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar import installed
from bezoar.cli.dvc import generate
from bezoar.errors import BezoarError, problem
from bezoar.files import whole
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands

SCHEMA = "recipes/params.schema.json"  # beside each recipe and params.yaml, for editors
COUNTED = {"sources": "source", "schemes": "scheme", "mixes": "mix", "stages": "stage", "evals": "eval"}
GALLERY = Path("recipes/gallery")  # of small recipes, each of one published method
NAMED = re.compile(r"recipes/[\w./-]+")  # files in the folder of a recipe


def add(commands: "Commands") -> None:
    """Add the command with its actions."""
    parser = commands.add_parser("recipe", help="check the active recipe, list recipes, or switch to another")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, does, text in (
        ("check", _check, "validate a recipe: every problem with file, line, found and expected"),
        ("show", _show, "the whole recipe: every value with its line, or its default's source"),
        ("fallbacks", _fallbacks, "values that the paper's text does not give, with their sources"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", nargs="?", type=Path, help="params.yaml by default")
        action.set_defaults(run=does)
    pin = actions.add_parser("pin", help="write the commits of hub revisions, and the sha256 of addresses and files")
    pin.add_argument("file", nargs="?", type=Path, help="params.yaml by default")
    pin.add_argument("--dry-run", action="store_true", help="say what would be written")
    pin.set_defaults(run=_pin)
    actions.add_parser("list", help="the recipes of this project, and those that come with bezoar").set_defaults(
        run=_list
    )
    use = actions.add_parser("use", help="make a recipe the active one (params.yaml)")
    use.add_argument("name", help="a name from `bezoar recipe list`")
    use.add_argument("--force", action="store_true", help="replace a params.yaml that was edited")
    use.set_defaults(run=_use)


def _check(args: argparse.Namespace) -> int:
    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.cache import committed, git

    committed.check_own(git.tracked())  # before the memory of hashes is written
    notes: list[str] = []
    recipe = recipes.load(args.file, contents=True, notes=notes)
    sizes = {kind: len(getattr(recipe, kind)) for kind in COUNTED}
    counts = [f"{size} {COUNTED[kind] if size == 1 else kind}" for kind, size in sizes.items()]
    show(f"{args.file}: recipe {recipe.recipe} is sound: {', '.join(counts)}")
    for line in [*recipe.guarded(), *notes]:
        show(line)
    for name in recipe.unnamed_weights():
        show(
            f"note: backends.{name}: its server loads weights from outside of this recipe; new weights under the same "
            f"`model` rerun nothing: see `checkpoint` in {installed.find('docs/how-to/served-checkpoints.md')}"
        )
    return 0


def _show(args: argparse.Namespace) -> int:
    from bezoar.recipe.show import shown

    show(shown(args.file))
    return 0


def _pin(args: argparse.Namespace) -> int:
    from bezoar.cache import committed, git
    from bezoar.problems import text_of
    from bezoar.recipe.pin import pinned, pins_of  # slow to import

    committed.check_own(git.tracked())
    text = text_of(args.file)
    pins = pins_of(text, args.file)
    for pin in pins:
        show(f"{'.'.join(map(str, pin.key))}: {pin.found} -> {pin.value}")
    if pins and not args.dry_run:
        written = pinned(text, pins, args.file)
        with whole(args.file) as partial:
            partial.write_bytes(written.encode())
    done = "would be pinned" if args.dry_run else "pinned"
    show(
        f"{args.file}: {len(pins)} value{'s' * (len(pins) > 1)} {done}"
        if pins
        else f"{args.file}: everything is pinned"
    )
    return 0


def packaged() -> dict[str, Path]:
    """The recipes that come with bezoar, by name."""
    return _recipes_in(installed.ROOT / "recipes")


def recipes() -> dict[str, Path]:
    """The recipes by name; the project's own have priority."""
    return dict(sorted((packaged() | _recipes_in(Path("recipes"))).items()))


def _recipes_in(folder: Path) -> dict[str, Path]:
    """The recipes of a folder and of its gallery, by name."""
    paths = [*folder.glob("*.yaml"), *folder.glob("gallery/*.yaml")]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def check_known(name: str, recipes: dict[str, Path]) -> None:
    """Refuse the name of an unknown recipe.

    Raises:
        BezoarError: It is unknown.
    """
    if name not in recipes:
        raise BezoarError(problem("no such recipe", found=name, expected=", ".join(recipes)))


def bring(name: str) -> Path:
    """Copy a recipe and the files that it names from the package to recipes/, unless the project has them."""
    path = next(path for path in (Path("recipes", f"{name}.yaml"), GALLERY / f"{name}.yaml") if _is_known(str(path)))
    _bring(str(path))
    _bring(SCHEMA)
    bring_named(path)
    return path


def bring_named(path: Path) -> None:
    """Copy the files that a recipe names from the package to recipes/, unless the project has them."""
    for named in NAMED.findall(path.read_text(encoding="utf-8")):
        _bring(named.rstrip("."))


def _is_known(name: str) -> bool:
    """Whether the project or the package has a file."""
    return Path(installed.find(name)).exists()


def _bring(name: str) -> None:
    found, target = Path(installed.find(name)), Path(name)
    if found == target or not found.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        shutil.copytree(found, target)
    else:
        shutil.copyfile(found, target)


def _list(args: argparse.Namespace) -> int:
    active = Path("params.yaml").read_bytes() if Path("params.yaml").exists() else b""
    for name, path in recipes().items():
        chosen = f"recipe: {name}".encode() in [line.partition(b"#")[0].strip() for line in active.splitlines()]
        edited = chosen and path.read_bytes() != active
        show(f"{'*' if chosen else ' '} {name}{' (edited)' if edited else ''}")
    return 0


def _fallbacks(args: argparse.Namespace) -> int:
    from bezoar.problems import lines_of, parsed, text_of

    text = text_of(args.file)
    parsed(text, args.file)
    names = {line: ".".join(map(str, key)) for key, line in lines_of(str(args.file), text).items()}  # inner keys last
    for number, line in enumerate(text.splitlines(), start=1):
        value, mark, source = line.partition("# fallback")
        if mark and number in names:
            show(f"{names[number]}: {value.partition(':')[2].strip()}  # fallback{source}")
    return 0


def _use(args: argparse.Namespace) -> int:
    known, active = recipes(), Path("params.yaml")
    check_known(args.name, known)
    edited = active.exists() and all(active.read_bytes() != path.read_bytes() for path in known.values())
    if edited and not args.force:
        show(
            problem(
                "params.yaml was edited and would be replaced",
                found="values that no recipe has",
                expected="the content of a recipe",
                hint="keep it as recipes/<name>.yaml, or add --force",
            ),
            file=sys.stderr,
        )
        return 1
    recipe = bring(args.name)
    with whole(active) as partial:  # a link there is replaced, not followed
        shutil.copyfile(recipe, partial)
    show(f"params.yaml is now {recipe}")
    if Path("dvc.yaml").exists():
        generate()  # dvc.yaml has the stages of the recipe
    return 0
