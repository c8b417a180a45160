"""Which steps each of the last commits made stale: by the static closure of their scripts, and by traces of their runs.

$ python benchmarks/history.py --commits 30

A small form of the embedded recipe is built once, in --folder, by the last of the commits. Of each script, the job with
the most words in its command then runs again, alone and under today's hook, as of each commit: src/, scripts/ and
rules/ are that commit's, its inputs and values are the form's. A job runs again only where its last trace doesn't hold
any more, since a job whose trace holds loads the same. What was found is kept in --folder, so that a second call goes
on where the first one ended.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import built
import yaml
from timing import table

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
CODE = ("src", "scripts", "rules")
# What can change a job's command line: the rules, and all that they call.
COMMANDS = ("rules", "Snakefile", "src", ":!src/bezoar/cache", ":!src/bezoar/cli", ":!src/bezoar/cluster")
OURS = ("data", "logs", "models", "recipes", "results", "scratch", "params.yaml", "params.resolved.yaml")
AGAIN = "again"  # the outputs of traced jobs
SNAKEMAKE = ("snakemake", "--cores", "2")
COMMAND = re.compile(r"^ +bezoar exec \S+ -- ((?:.*\\\n)*.*)$", re.MULTILINE)


class Found(NamedTuple):
    """What a commit's steps are, by script.

    Attributes:
        closures: Fingerprints of static closures.
        commands: Words of the jobs' command lines.
        traces: Traces, as JSON; of a job that failed, the end of what it said.
        changed: What of its last trace doesn't hold at this commit: `kind name`; empty for an equal identity.
    """

    closures: dict[str, str]
    commands: dict[str, list[str]]
    traces: dict[str, Any]
    changed: dict[str, list[str]]


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def extract(tree: Path, commit: str, *paths: str) -> None:
    """The files of a commit, in place of those that a folder has."""
    for path in paths:
        shutil.rmtree(tree / path, ignore_errors=True)
    archive = subprocess.run(["git", "archive", commit, *paths], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(tree, filter="data")


def environment(tree: Path) -> dict[str, str]:
    """That of programs that run a tree's own code."""
    own = {"PYTHONPATH": str(tree / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {name: value for name, value in built.ENVIRONMENT.items() if not name.startswith("HF_")} | own


def run(tree: Path, *command: str) -> str:
    """Run a program of a tree's own code to its end; what it said."""
    done = subprocess.run(
        command, cwd=tree, env=environment(tree), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode} and said\n{done.stdout[-4000:]}")
    return done.stdout


def small(recipe: dict[str, Any]) -> dict[str, Any]:
    """The embedded recipe with one block of each method and few rows: nothing is learnt, everything is made."""
    rows = {"text": 300, "teacher": 100, "seed_tasks": 20, "dolly": 12, "flan": 60, "preferences": 60}
    for source in recipe["sources"].values():
        origin = source["origin"]
        origin["rows"] = min(origin["rows"], rows.get(origin["set"], 20 if source["format"] == "items" else 80))
    for scheme in recipe["schemes"].values():
        scheme |= {"max_failed_share": 1.0, "max_dropped_share": 1.0}
        scheme["sampling"]["max_new_tokens"] = 16
    recipe["schemes"]["lamini"]["calls"] = 4
    recipe["schemes"]["orca"]["candidates"] = 20
    for one in recipe["filters"].values():
        one["max_dropped_share"] = 1.0
    recipe["models"] |= {
        "mine": {"method": "local", "path": "models/mine"},
        "published": {"method": "hub", "repository": "benchmarks/small", "revision": "c" * 40},
    }
    mixes, stages, evals = recipe["mixes"], recipe["stages"], recipe["evals"]
    mixes["teacher"]["eval_rows"] = 10
    mixes["hh_pairs"] |= {"parts": [{"name": "world_preferences", "rows": 40}], "eval_rows": 10}
    evals["harness"] |= {"checkpoints": ["dpo_hh"], "tasks": ["world_choices"]}
    evals["mtbench"] |= {"checkpoints": ["dpo_hh"], "allow_compromised": True}
    asked = recipe.get("answers", evals)  # older commits have the keys in the evaluation
    asked["mtbench"]["max_new_tokens"] = 4
    recipe["mixes"] = {name: mixes[name] for name in ("teacher", "hh_pairs")}
    recipe["stages"] = {"teacher": stages["teacher"], "dpo_hh": stages["dpo_hh"] | {"init_from": "teacher"}}
    return recipe | {"shards": 1}


def build(folder: Path, commit: str) -> Path:
    """The tree with the small form, built by a commit; the jobs of hub.py aren't run."""
    tree, done = folder / "tree", folder / "built"
    if done.exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    extract(tree, commit)
    recipe = small(yaml.safe_load((tree / "recipes" / "tiny.yaml").read_text()))
    (tree / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (tree / "models" / "mine").mkdir(parents=True)
    run(tree, *SNAKEMAKE, "data/base/tiny_llama")
    for copy in (tree / "models" / "mine", folder / "hub" / "models" / "benchmarks" / "small"):
        shutil.copytree(tree / "data" / "base" / "tiny_llama", copy, dirs_exist_ok=True)
    kept = [f"data/filtered/{name}/0000/kept.jsonl" for name in recipe["filters"]]
    run(tree, *SNAKEMAKE, *kept, *(f"results/{name}.json" for name in recipe["evals"]))
    done.touch()
    return tree


def commands(tree: Path) -> dict[str, list[str]]:
    """By script, the longest command line of its jobs by the tree's own rules."""
    found: dict[str, list[str]] = {}
    bases = [f"data/base/{name}" for name in yaml.safe_load((tree / "params.yaml").read_text())["models"]]
    for line in COMMAND.findall(run(tree, "snakemake", "-n", "--printshellcmds", "--forceall", "all", *bases)):
        words = shlex.split(line.replace("\\\n", " "))
        script = words[1]
        found[script] = max(found.get(script, []), words, key=lambda one: (len(one), one))
    return dict(sorted(found.items()))


def traced(tree: Path, words: list[str], hub: str) -> Any:
    """The trace of a job, as JSON; if it fails, the end of what it said."""
    from bezoar.cache.hashing import Hasher
    from bezoar.cache.trace import read, variables

    for name in (AGAIN, "scratch"):
        shutil.rmtree(tree / name, ignore_errors=True)
    log, own = f"{AGAIN}/trace.log", environment(tree)
    if words[1] == "scripts/base/hub.py":
        own |= {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    moved = [
        f"{AGAIN}/{word}" if before in ("--out", "--log") else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    done = subprocess.run(
        moved, env=own | variables(log, own), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        return done.stdout[-1000:]
    return read(log, Hasher(), {*OURS, AGAIN}).trace.to_json()


def look(tree: Path, before: Found | None, new_commands: bool, hub: str) -> Found:
    """What the steps of the tree are, in it as the current folder."""
    from bezoar.cache.code import Closures
    from bezoar.cache.hashing import Hasher
    from bezoar.cache.trace import Trace, Verifier

    words = commands(tree) if before is None or new_commands else before.commands
    scripts = sorted(str(path) for path in Path("scripts").rglob("*.py"))
    closures, verifier = Closures(Hasher()), Verifier(Hasher())
    found = Found({script: closures.print_of(script) for script in scripts}, words, {}, {})
    for script in scripts:
        last = before.traces.get(script) if before else None
        changes: list[str] = []
        if isinstance(last, dict):
            changes = [f"{one.kind} {one.name}" for one in verifier.changes(Trace.from_json(last))]
            if before and words.get(script) != before.commands.get(script):
                changes.append("command")
        if isinstance(last, dict) and not changes:
            found.traces[script] = last
        else:
            found.traces[script] = traced(tree, words[script], hub) if script in words else "no job of it in the form"
        found.changed[script] = changes
    return found


def walk(folder: Path, commits: list[str]) -> dict[str, Found]:
    """What the steps of each commit are, in order; each is remembered in a file."""
    from hub import Hub

    tree, found = build(folder, commits[-1]), dict[str, Found]()
    os.environ["PYTHONPATH"] = str(tree / "src")  # bezoar.cache.trace looks there; what is imported here is imported
    last = ""
    with Hub(folder / "hub") as served, contextlib.chdir(tree):
        for commit in commits:
            path = folder / f"{commit}.json"
            if not path.exists():
                extract(tree, commit, *CODE)
                new = bool(last and git("diff", "--name-only", last, commit, "--", *COMMANDS))
                one = look(tree, found.get(last), new, served.address)
                path.write_text(json.dumps(one._asdict()))
            found[commit] = Found(**json.loads(path.read_text()))
            last = commit
    return found


def differing(folder: Path, commit: str, kept: Found) -> list[str]:
    """Steps whose job at a commit has other modules or distributions than the trace that was kept for it."""
    from hub import Hub

    tree, names = folder / "tree", ("modules", "distributions")
    extract(tree, commit, *CODE)
    with Hub(folder / "hub") as served, contextlib.chdir(tree):
        now = {script: traced(tree, words, served.address) for script, words in kept.commands.items()}
    return [
        script
        for script, one in now.items()
        if not isinstance(one, dict) or any(one[name] != kept.traces[script][name] for name in names)
    ]


def report(found: dict[str, Found]) -> str:
    """A table with a line for each commit but the first, and one for all."""
    rows, sums = [], [0, 0, 0]
    for (_, before), (commit, now) in zip(list(found.items())[:-1], list(found.items())[1:], strict=True):
        failed = {one for side in (before, now) for one, trace in side.traces.items() if not isinstance(trace, dict)}
        steps = [script for script in now.closures if script not in failed]
        closure = {one for one in steps if now.closures[one] != before.closures.get(one)}
        trace = {one for one in steps if now.changed[one]}
        for place, number in enumerate((len(steps), len(closure), len(trace))):
            sums[place] += number
        names = [_names(one, steps) for one in (trace, closure - trace, trace - closure)]
        rows.append([f"`{commit}`", str(len(steps)), str(len(closure)), str(len(trace)), *names])
    shares = [f"**{one} ({100 * one / sums[0]:.1f} %)**" for one in sums[1:]]
    rows.append([f"**all {len(rows)}**", str(sums[0]), *shares, "", "", ""])
    return table(
        ["commit", "steps", "by closure", "by traces", "these, by traces", "by closure alone", "by traces alone"], rows
    )


def _names(chosen: set[str], steps: list[str]) -> str:
    if len(chosen) == len(steps):
        return "all"
    if len(chosen) > len(steps) / 2:
        return f"all but {_names(set(steps) - chosen, steps)}"
    return ", ".join(one.removeprefix("scripts/").removesuffix(".py") for one in sorted(chosen))


def failures(found: dict[str, Found]) -> str:
    """Jobs without a trace: commit, script and what was said."""
    lines = [
        f"{commit} {script}: {trace}"
        for commit, one in found.items()
        for script, trace in one.traces.items()
        if not isinstance(trace, dict)
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table; jobs without a trace are named on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=30, help="number of commits that touch src, scripts or rules")
    parser.add_argument("--until", default="HEAD", help="the last commit")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "bezoar-history"))
    parser.add_argument("--check", action="store_true", help="run all jobs again at the last commit, and compare")
    args = parser.parse_args()
    folder = args.folder.absolute()
    history = git("log", "--first-parent", f"-{args.commits}", "--format=%h", args.until, "--", *CODE).split()[::-1]
    found = walk(folder, [git("rev-parse", "--short", f"{history[0]}^"), *history])
    print(report(found))
    if args.check:
        others = differing(folder, history[-1], found[history[-1]])
        print(f"\n{len(others)} of {len(found[history[-1]].commands)} kept traces differ from a new run {others}")
    if said := failures(found):
        sys.exit(f"without a trace:\n{said}")


if __name__ == "__main__":
    main()
