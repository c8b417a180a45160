"""dvc.lock with traces.lock: proofs of single jobs from their entries, and entries from proofs."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import yaml

from bezoar.cache import records
from bezoar.cache.action import Action, typed_digest
from bezoar.cache.dvc import CODE_LOCK, LOCK, PARAMS, RESOLVED, Dumper, as_list, as_map, read
from bezoar.cache.hashing import Content, Hasher, Listing, directory
from bezoar.cache.job import Step
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Proofs, Traces
from bezoar.cache.records import Record, Records
from bezoar.cache.signed import Signer
from bezoar.cache.signing import COUNTS, Verdict, policy
from bezoar.cache.stages import CODE_OUTS, CODE_STAGE, DvcStage, cover
from bezoar.files import whole

NO_BYTES = hashlib.md5(b"", usedforsecurity=False).hexdigest()
NO_FILES = directory({}).md5


class LockEntry:
    """A stage's entry in dvc.lock and its record in traces.lock, with proofs of its steps.

    Attributes:
        record: None if traces.lock has none for this entry: then the proofs have no trace, and prove nothing.
        verdict: Whether the record counts.
    """

    def __init__(
        self,
        entry: dict[str, Any],
        record: Record | None,
        objects: Objects,
        traces: Traces,
        verdict: Verdict = COUNTS,
    ) -> None:
        self.objects = objects
        self.record = record
        self.verdict = verdict
        self.traces = traces
        self.deps = {one["path"]: one["md5"] for one in as_list(entry, "deps")}
        self.outs = {one["path"]: one for one in as_list(entry, "outs")}
        self.made = {path: one["md5"] for path, one in self.outs.items()}
        values = as_map(entry.get("params"))
        self.params: dict[str, Any] = as_map(values.get(RESOLVED))
        self._values: dict[frozenset[str], tuple[dict[str, Any], str]] = {}
        self._files: dict[str, dict[str, str]] = {}
        self._folders: dict[str, dict[str, dict[str, Content]]] = {}

    def lists(self) -> list[str]:
        """The directory lists that are needed for the steps' proofs."""
        return [md5 for _, md5 in self.folders()]

    def folders(self) -> list[tuple[str, str]]:
        """These directories: path, and MD5 of its list."""
        return [(path, md5) for path, md5 in (*self.deps.items(), *self.made.items()) if _is_list(md5)]

    def proof(self, step: Step, *, before: bool = False) -> Proof | None:
        """The proof for a step with the entry's values and the record's trace; None if the entry lacks the step.

        Args:
            step: The step.
            before: Whether the step may have inputs that the entry lacks. What it returns then is no proof of the step:
                it says what the step was before it had them.
        """
        inputs = {path: self._content(path, self.deps) for path in step.inputs}
        found = {path: self._content(path, self.made) for path in step.outputs}
        if None in found.values() or (None in inputs.values() and not before):
            return None
        known = {path: md5 for path, md5 in inputs.items() if md5}
        outputs = {path: self._sized(path, md5) for path, md5 in found.items() if md5}
        record = self.record
        params, values = self._of(step.params if step.parts > 1 else self.params)
        action = Action(
            step.rule,
            record.form(step) if record else "",
            known,
            values,
            record.environment if record else {},
            sorted(step.outputs),
            params=params,
        )
        if record is None:
            return Proof(action, outputs)
        cost = {name: round(value / step.parts, 6) for name, value in record.cost.items()}
        trace = self.traces.find(record.trace(step))
        return Proof(action, outputs, trace, cost, record.made, signer=self.verdict.signer)

    def unknown_list(self, action: Action) -> tuple[str, str] | None:
        """A folder in the entry, and its list of files, if this action needs that list and it is missing."""
        if self._of(action.params)[1] != action.values:
            return None
        if any(self._content(path, self.deps) != md5 for path, md5 in action.inputs.items()):
            return None
        folders = {cover(path, self.made) for path in action.outputs} - {None, *action.outputs}
        lists = [(folder, self.made[folder]) for folder in folders if folder and _is_list(self.made[folder])]
        return next((one for one in lists if self.objects.listing(one[1]) is None), None)

    def _of(self, names: Iterable[str]) -> tuple[dict[str, Any], str]:
        """Those of the entry's values that have these names, with their digest: its parts may read other ones."""
        key = frozenset(names)
        if key not in self._values:  # once: a block may have thousands of parts
            params = {name: value for name, value in self.params.items() if name in key}
            self._values[key] = params, typed_digest(params)
        return self._values[key]

    def _sized(self, path: str, md5: str) -> Content:
        one = self.outs.get(path, {})
        if "size" in one:
            return Content(md5, one["size"], one.get("nfiles", 0))
        size = 0
        with suppress(OSError):
            size = os.stat(self.objects.path(md5)).st_size
        return Content(md5, size)

    def _content(self, path: str, among: dict[str, str]) -> str | None:
        if path in among:
            return among[path]
        folder = cover(path, among)
        if folder is None or not _is_list(among[folder]):
            return None
        md5, name = among[folder], path[len(folder) + 1 :]
        if md5 not in self._files:
            self._files[md5] = {one.relpath: one.md5 for one in self.objects.listing(md5) or []}
        return self._files[md5].get(name) or self._inside(md5, name)

    def _inside(self, md5: str, name: str) -> str | None:
        """MD5 of a directory inside of a directory."""
        if md5 not in self._folders:  # all at once: thousands of steps may need them
            folders: dict[str, dict[str, Content]] = {}
            for file, found in self._files[md5].items():
                for end in (at for at, letter in enumerate(file) if letter == "/"):
                    folders.setdefault(file[:end], {})[file[end + 1 :]] = Content(found, 0)
            self._folders[md5] = folders
        files = self._folders[md5].get(name)
        return self._listed(files) if files else None

    def _listed(self, files: dict[str, Content]) -> str:
        """MD5 of a directory of recorded files; its list, which only this machine's jobs store, may be missing."""
        md5 = directory(files).md5
        if self.objects.listing(md5) is None:
            self.objects.take_list(md5, [Listing(content.md5, name) for name, content in files.items()])
        return md5


