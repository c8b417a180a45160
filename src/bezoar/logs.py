"""Logging for scripts: to stderr and to the rule's log file, and progress for long work."""

import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TypeVar

from bezoar import __version__

Item = TypeVar("Item")
logger = logging.getLogger("bezoar")
SECONDS_BETWEEN_LINES = 15.0


def setup(log: Path | str | None) -> None:
    """Send the log to stderr and, where a path is given, to that file as well (started anew)."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        Path(log).write_text(_facts_of_the_run() + "\n", encoding="utf-8")
        handlers.append(logging.FileHandler(log, encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    for noisy in ("httpx", "httpx2", "openai", "anthropic", "datasets", "lm_eval", "urllib3", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _facts_of_the_run() -> str:
    """When, where and with what: facts that belong beside a result and never into it."""
    machine = f"{platform.node()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{date.today()} on {machine}, bezoar {__version__}"


def on_terminal() -> bool:
    """Whether someone watches: progress is then a bar, otherwise log lines."""
    return sys.stderr.isatty()


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items, with a progress bar on a terminal and a log line every 15 seconds otherwise."""
    if on_terminal():
        from tqdm import tqdm  # not needed, and not imported, where nobody watches

        yield from tqdm(items, total=total, desc=what, unit="", leave=False)
        return
    started = spoken = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - spoken > SECONDS_BETWEEN_LINES and done < total:
            spoken = now
            left = (now - started) / done * (total - done)
            logger.info(f"{what}: {done:,} of {total:,}, {left / 60:.1f} min left")
