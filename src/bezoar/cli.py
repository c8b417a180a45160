"""The command line `bezoar`."""

import argparse
import os
import re
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from bezoar import __version__
from bezoar.files import whole
from bezoar.text import show

RULE = re.compile(r"^\s*(?:rule|checkpoint)\s+(\w+)\s*:", re.MULTILINE)
MARKS = ("Snakefile", "params.yaml", "recipes")  # what the root of a project has


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0, 1 for a recipe with problems, 2 for wrong usage."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command == "exec":
        return _exec(args.parser, args.words)
    if args.command == "completion":
        return _completion(parser, args.shell)
    try:
        _enter_project(args)
        return _run(args)
    except BrokenPipeError:  # of `bezoar plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        show(_told(error), file=sys.stderr)
        return 1


def _told(error: Exception) -> str:
    """What to say of an error that needs no traceback; another one is raised again."""
    from bezoar.cache import CacheError
    from bezoar.problems import RecipeError  # slow to import

    if isinstance(error, CacheError | RecipeError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} can't be used\n  found:    {error.strerror or error}"
    raise error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bezoar", description="Datasets and checkpoints as a declarative graph.")
    parser.add_argument("--version", action="version", version=f"bezoar {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    recipe = commands.add_parser("recipe", help="check the active recipe, list recipes, or switch to another")
    actions = recipe.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="validate a recipe: every problem with file, line, found and expected")
    check.add_argument("file", nargs="?", type=Path, help="params.yaml by default")
    show_ = actions.add_parser("show", help="the whole recipe: every value with its line, or its default's source")
    show_.add_argument("file", nargs="?", type=Path, help="params.yaml by default")
    actions.add_parser("list", help="the recipes of this repository")
    fallbacks = actions.add_parser("fallbacks", help="values that the paper's text does not give, with their sources")
    fallbacks.add_argument("file", nargs="?", type=Path, help="params.yaml by default")
    use = actions.add_parser("use", help="make a recipe of recipes/ the active one (params.yaml)")
    use.add_argument("name", help="file name in recipes/ without .yaml")
    use.add_argument("--force", action="store_true", help="replace a params.yaml that was edited")
    execute = commands.add_parser(
        "exec", help="run the command of a rule", usage="bezoar exec OUTPUT [OUTPUT ...] -- COMMAND [ARGUMENT ...]"
    )
    execute.add_argument("words", nargs=argparse.REMAINDER, help="files that the command makes, `--`, the command")
    execute.set_defaults(parser=execute)
    serve = commands.add_parser("serve", help="start the server of a backend, and stop it once nobody asks it any more")
    serve.add_argument("backend", help="name in params.yaml of a backend with a `server`, such as teacher")
    completion = commands.add_parser("completion", help="print what completes commands in a shell")
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    _cache_commands(commands)
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.command == "serve":
        return _serve(args)
    if args.command == "responses":
        return _responses()
    if args.command != "recipe":
        return _cache(args)
    return {"check": _check, "show": _show, "list": _list, "fallbacks": _fallbacks, "use": _use}[args.action](args)


def _enter_project(args: argparse.Namespace) -> None:
    """Go to the root of the project that this folder is in; paths that were given are taken from there on.

    Raises:
        CacheError: There is no project around, or it is somebody else's.
    """
    here, root = Path.cwd(), _root()
    file, targets = getattr(args, "file", None), getattr(args, "targets", None)
    if file is None and hasattr(args, "file"):
        args.file = Path("params.yaml")
    if root == here:
        return
    if file:
        args.file = Path(os.path.relpath(here / file, root))
    if targets:
        rules = _rules(root)
        args.targets = [
            os.path.relpath(one, root) if os.path.exists(one) and one not in rules else one for one in targets
        ]
    os.chdir(root)
    show(f"in {root}:", file=sys.stderr)


def _root() -> Path:
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
        f"no project here\n  found:    no {' or '.join(MARKS[:2])} in {here} or in a folder around it\n"
        "  expected: the folder of a project, or one inside it\nhint: `cd` to the repository that you cloned"
    )


def _rules(root: Path) -> set[str]:
    """Names of the rules of a project, by its text; a target of that name is the rule, not a file of this folder."""
    found: set[str] = set()
    for path in (root / "Snakefile", *root.glob("rules/*.smk")):
        with suppress(OSError):
            found |= set(RULE.findall(path.read_text(encoding="utf-8", errors="replace")))
    return found


def _check_owner(paths: list[Path]) -> None:
    """Refuse a project around this folder that somebody else put there, such as /tmp/Snakefile: it would be run."""
    from bezoar.cache import CacheError

    for path in paths:
        if (owner := os.lstat(path).st_uid) != os.getuid():
            raise CacheError(
                f"{path} is somebody else's, and isn't used from a folder inside\n  found:    owner {owner}\n"
                f"  expected: your own, {os.getuid()}\n"
                f"hint: if you trust it, `cd {paths[0]}`; if this is no project, `cd` to the one that you cloned"
            )


def _completion(parser: argparse.ArgumentParser, shell: str) -> int:
    import shtab  # not needed by any other command

    for command in parser._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr]
        for action in command._actions:
            if action.dest in ("targets", "file"):
                action.complete = shtab.FILE
    sys.stdout.write(shtab.complete(parser, shell) + "\n")
    return 0


