"""What tracing and isolation cost each job of a built project, against its command alone.

$ python benchmarks/isolation.py

It runs in a folder with a build that is up to date. One job of each rule runs in a scratch copy of its inputs, with the
hook and in its room, and without both, in turns; a table shows CPU seconds by rule, and their sum for all jobs.
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

from timing import alternated, middle, table

from bezoar.cache.environment import THREADS, environment_of
from bezoar.cache.graph import loaded
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import PlannedJob, Run, Step, Surroundings
from bezoar.cache.running import run_job
from bezoar.cache.verify import _populate

SCRATCH = Path("scratch/isolation")


def empty(step: Step) -> None:
    """Remove a job's outputs and its state, so that it starts from nothing."""
    for path in {*step.outs, "scratch/train"}:
        shutil.rmtree(path, ignore_errors=True)
        if os.path.isfile(path):
            os.unlink(path)


def alone(step: Step, command: list[str], environment: dict[str, str]) -> Callable[[], object]:
    """Runs a job's command without hook and room."""

    def work() -> None:
        empty(step)
        for path in step.outputs:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)

    return work


def held(step: Step, command: list[str], run: Run, around: Surroundings) -> Callable[[], object]:
    """Runs a job as `bezoar exec` does."""

    def work() -> None:
        empty(step)
        inputs = {path: content.md5 for path in step.inputs if (content := Hasher().content(path))}
        done = run_job(PlannedJob(step, command, True, [], around), run, step.action(inputs), Hasher(), [])
        assert done.trace, done

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rules", nargs="*", help="by default, all that send no requests")
    args = parser.parse_args()
    with loaded() as attached:
        build, commands = attached.build, attached.commands()
        around = {step.name: attached.workflow.dag.around(job) for job, step in attached.workflow.dag.steps.items()}
    firsts: dict[str, Step] = {}
    counts: dict[str, int] = {}
    for step in build.steps:
        counts[step.rule] = counts.get(step.rule, 0) + 1
        if step.name in build.decision.proofs:
            firsts.setdefault(step.rule, step)
    rows, sums = [], [0.0, 0.0]
    for rule, step in firsts.items():
        if args.rules and rule not in args.rules:
            continue
        found = measured(step, commands[step.name], around[step.name], build, args.rounds)
        bare, ours = middle(found["alone"]).cpu, middle(found["held"]).cpu
        sums = [sums[0] + counts[rule] * bare, sums[1] + counts[rule] * ours]
        rows.append([rule, str(counts[rule]), f"{bare:.2f}", f"{ours:.2f}", f"{ours / bare:.3f}"])
        print(f"{rule}: {bare:.2f} alone, {ours:.2f} held", flush=True)
    rows.append(["all jobs", str(sum(counts.values())), f"{sums[0]:.1f}", f"{sums[1]:.1f}", f"{sums[1] / sums[0]:.3f}"])
    print(table(["rule", "jobs", "CPU s alone", "CPU s traced and isolated", "ratio"], rows))


def measured(step: Step, command: list[str], around: Surroundings, build: Any, rounds: int) -> dict[str, list[Any]]:
    """CPU seconds of a job in both ways, in a scratch folder with its inputs."""
    folder = SCRATCH / step.rule
    _populate(folder, step, build.decision.proofs[step.name].action.inputs, build)
    (folder / "params.yaml.run").write_text(build.resolved.text)
    script = step.script
    with chdir(folder):
        params = os.path.abspath("params.yaml.run")
        contents = build.code.closures.contents(script)
        run = Run(os.path.abspath(".dvc/cache"), params, False, {script: contents}, {script: ""}, {}, "isolation")
        threads = dict.fromkeys(THREADS, "2")
        os.environ.update(threads)
        environment = environment_of({"BEZOAR_PARAMS": params})
        works = {"alone": alone(step, command, environment), "held": held(step, command, run, around)}
        found = alternated(works, rounds)
    shutil.rmtree(folder, ignore_errors=True)
    return found


if __name__ == "__main__":
    main()
