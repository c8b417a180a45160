"""The small graph of tests/workflow/graph/ with many shards, in the state after a build, made without running it.

A build of one shard runs every script once, and its traces are those of all jobs. Artifacts are written here, and their
proofs through the library, so that ten thousand shards don't start ten thousand scripts. `python benchmarks/built.py`
fills the current folder; with `record` it writes Snakemake's own records there, and with `plan` the plan of a run.
`ours` and `bare` make whole folders.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

GRAPH = Path(__file__).parents[1] / "tests" / "workflow" / "graph"
LEFT_OUT = ("__pycache__", ".snakemake", "data", "results", ".dvc", "profiles")
PARAMS = """\
seed: 0
shards: {shards}
sources:
  words: {{file: words.txt, drop: x}}
schemes:
  upper: {{source: words, case: upper, suffix: "!"}}
mixes:
  all: {{schemes: [upper]}}
stages:
  sft: {{mix: all, init_from: null, rate: 0.5, decay: 0.25}}
evals:
  score: {{stages: [sft], draws: 3}}
"""
NOTHING = "Nothing to be done"
PLANNED = "data/generated/upper/0000/rows.txt"  # of the job that `plan` plans
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("BEZOAR_", "SNAKEMAKE_", "DVC_"))},
    "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
    "DVC_NO_ANALYTICS": "1",
}


def run(folder: Path, *command: str, said: str = "") -> str:
    """Run a command to its end; its output, which has to hold a text.

    Raises:
        SystemExit: It failed, or didn't say that.
    """
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
    )
    if done.returncode != 0 or said not in done.stdout:
        sys.exit(f"{' '.join(command)} in {folder} ended with {done.returncode} and said\n{done.stdout[-4000:]}")
    return done.stdout


def ours(folder: Path, shards: int) -> None:
    """A repository with our cache, built: `snakemake` and `dvc repro` have nothing to do."""
    shutil.copytree(GRAPH, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (folder / "params.yaml").write_text(PARAMS.format(shards=1))
    (folder / ".dvcignore").write_text(".snakemake_timestamp\n__pycache__/\n")
    (folder / ".gitignore").write_text("/data/\n/results/\n.snakemake/\n__pycache__/\n")
    run(folder, "git", "init", "--quiet", ".")
    run(folder, "dvc", "init", "--quiet")
    run(folder, "bezoar", "dvc")
    run(folder, "snakemake", "--cores", "2")
    (folder / "params.yaml").write_text(PARAMS.format(shards=shards))
    run(folder, sys.executable, str(Path(__file__).resolve()))
    run(folder, "snakemake", "--cores", "2", said=NOTHING)  # writes dvc.lock, traces.lock and code.lock


def bare(folder: Path, built: Path) -> None:
    """The same rules and files without our cache: Snakemake alone, with its own records of all jobs."""
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns(".dvc", ".snakemake", ".git", "dvc.*", "*.lock"))
    snakefile = folder / "Snakefile"
    snakefile.write_text(stripped(snakefile.read_text()))
    run(folder, sys.executable, str(Path(__file__).resolve()), "record")
    run(folder, "snakemake", "--cores", "2", said=NOTHING)


def stripped(text: str) -> str:
    """A Snakefile without our cache."""
    for pattern in (
        r"^from bezoar.*\n",
        r"^graph\.attach\(\n(?:    .*\n)*\)\n",
        r"^if workflow\.is_main_process:\n(?:    .*\n)*",
        r"bezoar exec \S+ -- ",
    ):
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE)
        assert count, pattern
    assert "bezoar" not in text.replace("BEZOAR_PARAMS", "")
    return text


def fill() -> None:
    """Make every artifact of the graph in this folder, and its proof, with the traces of a smaller build if any."""
    from bezoar.cache import records
    from bezoar.cache.graph import loaded
    from bezoar.cache.proofs import Proof

    known = records.read()
    traces = {name: known.traces[next(iter(one.traces.values()))] for name, one in known.stages.items()}
    for record in ("dvc.lock", records.TRACES_LOCK):
        Path(record).unlink(missing_ok=True)
    shutil.rmtree(".dvc/cache", ignore_errors=True)
    with loaded() as attached:
        build = attached.build
        for step in build.steps:
            if step.stage not in traces:
                traces[step.stage] = of_imports(step.script, build.code.closures)
            for output in step.outputs:
                write(output)
            inputs = {path: content.md5 for path in step.inputs if (content := build.hasher.content(path))}
            made = {path: content for path in step.outputs if (content := build.hasher.content(path))}
            for path, content in made.items():
                build.objects.store(path, content)
            build.proofs.add(Proof(step.action(inputs), made, traces[step.stage], {"seconds": 1.0}))
        build.hasher.save()


def of_imports(script: str, closures: Any) -> Any:
    """A trace of all code of the project, and of all packages, that a script's text imports, directly or not."""
    from bezoar.cache.meanings import most_read
    from bezoar.cache.trace import Distribution, Module, Trace
    from bezoar.cache.trace.places import Places

    files, sites, meanings = closures.files(script), Places().sites, closures.meanings
    docstrings = most_read(meanings.of(path).reads for path in files)
    imported = {name.removesuffix(" (package)") for name in closures.parts(script) if name.endswith(" (package)")}
    owners = {name: top for top in imported for name in sites.owners(top)}
    return Trace(
        modules={path: Module(meanings.digest(path, docstrings)) for path in files if not path.startswith("..")},
        distributions={name: Distribution(sites.version(name) or "", (top,)) for name, top in owners.items()},
        docstrings=docstrings,
    )


def record() -> None:
    """Bring files' times in order, and write Snakemake's own records of all jobs in this folder.

    That is what `snakemake --touch --forceall` does, but it takes a tenth of a second for each job, and more.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, ExecutionSettings, OutputSettings, Quietness, ResourceSettings

    async def finish(workflow: Any) -> None:
        for level in workflow.dag.toposorted():
            for job in level:
                for output in job.output:
                    output.touch()
                await workflow.persistence.finished(job)

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        given = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        workflow = given.dag(DAGSettings()).workflow_api._workflow
        workflow.dag_settings, workflow.execution_settings = DAGSettings(), ExecutionSettings(lock=False)
        workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True)
        workflow._build_dag()
        workflow.iocache.deactivate()
        workflow.async_run(finish(workflow))


def planned(folder: Path) -> tuple[str, str]:
    """Plan a job that has a proof; its output's path, and another one's that isn't planned."""
    run(folder, sys.executable, str(Path(__file__).resolve()), "plan")
    return PLANNED, PLANNED.replace("0000", "0001")


def plan() -> None:
    """Write the plan of a run in which the first shard's job has to be looked up, and would run `true`."""
    from bezoar.cache.graph import loaded
    from bezoar.cache.job import PlannedJob, Run

    with loaded() as attached:
        build = attached.build
        step = next(step for step in build.steps if step.name == PLANNED)
        closures = build.code.closures
        contents, code = closures.contents(step.script), closures.print_of(step.script)
        Run(build.cache, attached.resolved.path, False, {step.script: contents}, {step.script: code}, {}, "1-1").write()
        PlannedJob(step, ["true"], True, []).write()


def write(path: str) -> None:
    """Write an artifact that no other equals: a file, or a directory where the path has no suffix."""
    names = [""] if Path(path).suffix else ["history.json", "weights/weight.txt"]
    for name in names:
        file = Path(path, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file}\n")


if __name__ == "__main__":
    {"": fill, "plan": plan, "record": record}["".join(sys.argv[1:])]()