def _is_list(md5: str) -> bool:
    return md5.endswith(".dir")


def fold(
    stages: dict[str, DvcStage],
    proofs: dict[str, Proof],
    hasher: Hasher,
    objects: Objects,
    written: dict[str, Any],
    prints: dict[str, str],
    *,
    by_dvc: bool = False,
) -> dict[str, Any]:
    """Update dvc.lock and traces.lock by the proofs; entries of other stages stay. Returns dvc.lock's new entries.

    Args:
        stages: The graph's stages.
        proofs: Proofs by step name.
        written: The stages in dvc.yaml; dvc.lock has no others.
        prints: By stage: its digest in code.lock.
        by_dvc: Whether DVC writes dvc.lock itself; then only traces.lock is written.
    """
    before = read(LOCK)
    after = {name: entry for name, entry in before.items() if name in written}
    proven = {
        name: stage
        for name, stage in stages.items()
        if name in written and stage.complete and all(step.name in proofs for step in stage.steps)
    }
    made = {out: content for stage in proven.values() for out, content in _outs(stage, proofs, objects).items()}
    known = records.read()
    kept = {name: one for name, one in known.stages.items() if name in written}
    used = Records(kept, dict(known.traces))
    signer = Signer(policy(), Proofs(objects.cache))
    for name, stage in proven.items():
        paths = list(map(str, written[name].get("deps", []))) if by_dvc else stage.deps  # as DVC writes them
        inputs = {path: md5 for one in stage.steps for path, md5 in proofs[one.name].action.inputs.items()}
        deps = {path: made.get(path) or _dep(path, inputs, hasher, by_dvc=by_dvc) for path in paths}
        if None in deps.values():
            continue  # of a folder that is only partly in this graph
        params = stage.params
        after[name] = {
            "cmd": stage.command,
            "deps": [_entry(path, content, before.get(name)) for path, content in sorted(deps.items()) if content],
            "params": {  # in DVC's own order
                CODE_LOCK: {f"stages.{name}": prints[name]},
                RESOLVED: {key: params[key] for key in sorted(params)},
            },
            "outs": [_entry(out, made[out], before.get(name)) for out in stage.outs],
        }
        if not params:
            del after[name]["params"][RESOLVED]
        used.stages[name] = signer.record(stage, after[name], proofs, known.stages.get(name))
        traces = [proofs[step.name].trace for step in stage.steps]
        used.traces |= {trace.digest: trace for trace in traces if trace}
    if not by_dvc and _text(after) != _text(before):  # for Python, 1, 1.0 and True are equal
        write(after)
    records.write(used)
    return after


def write(entries: dict[str, Any]) -> None:
    """Write dvc.lock with the entries of some stages."""
    ordered = {"schema": "2.0", "stages": {name: entries[name] for name in sorted(entries)}}
    with whole(LOCK) as partial:
        partial.write_text(yaml.dump(ordered, Dumper=Dumper, sort_keys=False), encoding="utf-8")


