"""Logging for scripts: to stderr and to the rule's log file, and progress for long work."""

import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from bezoar import __version__
from bezoar.text import printable

Item = TypeVar("Item")
logger = logging.getLogger("bezoar")
SECONDS_BETWEEN_LINES = 15.0
JOB = "BEZOAR_JOB"  # set for the jobs of a run
LAUNCHED = "BEZOAR_LAUNCHED"  # set for the processes of a training on several devices


class Printable(logging.Formatter):
    """Escapes control characters, since logs quote servers, models and files."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as text."""
        return printable(super().format(record))


def guard() -> None:
    """Escape control characters in warnings of a process without a log, too."""
    if logging.lastResort:
        logging.lastResort.setFormatter(Printable("%(message)s"))


KERNEL = "Failed to load CPU gemm_4bit_forward from kernels-community"
KERNEL_LOGGER = "bitsandbytes.backends.cpu.ops"


def _is_needed(record: logging.LogRecord) -> bool:
    """False for a message of bitsandbytes, as it is imported on some processors: to install `kernels`.

    That package would download a kernel's code from the hub as a job runs. So there is nothing for the user to do.
    """
    return KERNEL not in str(record.msg)


def setup(log: Path | str | None) -> None:
    """Send the log to stderr and, if given, to a file, which is overwritten; the processes of one job continue it."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        if Path(log).is_symlink():
            Path(log).unlink()  # the log would overwrite the link's target
        if LAUNCHED not in os.environ:
            Path(log).write_text(_facts_of_the_run() + "\n", encoding="utf-8")
        handlers.append(logging.FileHandler(log, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(Printable("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers)
    for noisy in ("httpx", "httpx2", "openai", "anthropic", "datasets", "lm_eval", "urllib3", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger(KERNEL_LOGGER).addFilter(_is_needed)


def _facts_of_the_run() -> str:
    """Date, machine and versions, for logs only: results must not depend on them."""
    machine = f"{platform.node()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{date.today()} on {machine}, bezoar {__version__}"


def on_terminal() -> bool:
    """Whether stderr is a terminal of a script that was started by hand: progress is then a bar, otherwise log lines.

    Jobs of a run share its terminal, and their logs say how far they are (`bezoar status`).
    """
    return sys.stderr.isatty() and JOB not in os.environ


class Bar:
    """Progress of long work: a bar on a terminal, otherwise a log line every 15 seconds; a context manager."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self._started = self._spoken = time.monotonic()
        self._tqdm: Any = None
        if on_terminal():
            from tqdm import tqdm  # imported only if it is shown

            self._tqdm = tqdm(total=total, desc=what, unit="", leave=False)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tqdm is not None:
            self._tqdm.close()

    def advance(self) -> None:
        """Count one more finished item."""
        self.done += 1
        if self._tqdm is not None:
            self._tqdm.update()
            return
        now = time.monotonic()
        if now - self._spoken > SECONDS_BETWEEN_LINES and self.done < self.total:
            self._spoken = now
            left = (now - self._started) / self.done * (self.total - self.done)
            logger.info(f"{self.what}: {self.done:,} of {self.total:,}, {left / 60:.1f} min left")


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items; shows progress."""
    with Bar(total, what) as bar:
        for item in items:
            yield item
            bar.advance()
