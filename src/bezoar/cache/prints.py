"""Digests of stages for code.lock: DVC's view of code, commands and values. It may be too wide, never too narrow."""

import os
from collections.abc import Iterable

from bezoar.cache.code import LENGTH, Closures
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.records import Records
from bezoar.cache.stages import PACKAGE, DvcStage
from bezoar.cache.trace import Trace, Verifier


class Code:
    """The present code of a graph's stages, as code.lock has it.

    Args:
        stages: The graph's stages.
        records: The content of traces.lock.
        verifier: Finds what a trace names, as it is now.
        packaged: Whether rules use scripts of the package.
    """

    def __init__(
        self,
        stages: dict[str, DvcStage],
        records: Records,
        hasher: Hasher,
        verifier: Verifier,
        *,
        packaged: bool = False,
    ) -> None:
        self.closures = Closures(hasher)
        self.elsewhere = packaged and not os.path.isdir(PACKAGE)
        self._stages = stages
        self._verifier = verifier
        self.learn(records)
        self.closures.save()

    def learn(self, records: Records, verifier: Verifier | None = None) -> None:
        """Take the traces of other records; the code that texts name stays as it was when it was read."""
        self._verifier = verifier or self._verifier
        stages = self._stages
        traces = {
            name: [records.traces[one] for one in set(records.stages[name].traces.values()) if one in records.traces]
            for name in stages
            if name in records.stages
        }
        self.prints = {name: self._print(stage, traces.get(name, [])) for name, stage in stages.items()}
        self.more = self._more({stage.steps[0].script for stage in stages.values()}, traces.values())

    def _print(self, stage: DvcStage, traces: list[Trace]) -> str:
        """A digest that changes with everything that may make a stage's proofs useless, and sometimes without need.

        It has the imports that the text of the code names, and what its jobs were seen to use beyond them.
        """
        step = stage.steps[0]
        known = self._labels(step.script)
        used = {name: value for trace in traces for name, value in self._present(trace).items() if name not in known}
        forms = sorted({one.form for one in stage.steps})
        return digest_of([forms, step.values, step.environment, self.closures.print_of(step.script), used])[:LENGTH]

    def _labels(self, script: str) -> set[str]:
        """The labels, as traces have them, of the files in a script's closure."""
        files = self.closures.files(script)
        stems = [name.replace(".", "/") for name in files.values()]
        return {*files, *(f"~{stem}{end}" for stem in stems for end in (".py", "/__init__.py"))}

    def _present(self, trace: Trace) -> dict[str, str]:
        """What a trace names, with what is there now."""
        was = {label: one.meaning for label, one in trace.modules.items()}
        was |= {name: one.version for name, one in trace.distributions.items()} | trace.reads
        return was | {one.name: one.now for one in self._verifier.changes(trace)}

    def _more(self, scripts: Iterable[str], traces: Iterable[list[Trace]]) -> list[str]:
        """Files of the project with code, of all closures and traces."""
        closures = {path for script in scripts for path in self.closures.files(script)}
        seen = {label for found in traces for trace in found for label in (*trace.modules, *trace.reads)}
        return sorted(
            path for path in closures | seen if not path.startswith(("/", "..", "~")) and os.path.isfile(path)
        )
