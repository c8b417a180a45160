"""The folders of a rule's outputs, by its patterns, and its jobs as steps of the cache."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake.io import is_flagged

from bezoar.cache import CacheError, foreign
from bezoar.cache.action import typed_digest
from bezoar.cache.form import form_of
from bezoar.cache.job import Step
from bezoar.errors import problem

Parts = Mapping[str, Callable[[Any], Iterable[str]]]
WILDCARD = re.compile(r"\{(\w+)(?:,(?:[^{}]|\{[^{}]*\})*)?\}")


class RuleLayout:
    """The folders of a rule's outputs, by its patterns."""

    def __init__(self, rule: Any, inner: frozenset[str]) -> None:
        self.rule = rule.name
        self.patterns = [WILDCARD.sub(r"{\1}", str(path)) for path in rule.output]
        self.names = list(dict.fromkeys(WILDCARD.findall(self.patterns[0])))
        self.inner = [name for name in self.names if name in inner]
        self.outer = [name for name in self.names if name not in inner]
        self.folder = self._folder()
        self._parts: dict[tuple[str, ...], int] = {}  # number of jobs by block
        self.outs = [self._out(pattern, path) for pattern, path in zip(self.patterns, rule.output, strict=True)]

    def _folder(self) -> str | None:
        """The folder pattern with all wildcards, which belongs to one job; None if there isn't one."""
        folders = {self._prefix(pattern) for pattern in self.patterns}
        return folders.pop() if len(folders) == 1 and self.names else None

    def _prefix(self, pattern: str) -> str | None:
        parts = pattern.split("/")
        for length in range(1, len(parts)):
            if set(WILDCARD.findall("/".join(parts[:length]))) == set(self.names):
                return "/".join(parts[:length])
        return None

    def _out(self, pattern: str, path: Any) -> str:
        if self.inner:
            parts = pattern.split("/")
            first = next(n for n, part in enumerate(parts) if set(WILDCARD.findall(part)) & set(self.inner))
            out = "/".join(parts[:first])
            if set(WILDCARD.findall(out)) != set(self.outer):
                raise CacheError(
                    problem(
                        f"rule {self.rule}: {pattern} can't be stored as one folder per block",
                        found=f"{{{self.inner[0]}}} before another wildcard",
                        expected="the wildcards of the block first",
                        hint="put the folder of the parts inside the block's",
                    )
                )
            return out
        return pattern if is_flagged(path, "directory") or not self.folder else self.folder

    def targets(self, block: list[str], parts: Parts) -> list[str]:
        """The first output of every job of a block."""
        if len(block) != len(self.outer):
            raise WorkflowError(problem("no such stage", found=block, expected=f"{self.rule} {' '.join(self.outer)}"))
        outer = dict(zip(self.outer, block, strict=True))
        values = [parts[name](SimpleNamespace(**outer)) for name in self.inner]
        combinations = itertools.product(*values)
        return [self.patterns[0].format(**outer, **dict(zip(self.inner, one, strict=True))) for one in combinations]

    def _count(self, job: Any, parts: Parts) -> int:
        """The number of a block's jobs."""
        return math.prod(len(list(parts[name](job.wildcards))) for name in self.inner)

    def step(self, job: Any, parts: Parts, environment: dict[str, str]) -> Step:
        """A job as a step of the cache."""
        values = job.wildcards_dict
        block = tuple(values[name] for name in self.outer)
        if block not in self._parts:  # once per block: it may have thousands of jobs
            self._parts[block] = self._count(job, parts)
        params = dict(job.params.get("values"))
        _check_recordable(self.rule, params)
        return Step(
            rule=self.rule,
            block=block,
            parts=self._parts[block],
            inputs=tuple(dict.fromkeys(str(path) for path in job.input if path != job.input.script)),
            form=form_of(job, self.inner),
            outputs=tuple(map(str, job.output)),
            folder=self.folder.format(**values) if self.folder else None,
            outs=tuple(out.format(**values) for out in self.outs),
            params=params,
            values=typed_digest(params),
            environment=environment,
            script=str(job.input.script),
        )


def _check_recordable(rule: str, params: dict[str, Any]) -> None:
    """Refuse values that dvc.lock can't hold before anything runs.

    Raises:
        CacheError: There is one, such as a date.
    """
    for name, value in params.items():
        try:
            foreign.plain(value)
        except foreign.Malformed as error:
            raise CacheError(
                problem(
                    f"rule {rule}: {name} can't be recorded",
                    found=error,
                    expected="text, number, true or false, null, list, or a map with keys of text or of whole numbers",
                    hint="quote it in params.yaml, so that it is a text",
                )
            ) from error
