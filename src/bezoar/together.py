"""The frame of a script that does several jobs in one process: its own, then those that `bezoar exec` adds to it.

Nothing is left of one job for the next but what `once` keeps.
"""

import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from bezoar import script
from bezoar.logs import logger

Made = TypeVar("Made")
_kept: list[tuple[Any, Any]] = []  # at most one: what it was made of, and what was made
_shared = [0.0, 0.0]  # seconds and CPU seconds that `once` took


class _Stopped(BaseException):
    """The process is to end."""


def run(main: Callable[[list[str] | None], None]) -> None:
    """Run a script as `bezoar.script.run` does, then once more for each job that shares its process.

    A failure of its own job ends the process: the others run by themselves then. So does one that fails here, and those
    that are left when SIGTERM comes, such as the notice before a time limit.
    """
    own, *others = _jobs()
    with _noted(own):
        script.run(lambda: main(None))
    if not others:
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        for job in others:
            _run(main, job)
    except _Stopped:
        logger.warning("stopped: jobs that are left run by themselves")


def once(make: Callable[..., Made], *given: Any) -> Made:
    """What a function makes of these values: made once for jobs that share a process. Only the last one is kept."""
    if "BEZOAR_TOGETHER" not in os.environ:
        return make(*given)
    wanted = (make, *given)
    if not _kept or _kept[0][0] != wanted:
        _forget()
        start = _clocks()
        _kept.append((wanted, make(*given)))
        _shared[:] = [sum(both) for both in zip(_shared, _since(start), strict=True)]
    made: Made = _kept[0][1]
    return made


def _forget() -> None:
    if _kept:
        _kept.clear()
        gc.collect()  # a model is in circles of objects


def _jobs() -> list[dict[str, Any]]:
    """The jobs of this process, its own first; without a name if it has only that."""
    path = os.environ.get("BEZOAR_TOGETHER")
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()] if path else [{}]


def _run(main: Callable[[list[str] | None], None], job: dict[str, Any]) -> None:
    """One more job, with its own log; its failure is a warning."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    os.environ["BEZOAR_COSTS"] = job["costs"]
    try:
        with _noted(job):
            main(job["argv"])
    except (Exception, SystemExit):
        logger.warning(f"{job['name']} failed in the process of another job, and runs by itself", exc_info=True)
        _forget()  # the failure may have changed it


@contextmanager
def _noted(job: dict[str, Any]) -> Iterator[None]:
    """Write down that a job is done, and what it took beside what the jobs share."""
    start, shared = _clocks(), list(_shared)
    yield
    if job:
        took = [all_ - (now - before) for all_, now, before in zip(_since(start), _shared, shared, strict=True)]
        line = {"done": job["name"], "seconds": max(took[0], 0.0), "cpu_seconds": max(took[1], 0.0)}
        with open(os.environ["BEZOAR_TOGETHER"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _since(start: tuple[float, float]) -> list[float]:
    return [now - then for now, then in zip(_clocks(), start, strict=True)]


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped
