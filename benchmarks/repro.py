"""`dvc repro` of the embedded recipe's stages, against DVC by itself.

$ python benchmarks/repro.py noop clone

Artifacts are small files that nobody made (benchmarks/built.py): what is timed is what DVC and we do about them. Each
subcommand prints a table in Markdown below the command that made it. Folders are made in --folder, of the last commit.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import built
import yaml
from timing import alternated, compared, ratio, seconds, table

ROOT = Path(__file__).parents[1]
SNAKEMAKE = ("snakemake", "--cores", "2")
UP_TO_DATE = "up to date"
OWN = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")


def graph(folder: Path) -> Path:
    """The embedded recipe, built, committed and pushed to a remote in a folder beside it; made if it isn't there."""
    made = folder / "ours"
    if made.exists():
        return made
    built.run(folder, "git", "clone", "--quiet", str(ROOT), str(made))
    built.run(made, "bezoar", "dvc")
    built.run(made, sys.executable, str(ROOT / "benchmarks" / "built.py"))
    built.run(made, *SNAKEMAKE, said=built.NOTHING)
    built.run(made, "dvc", "remote", "add", "--quiet", "--default", "shared", str(folder / "remote"))
    built.run(made, "dvc", "push", "--quiet")
    built.run(made, "git", "add", "--all")
    built.run(made, "git", *OWN, "commit", "--quiet", "--message", "built")
    return made


def bare(folder: Path) -> Path:
    """The same stages with their inputs, outputs and commands alone: no values, no fingerprints, no stage `code`."""
    made = folder / "bare"
    if made.exists():
        return made
    shutil.copytree(graph(folder), made, symlinks=True)
    pipeline: dict[str, Any] = yaml.safe_load((made / "dvc.yaml").read_text())
    del pipeline["stages"]["code"]
    for stage in pipeline["stages"].values():
        stage.pop("params")
    (made / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline["stages"]}, sort_keys=False))
    (made / "dvc.lock").unlink()
    built.run(made, "dvc", "commit", "--quiet", "--force")
    return made


def noop(args: argparse.Namespace) -> str:
    """Nothing to do."""
    sides = {"ours": graph(args.folder), "bare": bare(args.folder)}
    repro = ("dvc", "repro")
    works = {name: partial(built.run, side, *repro, said=UP_TO_DATE) for name, side in sides.items()}
    return _compared(args, works, "DVC without values and fingerprints")


def clone(args: argparse.Namespace) -> str:
    """A fresh clone with a remote in a folder, until there is nothing to do."""
    works = {"ours": partial(_cloned, args.folder, ("dvc", "repro"))}
    works["bare"] = partial(_cloned, args.folder, ("dvc", "pull"), ("dvc", "repro"))
    return _compared(args, works, "`dvc pull`, `dvc repro`")


def _cloned(folder: Path, *commands: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        built.run(folder, "git", "clone", "--quiet", str(graph(folder)), name)
        for command in commands:
            said = built.run(Path(name), *command)
        skipped = said.count("didn't change, skipping")
        assert skipped >= len(yaml.safe_load(Path(name, "dvc.yaml").read_text())["stages"]) - 1, said


def _compared(args: argparse.Namespace, works: dict[str, Any], peer: str) -> str:
    found = alternated(works, args.rounds)
    both = compared(found["ours"], found["bare"])
    rows = [
        ["ours", seconds(both.ours.wall), seconds(both.ours.cpu), ratio(both.wall), ratio(both.cpu)],
        [peer, seconds(both.bare.wall), seconds(both.bare.cpu), "", ""],
    ]
    stages = len(yaml.safe_load((graph(args.folder) / "dvc.yaml").read_text())["stages"])
    return table([f"{stages} stages", "s", "CPU s", "ratio", "ratio of CPU"], rows)


WORKS = {"noop": noop, "clone": clone}


def main() -> None:
    """Print a table for each subcommand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="+", choices=WORKS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "bezoar-repro"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.works:
        print(f"\n$ {shlex.join(['python', 'benchmarks/repro.py', name])}\n\n{WORKS[name](args)}")


if __name__ == "__main__":
    main()
