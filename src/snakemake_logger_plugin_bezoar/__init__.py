"""Snakemake's output without its noise: a line when a job starts, and one when it is done.

`logger: bezoar`, as profiles/default has it. Errors and warnings are whole, as Snakemake says them, and with `snakemake
--verbose` so is everything.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from bezoar.text import printable

DRAWN = "drawn"  # of a record: what rich draws in place of its text
NOISE = re.compile(
    "Assuming unrestricted shared filesystem usage|Building DAG of jobs|Using shell: |Group jobs: inactive|host: |"
    "Conda environments: ignored|Singularity containers: ignored|Select jobs to execute|Complete log|Elapsed time: |"
    "Processed [0-9]+ potential jobs|Storing output in storage|Updating checkpoint dependencies"
)
UNSAID = {
    LogEvent.RESOURCES_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.WORKFLOW_STARTED,
    LogEvent.SHELLCMD,
    LogEvent.RULEGRAPH,
}
TARGET = "all"  # makes nothing, and isn't shown
SHOWN_RULES = 6
SECONDS_BETWEEN_LOOKS = 10.0


class LogHandler(LogHandlerBase):
    """Writes to stderr; in a dry run to stdout, with each job as Snakemake says it."""

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        said = self.common_settings
        self.stream = sys.stdout if said.stdout else sys.stderr
        self.whole = ColorizingTextHandler(nocolor=said.nocolor, stream=self.stream)
        self.formatter_of_whole = DefaultFormatter(said.quiet, said.show_failed_logs)
        self.whole.setFormatter(self.formatter_of_whole)
        self.addFilter(DefaultFilter(said.quiet, said.debug_dag, said.verbose, said.dryrun, said.printshellcmds))
        self.jobs: dict[int, str] = {}  # by Snakemake's number: the job's name
        self.ended: list[int] = []  # since the last line
        self.done = self.total = 0
        self.looked = time.monotonic()  # at how long the run still takes

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own handler."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake writes its log file itself, with everything."""
        return False

    @property
    def has_filter(self) -> bool:
        """It has Snakemake's filter, by --quiet."""
        return True

    @property
    def has_formatter(self) -> bool:
        """It has Snakemake's formatter for what it passes on."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """It draws none."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or nothing."""
        try:
            self._emit(record)
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if parts := getattr(record, DRAWN, None):
            self._draw(*parts)
        elif self._is_shown(record, event):
            self.formatter_of_whole.show_failed_logs = self._shows_log(record, event)
            self.whole.handle(record)
        elif event is not None and not self.common_settings.dryrun:
            self._say(event, record.__dict__)

    def _is_shown(self, record: logging.LogRecord, event: LogEvent | None) -> bool:
        """Whether a record is shown as Snakemake says it."""
        said = self.common_settings
        if said.verbose or record.levelno >= logging.WARNING:
            return True
        if event is None:
            return not NOISE.match(str(record.msg or ""))
        return said.dryrun or event in (
            LogEvent.DEBUG_DAG,
            LogEvent.SHELLCMD,
        )  # which the filter lets through on demand

    def _shows_log(self, record: logging.LogRecord, event: LogEvent | None) -> bool:
        """Whether the log of a failed job is shown: a job of this machine has said on this stream what is in it."""
        elsewhere = event != LogEvent.JOB_ERROR or "external_jobid" in record.__dict__.get("aux", {})
        return bool(self.common_settings.show_failed_logs) and elsewhere

    def _say(self, event: LogEvent, facts: Mapping[str, Any]) -> None:
        if event == LogEvent.JOB_INFO and facts["rule_name"] != TARGET:
            name = " ".join([facts["rule_name"], *map(str, facts["wildcards"].values())])
            self.jobs[facts["jobid"]] = name
            self._line("start", name)
        elif event == LogEvent.JOB_FINISHED:
            self.ended.append(facts["job_id"])
        elif event == LogEvent.PROGRESS:
            names, self.ended = [self.jobs.pop(one) for one in self.ended if one in self.jobs], []
            for name in names:
                self.done += 1
                self._line("done", f"{name}, {self.done:,} of {self.total:,}{self._left()}")
        elif event == LogEvent.RUN_INFO:
            rules = {name: int(count) for name, count in facts["stats"].items() if name not in ("total", TARGET)}
            self.total = sum(rules.values())
            self._line("run", _counts(rules))

    def _left(self) -> str:
        """How long the run still takes, now and then."""
        if time.monotonic() - self.looked < SECONDS_BETWEEN_LOOKS:
            return ""
        self.looked = time.monotonic()
        from bezoar.cache import progress, status

        found = progress.look()
        return f", {status.left(found, time.time())}" if found and (found.running or found.waiting) else ""

    def _line(self, word: str, text: str) -> None:
        style = {"start": "dim", "done": "green"}.get(word, "bold")
        from bezoar import terminal

        self._draw(terminal.line(f"{word:<5}  {printable(text, lines=False)}", style))

    def _draw(self, *parts: Any) -> None:
        from bezoar import terminal

        terminal.draw(*parts, file=self.stream)


def _counts(rules: Mapping[str, int]) -> str:
    """The number of jobs, and of which rules most are."""
    most = sorted(rules, key=lambda name: -rules[name])
    listed = ", ".join(f"{rules[name]:,} {name}" for name in most[:SHOWN_RULES])
    more = f" and {len(most) - SHOWN_RULES} more rules" if len(most) > SHOWN_RULES else ""
    total = sum(rules.values())
    return f"{total:,} job{'s' * (total != 1)}: {listed}{more}"
