"""Digests of stages for code.lock: DVC's view of code, commands and values. It may be too wide, never too narrow."""

import os
from collections.abc import Iterable
from typing import Any

from bezoar.cache.code import LENGTH, Closures, is_own_package
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.records import Records
from bezoar.cache.stages import DvcStage
from bezoar.cache.trace import Trace, Verifier


class Code:
    """The present code of a graph's stages, as code.lock has it.

    Args:
        stages: The graph's stages.
        locked: The entries of dvc.lock.
        records: The content of traces.lock.
        verifier: Finds what a trace names, as it is now.
        packaged: Whether rules use scripts of the package.
    """

    def __init__(
        self,
        stages: dict[str, DvcStage],
        locked: dict[str, Any],
        records: Records,
        hasher: Hasher,
        verifier: Verifier,
        *,
        packaged: bool = False,
    ) -> None:
        self.closures = Closures(hasher)
        self.elsewhere = packaged and not is_own_package()
        self._stages = stages
        self.learn(locked, records, verifier)
        self.closures.save()

    def learn(self, locked: dict[str, Any], records: Records, verifier: Verifier) -> None:
        """Take the traces of other records; the code that texts name stays as it was when it was read."""
        bound = {name: records.of(name, locked[name]) for name in self._stages if name in locked}
        traces = {
            name: [records.traces[one] for one in set(record.traces.values()) if one in records.traces]
            for name, record in bound.items()
            if record
        }
        changes = {name: _changes(found, verifier) for name, found in traces.items()}
        changes |= {name: {"": "no record in traces.lock"} for name, record in bound.items() if record is None}
        self.prints = {name: self._print(stage, changes.get(name, {})) for name, stage in self._stages.items()}
        self.elsewhere |= any(verifier.is_elsewhere(trace) for found in traces.values() for trace in found)
        self.more = self._more({stage.steps[0].script for stage in self._stages.values()}, traces.values())

    def _print(self, stage: DvcStage, changes: dict[str, str]) -> str:
        """A digest that changes with everything that may make a stage's proofs useless, and sometimes without need.

        It has the code that the script's text names, and changes of what its jobs were seen to use: none if the traces
        hold, so that a run doesn't change it.
        """
        step = stage.steps[0]
        forms = sorted({one.form for one in stage.steps})
        closure = self.closures.print_of(step.script)
        values = sorted({one.values for one in stage.steps})
        found = values[0] if len(values) == 1 else values
        return digest_of([forms, found, step.environment, closure, changes])[:LENGTH]

    def _more(self, scripts: Iterable[str], traces: Iterable[list[Trace]]) -> list[str]:
        """Files of the project with code, of all closures and traces."""
        closures = {path for script in scripts for path in self.closures.files(script)}
        seen = {label for found in traces for trace in found for label in (*trace.modules, *trace.reads)}
        return sorted(
            path for path in closures | seen if not path.startswith(("/", "..", "~")) and os.path.isfile(path)
        )


def _changes(traces: Iterable[Trace], verifier: Verifier) -> dict[str, str]:
    return {one.name: one.now for trace in traces for one in verifier.changes(trace)}
