"""Inputs from outside of the project that are not on this machine: the record says what they were.

A clone has no such files. What was built of them is proven by the record of its stage in dvc.lock, as if they were
there unchanged. A job that would have to read one can't run.
"""

import os
from collections.abc import Iterable

from bezoar.cache import CacheError
from bezoar.cache.dvc import LOCK, as_list, read
from bezoar.cache.job import Step
from bezoar.errors import problem


def is_absent(path: str) -> bool:
    """Whether a path leads out of the project, itself or by a link, to nothing."""
    return (path.startswith(("/", "../")) or os.path.islink(path)) and not os.path.exists(path)


def recorded() -> set[str]:
    """The inputs that dvc.lock records, that are outside of the project, and that aren't there.

    Raises:
        CacheError: dvc.lock isn't one.
    """
    paths = {one["path"] for entry in read(LOCK).values() for one in as_list(entry, "deps")}
    return {path for path in paths if is_absent(path)}


def check(steps: Iterable[Step]) -> None:
    """Check that steps that will run have their inputs from outside of the project.

    Raises:
        CacheError: One is not there.
    """
    for step in steps:
        for path in filter(is_absent, step.inputs):
            raise CacheError(
                problem(
                    f"{step.name} has to be built, and {path} is not there",
                    found="nothing",
                    expected=f"the input of stage {step.stage}, or what its record in dvc.lock was built with",
                    hint="put it there; what was built of it comes back by `git checkout` of the recipe and dvc.lock",
                )
            )
