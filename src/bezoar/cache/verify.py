"""`bezoar verify`: check every artifact against its record, from sources to results, without a network.

It shows that the artifacts match their records. Only a rerun shows that a record is true.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from bezoar.cache import CacheError, dvc, records
from bezoar.cache.build import OFFLINE, Build
from bezoar.cache.environment import THREADS, environment_of
from bezoar.cache.graph import loaded
from bezoar.cache.hashing import Content, Hasher, files_below
from bezoar.cache.job import Step
from bezoar.cache.objects import Objects, copy, remove
from bezoar.cache.plan import acceptances_used
from bezoar.cache.trace import Verifier
from bezoar.errors import problem

SCRATCH = Path("scratch/verify")
BUILT = {".dvc", ".git", ".snakemake", ".venv", "data", "logs", "results", "scratch"}  # not copied for a rerun


def verify(targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Broken links of the chain of proofs in topological order, and remarks on missing contents.

    Every byte is read again: objects of the cache and artifacts on disk.

    Args:
        targets: Files or rules; all results by default.
    """
    os.environ[OFFLINE] = "1"
    with loaded(targets) as attached:
        return _broken_links(attached.build)


def _broken_links(build: Build) -> tuple[list[str], list[str]]:
    hasher = Hasher(None)
    objects = Objects(build.cache, hasher)
    build.hasher, build.objects, build.verifier = hasher, objects, Verifier(hasher)
    decider = build.decider(dvc.read(dvc.LOCK), records.read())
    decision = decider.decide([], set())
    broken, absent, unbuilt = list(map(str, decision.contradictions)), 0, 0
    for step in build.steps:
        if not any(os.path.lexists(path) for path in step.outputs) and step.name not in decision.recorded:
            unbuilt += step.name in decision.reasons
        elif reasons := [one for one in decision.reasons.get(step.name, []) if one.kind != "upstream"]:
            broken.append(f"{step.name}: {'; '.join(map(str, reasons))}")
        proof = decision.proofs.get(step.name)
        for path, content in proof.outputs.items() if proof else []:
            found = hasher.content(path)
            if found and found.md5 != content.md5:
                broken.append(f"{path}: differs from what was made")
            lacking = objects.missing(content.md5)
            unsound = [md5 for md5 in lacking if os.path.exists(objects.path(md5))]
            broken += [f"{path}: object {md5} in the cache doesn't have the MD5 of its name" for md5 in unsound]
            absent += bool(lacking) and not found
    remarks = [f"{absent} outputs are neither on disk nor in the cache: `dvc fetch` brings them"] * bool(absent)
    remarks += [f"{unbuilt} jobs were never built: nothing to verify"] * bool(unbuilt)
    return broken, remarks + [f"accepted: a change of {name}: {why}" for name, why in acceptances_used(build).items()]


def rerun(name: str, report: Callable[[str], None]) -> bool:
    """Make a stage's artifacts again in a scratch folder, and report for each file whether it is equal.

    Raises:
        CacheError: The stage is unknown, has no proof, or its inputs are missing here.
    """
    with loaded() as attached:
        build, commands, threads = attached.build, attached.commands(), attached.threads()
        around = attached.surroundings()
    if name not in build.stages:
        known = ", ".join(sorted(build.stages))
        raise CacheError(problem("no such stage", found=name, expected=f"one of {known}"))
    equal = True
    for step in build.stages[name].steps:
        proof = build.decision.proofs.get(step.name)
        if proof is None:
            raise CacheError(
                problem(
                    f"{step.name} has no proof to compare with",
                    found="; ".join(map(str, build.decision.reasons[step.name])),
                    expected="a stage that is up to date",
                    hint="build it first",
                )
            )
        folder = SCRATCH / name
        try:
            _populate(folder, step, proof.action.inputs, build)
            params = folder / "bezoar-params.yaml"
            params.write_text(build.resolved.text, encoding="utf-8")
            own = dict.fromkeys(THREADS, str(threads[step.name])) | {"BEZOAR_PARAMS": str(params.absolute())}
            own |= step.declared
            network, home = around[step.name].network, (folder / ".bezoar-home").absolute()
            (home / "tmp").mkdir(parents=True)
            environment = environment_of(own, network=network.variables if network else None, folder=str(home))
            status = subprocess.run(commands[step.name], cwd=folder, env=environment, check=False).returncode
            if status:
                raise CacheError(
                    problem(
                        f"{step.name} can't be made again",
                        found=f"status {status} of {' '.join(commands[step.name])}",
                        expected="0",
                        hint="see its messages above",
                    )
                )
            for path, content in proof.outputs.items():
                for line in differences(path, content, folder / path, build.objects):
                    equal = False
                    report(line)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    report(f"{name}: {'every byte came out as recorded' if equal else 'not repeatable'}")
    return equal


def _populate(folder: Path, step: Step, inputs: dict[str, str], build: Build) -> None:
    """A folder with the code and a step's recorded inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in sorted(Path.cwd().iterdir()):
        if entry.name not in BUILT and not any(path.split("/")[0] == entry.name for path in step.outputs):
            (folder / entry.name).symlink_to(entry)
    for path, md5 in inputs.items():
        if not (folder / path).exists():
            if build.objects.missing(md5) and build.hasher.holds(path, md5) and os.path.isfile(path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                copy(path, str(folder / path))
            else:
                build.objects.restore(md5, str(folder / path))


def differences(path: str, content: Content, made: Path, objects: Objects) -> list[str]:
    """Differences between rerun and record, a line for each file."""
    hasher = Hasher(None)
    if hasher.holds(str(made), content.md5):
        return []
    before = made.with_name(f".{made.name}.before")
    try:
        objects.restore(content.md5, str(before))
        if not content.md5.endswith(".dir"):
            return [f"{path}: {_difference(before, made)}"]
        names = sorted({*files_below(str(before)), *files_below(str(made))})
        found = [(name, before / name, made / name) for name in names]
        return [
            f"{path}/{name}: {_difference(one, other)}"
            for name, one, other in found
            if not (one.exists() and other.exists()) or one.read_bytes() != other.read_bytes()
        ]
    finally:
        remove(str(before))


def _difference(before: Path, after: Path) -> str:
    if not before.exists() or not after.exists():
        return "is new" if after.exists() else "wasn't made"
    if before.suffix == ".safetensors":
        return _largest_difference(before, after)
    one, other = before.read_bytes(), after.read_bytes()
    if before.suffix in (".json", ".jsonl", ".txt"):
        lines = [one.splitlines(), other.splitlines()]
        unequal = sum(a != b for a, b in zip(*lines, strict=False)) + abs(len(lines[0]) - len(lines[1]))
        return f"{unequal:,} of {max(map(len, lines)):,} lines differ"
    unequal = sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
    return f"{unequal:,} of {max(len(one), len(other)):,} bytes differ"


def _largest_difference(before: Path, after: Path) -> str:
    """The largest difference of two sets of weights."""
    from safetensors.torch import load_file  # slow to import

    one, other = load_file(before), load_file(after)
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return "other tensors"
    largest = max((one[name].float() - other[name].float()).abs().max().item() for name in one)
    return f"weights differ by {largest:.3g} at most"
