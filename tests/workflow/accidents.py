"""Random accidents, and what people do with git, DVC and Snakemake between builds; each returns what it did."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edits import (
    change_a_type,
    change_a_value,
    change_the_shards,
    edit_a_command,
    edit_a_meaning,
    edit_the_words,
    remove,
)
from fuzzing import Fuzz
from graph import Graph

CORES = 2


# Of artifacts


def damage_outputs(run: Fuzz) -> str:
    paths = sorted(run.contents())
    chosen = run.chance.sample(paths, min(len(paths), run.chance.randint(1, 4)))
    for path in (run.graph.root / name for name in chosen):
        found, data = path.stat(), path.read_bytes()
        kind = run.choose(["delete", "empty", "append", "same size"])
        if kind == "delete":
            path.unlink()
        elif kind == "same size":
            path.write_bytes(data[::-1])
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 10**9))  # DVC is blind where time stays, too
        else:
            path.write_bytes(data + b"more\n" if kind == "append" else b"")
    return " ".join(chosen)


def delete_a_folder(run: Fuzz) -> str:
    name = run.choose(["data", "results", "data/generated", "data/mixes", "data/adapters", "data/seed"])
    remove(run.graph.root / name)
    return str(name)


def link_an_output(run: Fuzz) -> str:
    """Move an artifact, or a part of one, to another disk, and leave a link in its place."""
    paths = {path for name in run.contents() for path in (name, os.path.dirname(name)) if path.count("/") > 1}
    if not paths:
        return "none"
    path = run.graph.root / run.choose(paths)
    away = run.graph.root.parent / f"away/{len(run.story)}"
    away.parent.mkdir(exist_ok=True)
    if path.is_symlink():
        return "already"
    path.rename(away)
    path.symlink_to(away)
    return str(path.relative_to(run.graph.root))


def scramble_times(run: Fuzz) -> None:
    for path in run.files("."):
        if ".git" not in path.parts and not path.is_symlink():
            when = run.chance.randrange(4_000_000_000)
            os.utime(path, (when, when))


# Of the cache and of records


def lose_objects(run: Fuzz) -> None:
    paths = sorted(path for path in (run.cache / "files").rglob("*") if path.is_file())
    for path in run.chance.sample(paths, min(len(paths), run.chance.randint(1, 6))):
        path.chmod(0o644)
        if run.chance.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(b"other")


def lose_all_objects(run: Fuzz) -> None:
    """While what was built is sound."""
    shutil.rmtree(run.cache / "files", ignore_errors=True)


def lose_proofs(run: Fuzz) -> None:
    paths = sorted((run.cache / "proofs").rglob("*.json"))
    for path in run.chance.sample(paths, min(len(paths), 3)):
        _loosen(run, path)
        path.unlink()


def lose_a_trace(run: Fuzz) -> None:
    paths = sorted((run.cache / "traces").rglob("*.json"))
    if paths:
        trace = run.chance.choice(paths)
        for path in (run.cache / "proofs").rglob(trace.name):
            _loosen(run, path)
        trace.unlink()


def _loosen(run: Fuzz, proof: Path) -> None:
    """Note that the jobs of a proof may run again."""
    outputs = list(json.loads(proof.read_text())["outputs"])
    run.loose |= {key for key, name in run.known.items() if any(one.startswith(name) for one in outputs)}


def lose_the_cache(run: Fuzz) -> None:
    shutil.rmtree(run.cache, ignore_errors=True)
    run.loose |= set(run.known)


def delete_snakemakes_records(run: Fuzz) -> None:
    shutil.rmtree(run.graph.root / ".snakemake", ignore_errors=True)


def delete_the_locks(run: Fuzz) -> str:
    name = run.choose(["dvc.lock", "code.lock", "traces.lock"])
    (run.graph.root / name).unlink(missing_ok=True)
    return str(name)


# What people do


def touch(run: Fuzz) -> None:
    if set(run.oracle().files) <= set(run.contents()):  # it fails where an output is missing
        run.graph.build("--touch")


def look(run: Fuzz) -> None:
    run.graph.build("--dry-run")


def force(run: Fuzz) -> str:
    run.forced = run.chance.choice([["-F"], ["-R", "train"], ["-R", "shard"], ["-R", "mix"], ["-R", "score"]])
    return ""


def write_dvcs_settings(run: Fuzz) -> None:
    value = run.chance.choice(["true", "false"])
    run.graph.run("dvc", "config", "core.check_update", value)


def check_out_by_dvc(run: Fuzz) -> None:
    """Take the artifacts of dvc.lock, whatever the values and the code are now."""
    with suppress(AssertionError):  # objects may be missing
        run.graph.run("dvc", "checkout", "--force")


def collect_garbage(run: Fuzz) -> None:
    if (run.graph.root / "dvc.lock").exists():
        run.graph.run("dvc", "gc", "--workspace", "--force")


def commit(run: Fuzz) -> None:
    run.graph.commit()
    run.commits.append(run.head())


def go_to_a_commit(run: Fuzz) -> None:
    run.graph.run("git", "clean", "--quiet", "--force", "-d")
    run.graph.run("git", "checkout", "--quiet", "--force", run.chance.choice(run.commits))
    _write_pipeline(run)


def take_an_earlier_lock(run: Fuzz) -> None:
    commit = run.chance.choice(run.commits)
    with suppress(AssertionError):  # the first commit has none
        run.graph.run(
            "git", "checkout", "--quiet", commit, "--", *run.chance.choice([["dvc.lock"], ["dvc.lock", "traces.lock"]])
        )


def stash(run: Fuzz) -> str:
    """Put all edits away, build without them, and take them back."""
    run.graph.run("git", "add", "--all")  # git can't stash an untracked folder in the place of a file
    run.graph.run("git", "stash", "push", "--quiet")
    if not run.graph.run("git", "stash", "list"):
        return "nothing"
    _write_pipeline(run)
    run.build(run.front_end())
    run.graph.run("git", "checkout", "--quiet", "--force", "--", ".")
    run.graph.run("git", "clean", "--quiet", "--force", "-d")
    run.graph.run("git", "stash", "pop", "--quiet")
    _write_pipeline(run)
    return ""


def build_in_a_worktree(run: Fuzz) -> str:
    """Edit and build a branch in a folder of its own, with the same cache; it may be merged later by its commit."""
    here, name = run.graph, f"tree-{len(run.story)}"
    start, change = run.chance.choice(run.commits), run.chance.choice(IN_PASSING)
    here.run("git", "worktree", "add", "--quiet", "-b", name, f"../{name}", start)
    run.graph, shape = Graph(here.root.with_name(name), here.environment), run.shape
    run.graph.run("dvc", "config", "--local", "cache.dir", str(run.cache))
    detail = change(run)
    _write_pipeline(run)
    run.build(run.front_end())
    commit(run)
    run.graph, run.shape = here, shape
    here.run("git", "worktree", "remove", "--force", f"../{name}")
    return f"{name} from {start[:7]}: {change.__name__} {detail}"


def build_in_a_clone(run: Fuzz) -> str:
    """Push what was built, and build what was committed in a clone with the remote alone: nothing runs or changes."""
    commit(run)
    with suppress(AssertionError):  # objects may be lost
        run.graph.run("dvc", "push")
    here, cache, shape, ran = run.graph, run.cache, run.shape, run.ran
    run.graph, run.cache = here.clone(here.root.with_name(f"clone-{len(run.story)}")), here.root.with_name("remote")
    run.build(run.front_end())
    changed = run.graph.run("git", "status", "--porcelain") if run.ran == ran else ""
    assert not changed, run.why(f"changed: {changed}")
    remove(run.graph.root)
    run.graph, run.cache, run.shape = here, cache, shape
    return ""


def _write_pipeline(run: Fuzz) -> None:
    run.graph.run("bezoar", "dvc")
    run.shape = run.shape_now()


def interrupt(run: Fuzz) -> str:
    """Change something, and kill the build of it once some of its scripts have started."""
    change = run.chance.choice([change_a_value, edit_a_meaning, change_the_shards])
    detail = change(run)
    run.write_pipeline("dvc")  # a killed run may have written it, or not yet
    keys = {job.name: job.key for job in run.oracle().jobs}
    jobs, delay, front_end = run.chance.randint(0, 5), run.chance.random() / 4, run.front_end()
    number = run.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    words = ["dvc", "repro"] if front_end == "dvc" else ["snakemake"]
    process = run.graph.start(*words, log=run.graph.log)
    while process.poll() is None and (not run.graph.runs.exists() or len(run.graph.started()) < jobs):
        time.sleep(0.01)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait()
    _wait_for_group(process.pid)
    run.half |= {keys[name] for name in run.graph.ran()} - run.known.keys()
    run.in_flight += CORES
    return f"{change.__name__} {detail} {front_end} {number.name} after {jobs} jobs and {delay:.2f} s"


def _wait_for_group(number: int) -> None:
    """Wait until no process of a group is left."""
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while True:
            os.killpg(number, 0)
            assert time.monotonic() < end
            time.sleep(0.01)


IN_PASSING: list[Callable[[Fuzz], str]] = [
    change_a_value,
    change_a_type,
    change_the_shards,
    edit_a_command,
    edit_a_meaning,
    edit_the_words,
]
