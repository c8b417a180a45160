"""`bezoar why`: what an artifact was made of, back to the sources, and where each part comes from."""

from collections.abc import Iterable, Iterator
from typing import Any

from bezoar.cache import CacheError, signing
from bezoar.cache.build import Build
from bezoar.cache.job import Step
from bezoar.cache.proofs import Proof
from bezoar.cache.stages import cover
from bezoar.errors import problem
from bezoar.terminal import cut

SHOWN = 4  # outputs in a hint
WIDE = 100  # characters of a value


def why(build: Build, path: str) -> list[dict[str, Any]]:
    """The jobs that an artifact is made by, the last one first, and each once.

    Each has `step`, `stage`, `proven` or `reasons`, `outputs`, `inputs` (path, MD5 and the job that makes it),
    `values`, `command` (a digest), `modules`, `distributions`, `reads`, `made`, `origin`, `signed` (by whom) and
    `cost`, and if the record in dvc.lock doesn't count, `untrusted` (why).

    Args:
        build: The build, after its decision.
        path: An output of a job, a file or folder in one, or the name of a job or stage.

    Raises:
        CacheError: No job makes it.
    """
    producers = {output: step for step in build.steps for output in step.outputs}
    found = cover(path.rstrip("/"), producers)
    inside = [step for out, step in producers.items() if out.startswith(f"{path.rstrip('/')}/")]
    todo = [producers[found]] if found else inside
    todo = todo or [step for step in build.steps if path in (step.name, step.stage)]
    if not todo:
        raise unmade(
            path, build.steps, "an output of a rule, such as results/mtbench.json, or a stage, such as train-sft"
        )
    seen: dict[str, dict[str, Any]] = {}
    while todo:
        step = todo.pop(0)
        if step.name not in seen:
            seen[step.name] = _job(build, step, producers)
            todo += [producers[one] for one in step.inputs if one in producers]
    return list(seen.values())


def unmade(path: str, steps: Iterable[Step], expected: str) -> CacheError:
    """The error about a path that no rule makes, with outputs in folders of this name, or of a stage of this name."""
    alike = {
        output
        for step in steps
        if path == step.stage or any(out.endswith(f"/{path}") for out in step.outs if path)
        for output in step.outputs
    }
    first = "` or `".join(sorted(alike)[:SHOWN])
    hint = f"did you mean `{first}`?" if alike else "`bezoar costs` lists all stages"
    return CacheError(problem(f"no rule makes {path}", found="a source file, or nothing", expected=expected, hint=hint))


def _job(build: Build, step: Step, producers: dict[str, Step]) -> dict[str, Any]:
    proof = build.decision.proofs.get(step.name)
    last = proof or build.decision.recorded.get(step.name)
    found: dict[str, Any] = {"step": step.name, "stage": step.stage, "proven": proof is not None}
    if why := build.decision.untrusted.get(step.stage):
        found["untrusted"] = why
    if proof is None:
        found["reasons"] = [str(one) for one in build.decision.reasons.get(step.name, [])]
    inputs = last.action.inputs if last else {}
    found["inputs"] = [
        {"path": one, "md5": inputs.get(one), "from": producers[one].stage if one in producers else None}
        for one in step.inputs
    ]
    return found | (_recorded(last) if last else {})


def _recorded(proof: Proof) -> dict[str, Any]:
    trace = proof.trace
    key = signing.policy().trusted.get(proof.signer)
    return {
        "outputs": {path: one.md5 for path, one in proof.outputs.items()},
        "values": proof.action.params,
        "command": proof.action.form,
        "environment": proof.action.environment,
        "modules": sorted(trace.modules) if trace else None,
        "distributions": {name: one.version for name, one in sorted(trace.distributions.items())} if trace else None,
        "reads": dict(sorted(trace.reads.items())) if trace else None,
        "made": proof.made,
        "origin": proof.origin,
        "signed": key.name if key else proof.signer,
        "cost": proof.cost,
    }


def text(jobs: list[dict[str, Any]], *, everything: bool = False) -> str:
    """The jobs as text for people."""
    return "\n".join(line for job in jobs for line in _lines(job, everything=everything))


def _lines(job: dict[str, Any], *, everything: bool) -> Iterator[str]:
    state = "up to date" if job["proven"] else "; ".join(job["reasons"]) or "not up to date"
    yield f"{job['step']}  ({job['stage']}): {state}"
    if made := job.get("made"):
        yield f"  made: {', '.join(f'{name} {value}' for name, value in made.items())}"
    if job.get("origin"):
        yield f"  taken from dvc.lock of commit {job['origin'][:12]}"
    if job.get("signed"):
        yield f"  signed by {job['signed']}"
    if job["proven"] and job.get("untrusted"):
        yield f"  the record in dvc.lock doesn't count: {job['untrusted']}"
    for name, value in (job.get("values") or {}).items():
        yield f"  value {name}: {repr(value) if everything else cut(repr(value), WIDE)}"
    for name, value in (job.get("environment") or {}).items():
        yield f"  variable {name}: {value}"
    yield from _code(job, everything=everything)
    inputs = job["inputs"]
    for one in inputs if everything else inputs[:6]:
        yield f"  input {one['path']}  {(one['md5'] or 'not made yet')[:12]}  from {one['from'] or 'your files'}"
    if len(inputs) > 6 and not everything:
        yield f"  and {len(inputs) - 6:,} more inputs"


def _code(job: dict[str, Any], *, everything: bool) -> Iterator[str]:
    if job.get("modules") is None:
        return
    distributions = [f"{name} {version}" for name, version in job["distributions"].items()]
    if everything:
        yield f"  modules: {', '.join(job['modules'])}"
        yield f"  packages: {', '.join(distributions)}"
    else:
        yield f"  code: {len(job['modules'])} modules, {len(distributions)} packages (--all names them)"
    for path in job["reads"]:
        yield f"  also read {path}"