def _exec(parser: argparse.ArgumentParser, words: list[str]) -> int:
    from bezoar.cache.execute import execute

    mark = words.index("--") if "--" in words else len(words)
    outputs, command = words[:mark], words[mark + 1 :]
    if not outputs or not command:
        parser.error("needs at least one output, `--` and a command")
    return execute(outputs, command)


def _serve(args: argparse.Namespace) -> int:
    from bezoar import logs
    from bezoar.recipe import load
    from bezoar.serving.command import serve

    logs.setup(None)
    return serve(args.backend, load().backends)


def _cache_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser("plan", help="what would run and why, what is restored, and what it would cost")
    plan.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    plan.add_argument(
        "-S",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="plan as if params.yaml had this value; may be given more than once",
    )
    plan.add_argument("--json", action="store_true", help="for programs")
    accept = commands.add_parser("accept", help="record that a code change is cosmetic, so that its proofs carry over")
    accept.add_argument("stage", help="stage of dvc.yaml, such as train-dpo_hh")
    accept.add_argument("--reason", required=True, help="why results can't differ, for whoever reviews it")
    verify = commands.add_parser(
        "verify", help="walk the proofs from sources to results, and name the first broken link"
    )
    verify.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    verify.add_argument("--rerun", metavar="STAGE", help="also run a stage again, elsewhere, and compare the bytes")
    costs = commands.add_parser("costs", help="what artifacts cost to make, with all that they are made of")
    costs.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    build = commands.add_parser("build", help="make one stage of dvc.yaml; what `dvc repro` calls")
    build.add_argument("rule")
    build.add_argument("block", nargs="*", help="names of params.yaml")
    build.add_argument("--roles", default="", help="digest of what its inputs are for, as dvc.yaml has it")
    commands.add_parser("responses", help="the stored answers of models: how many, what they cost, what failed")
    dvc = commands.add_parser("dvc", help="write what is generated: dvc.yaml, code.lock and params.resolved.yaml")
    dvc.add_argument(
        "--resolve",
        action="store_true",
        help="after a merge with conflicts: also dvc.lock, from both sides",
    )
    commands.add_parser("fingerprint", help="write code.lock and params.resolved.yaml, as stage `code` does")


def _responses() -> int:
    from bezoar.requests.ledger import table

    show(table())
    return 0


def _cache(args: argparse.Namespace) -> int:
    from bezoar.cache import commands  # slow to import: it brings Snakemake

    return commands.COMMANDS[args.command](args)


def _check(args: argparse.Namespace) -> int:
    from bezoar import recipe as recipes  # not needed by exec, which starts with every job
    from bezoar.cache import committed, git

    committed.check_own(git.tracked())  # what files are remembered by is written below
    recipe = recipes.load(args.file, contents=True)
    counts = [f"{len(getattr(recipe, kind))} {kind}" for kind in ("sources", "schemes", "mixes", "stages", "evals")]
    show(f"{args.file}: recipe {recipe.recipe} is sound: {', '.join(counts)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from bezoar.recipe.show import shown

    show(shown(args.file))
    return 0


def _recipes() -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path("recipes").glob("*.yaml"))}


def _list(args: argparse.Namespace) -> int:
    active = Path("params.yaml").read_bytes() if Path("params.yaml").exists() else b""
    for name, path in _recipes().items():
        chosen = f"recipe: {name}".encode() in [line.partition(b"#")[0].strip() for line in active.splitlines()]
        edited = chosen and path.read_bytes() != active
        show(f"{'*' if chosen else ' '} {name}{' (edited)' if edited else ''}")
    return 0


def _fallbacks(args: argparse.Namespace) -> int:
    from bezoar.problems import lines_of, parsed, text_of

    text = text_of(args.file)
    parsed(text, args.file)
    names = {line: ".".join(map(str, key)) for key, line in lines_of(str(args.file), text).items()}  # innermost last
    for number, line in enumerate(text.splitlines(), start=1):
        value, mark, source = line.partition("# fallback")
        if mark and number in names:
            show(f"{names[number]}: {value.partition(':')[2].strip()}  # fallback{source}")
    return 0


def _use(args: argparse.Namespace) -> int:
    recipes, active = _recipes(), Path("params.yaml")
    if args.name not in recipes:
        known = ", ".join(recipes) or "none: run this in the repository's root"
        show(f"no such recipe\n  found:    {args.name}\n  expected: {known}", file=sys.stderr)
        return 1
    edited = active.exists() and all(active.read_bytes() != path.read_bytes() for path in recipes.values())
    if edited and not args.force:
        show(
            "params.yaml was edited and would be replaced\n  found:    values that no recipe has\n"
            "  expected: the content of a recipe\nhint: keep it as recipes/<name>.yaml, or add --force",
            file=sys.stderr,
        )
        return 1
    with whole(active) as partial:  # a link there is replaced, and not followed
        shutil.copyfile(recipes[args.name], partial)
    show(f"params.yaml is now {recipes[args.name]}")
    if not Path("dvc.yaml").exists():
        return 0
    args.command, args.resolve = "dvc", False  # its stages are those of the recipe
    return _cache(args)