def _text(stages: dict[str, Any]) -> str:
    return str(yaml.dump(stages, Dumper=Dumper, sort_keys=True))


def _outs(stage: DvcStage, proofs: dict[str, Proof], objects: Objects) -> dict[str, Content]:
    """The outputs of a proven stage as DVC stores them: files of several steps as one folder."""
    made: dict[str, Content] = {}
    folders: dict[str, dict[str, Content]] = {}
    for step in stage.steps:
        for output, out in zip(step.outputs, step.outs, strict=True):
            content = proofs[step.name].outputs[output]
            if output == out:
                made[out] = content
                continue
            name = output[len(out) + 1 :]
            if _is_list(content.md5):
                inside = objects.listing(content.md5) or []
                found = {f"{name}/{one.relpath}": Content(one.md5, _size(objects, one.md5)) for one in inside}
            else:
                found = {name: content}
            folders.setdefault(out, {}).update(found)
    for out, files in folders.items():
        made[out] = directory(files)
        objects.store_listing(made[out].md5, [Listing(content.md5, name) for name, content in files.items()], out)
    return made


def _size(objects: Objects, md5: str) -> int:
    with suppress(OSError):
        return os.stat(objects.path(md5)).st_size
    return 0


def _dep(path: str, inputs: dict[str, str], hasher: Hasher, *, by_dvc: bool) -> Content | None:
    """The content of a path when a stage's steps read it; of a folder with files that they read, if DVC runs.

    Args:
        inputs: MD5 by path of all inputs of the steps.
    """
    if path in inputs:
        content = hasher.content(path)
        return content if content and content.md5 == inputs[path] else Content(inputs[path], 0)
    used = {name: md5 for name, md5 in inputs.items() if by_dvc and name.startswith(f"{path}/")}
    return hasher.content(path) if used and all(hasher.reads(*one) for one in used.items()) else None


def _entry(path: str, content: Content, before: Any = None) -> dict[str, Any]:
    """A line of dvc.lock; the earlier one if it has the same content, since the size may be unknown here."""
    earlier = as_map(before)
    for one in (*as_list(earlier, "deps"), *as_list(earlier, "outs")):
        if (one["path"], one["md5"]) == (path, content.md5):
            return one
    empty = content.md5 in (NO_BYTES, NO_FILES)  # 0 also means an unknown size
    size = {"size": content.size} if content.size or empty else {}
    files = {"nfiles": content.files} if content.files or content.md5 == NO_FILES else {}
    return {"path": path, "hash": "md5", "md5": content.md5, **size, **files}


def fold_code(stage: dict[str, Any], hasher: Hasher, read_params: Content) -> None:
    """Write the entry of the stage `code`, with params.yaml as it was read, since it may have been edited.

    Args:
        stage: The stage in dvc.yaml.
    """
    deps = {path: read_params if path == PARAMS else hasher.content(path) for path in sorted(stage["deps"])}
    outs = {path: hasher.content(path) for path in CODE_OUTS}
    entry = {
        "cmd": stage["cmd"],
        "deps": [_entry(path, content) for path, content in deps.items() if content],
        "outs": [_entry(path, content) for path, content in outs.items() if content],
    }
    before = read(LOCK)
    if before.get(CODE_STAGE) != entry:
        write({**before, CODE_STAGE: entry})


def fold_code_lock(was: Content | None, hasher: Hasher) -> None:
    """Put code.lock's content into the entry of the stage `code`, which had the content until now."""
    entry, content = read(LOCK).get(CODE_STAGE, {}), hasher.content(CODE_LOCK)
    outs = as_list(entry, "outs")
    if was and content and any((one["path"], one["md5"]) == (CODE_LOCK, was.md5) for one in outs):
        _fold_code(outs=[_entry(CODE_LOCK, content) if one["path"] == CODE_LOCK else one for one in outs])


def fold_new_code(paths: list[str], hasher: Hasher) -> None:
    """Add files with code to the entry of the stage `code`, if there is one."""
    known = {one["path"]: one for one in as_list(read(LOCK).get(CODE_STAGE, {}), "deps")}
    new = {path: _entry(path, content) for path in paths if (content := hasher.content(path))}
    if known and new:
        _fold_code(deps=[one for _, one in sorted({**new, **known}.items())])


def _fold_code(**fields: Any) -> None:
    before = read(LOCK)
    write({**before, CODE_STAGE: {**before[CODE_STAGE], **fields}})
