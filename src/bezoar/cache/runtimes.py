"""Snakemake's record of an output, from its proof: `snakemake --report` takes runtimes from it."""

import os
import re
from datetime import datetime
from typing import Any

from bezoar.cache.build import Build
from bezoar.cache.job import Step
from bezoar.cache.proofs import Proof

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # one for each job of a stage


def records(build: Build) -> dict[str, dict[str, Any]]:
    """By path, the record of each output that is up to date, with when its job ran and how long it took."""
    proofs = build.decision.proofs
    steps = [step for step in build.steps if step.name in proofs]
    return {path: _record(step, proofs[step.name], path) for step in steps for path in step.outputs}


def _record(step: Step, proof: Proof, path: str) -> dict[str, Any]:
    times = TIME.findall(proof.made.get("time", ""))
    ended = datetime.fromisoformat(times[-1]).timestamp() if times else _written(path)
    return {
        "job_hash": step.name,
        "rule": step.rule,
        "starttime": ended - proof.cost.get("seconds", 0.0),
        "endtime": ended,
        "conda_env": None,
        "container_img_url": None,
    }


def _written(path: str) -> float:
    return os.stat(path).st_mtime if os.path.exists(path) else 0.0
