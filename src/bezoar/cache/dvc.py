"""dvc.yaml and dvc.lock: the graph and its proofs as DVC reads them, one stage for each rule and named block.

The formats are DVC's own (pinned and compared in tests/workflow/test_dvc.py). DVC itself is not imported here: it is
slow to start, and reading two YAML files is all that a run needs.
"""

import configparser
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bezoar.cache import CacheError
from bezoar.cache.code import LOCK as CODE_LOCK
from bezoar.cache.hashing import Content, Hasher, Listing, directory
from bezoar.cache.job import Step
from bezoar.cache.objects import Objects, unwritable
from bezoar.cache.proofs import Key, Proof

PIPELINE = "dvc.yaml"
LOCK = "dvc.lock"
PARAMS = "params.yaml"
CODE_STAGE = "code"
RESULTS = "results/"  # what lies there is scores
HEAD = "# Generated from the Snakefile and params.yaml. Don't edit: `bezoar dvc` writes it.\n"
NO_BYTES = hashlib.md5(b"", usedforsecurity=False).hexdigest()
NO_FILES = directory({}).md5


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads numbers and truth values as YAML 1.2 has them, in which DVC writes: `1e-05` is a number, `no` a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "int", "float")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a value again where it stands twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether to write out what was written before."""
        return True


Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", ""))  # as DVC


def settings() -> tuple[str, bool]:
    """Folder of the DVC cache, and whether a default remote is configured, by DVC's four configuration files."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder, remote = ".dvc/cache", False
    for path in ("/etc/xdg/dvc/config", f"{home}/dvc/config", ".dvc/config", ".dvc/config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise CacheError(
                f"{path} can't be read\n  found:    {error}\n  expected: what `dvc config` writes\nhint: mend it"
            ) from error
        if given := parser.get("cache", "dir", fallback=None):
            folder = os.path.relpath(os.path.join(os.path.dirname(path), os.path.expanduser(given.strip("\"'"))))
        remote = remote or parser.has_option("core", "remote")
    return folder, remote


@dataclass(frozen=True)
class Stage:
    """A rule and a named block, with all steps that they stand for in the graph."""

    name: str
    steps: list[Step]
    deps: list[str]

    @property
    def outs(self) -> list[str]:
        """What DVC stores of it, sorted."""
        return sorted({out for step in self.steps for out in step.outs})

    @property
    def complete(self) -> bool:
        """Whether all its steps are in the graph, and not just those that one target needs."""
        return len(self.steps) == self.steps[0].parts

    @property
    def command(self) -> str:
        """What `dvc repro` calls; nothing in it changes with a value, a host or a number of cores."""
        return " ".join(("bezoar build", self.steps[0].rule, *self.steps[0].block))


def stages_of(steps: Iterable[Step]) -> dict[str, Stage]:
    """The stages of a graph by name.

    Raises:
        CacheError: Two stages would store the same file or folder, or one inside the other's.
    """
    grouped: dict[str, list[Step]] = {}
    producers: dict[str, tuple[Step, str]] = {}
    for step in steps:
        grouped.setdefault(step.stage, []).append(step)
        producers |= {output: (step, out) for output, out in zip(step.outputs, step.outs, strict=True)}
    stages = {name: Stage(name, members, _deps(members, producers)) for name, members in grouped.items()}
    owners: dict[str, str] = {}
    for stage in stages.values():
        for out in stage.outs:
            if owners.setdefault(out, stage.name) != stage.name:
                raise _overlap(out, owners[out], stage.name)
    for out, owner in owners.items():
        parent = os.path.dirname(out)
        while parent:
            if parent in owners:
                raise _overlap(out, owner, owners[parent])
            parent = os.path.dirname(parent)
    return stages


def _overlap(path: str, one: str, other: str) -> CacheError:
    return CacheError(
        f"{path} would be stored by two stages\n  found:    it in {one} and in {other}\n"
        "  expected: every output in one stage\nhint: give each rule a folder of its own"
    )


def _deps(steps: list[Step], producers: dict[str, tuple[Step, str]]) -> list[str]:
    """What the steps take; a folder where they take one of its files each, or where another stage has many parts."""
    uses = Counter(path for step in steps for path in step.inputs)
    deps = set()
    for path, count in uses.items():
        step, out = producers.get(path, (None, path))
        deps.add(out if step and (step.parts > 1 or count < len(steps)) else path)
    return sorted(deps)


def pipeline(stages: dict[str, Stage], plots: dict[str, dict[str, Any]]) -> str:
    """The text of dvc.yaml.

    Args:
        stages: Of the whole graph.
        plots: By rule: `file` inside its output, and DVC's plot settings.
    """
    written: dict[str, Any] = {CODE_STAGE: code_stage()}
    drawn = []
    for name, stage in sorted(stages.items()):
        step = stage.steps[0]
        outs = [out for out in stage.outs if not out.startswith(RESULTS)]
        metrics = [out for out in stage.outs if out.startswith(RESULTS)]
        entry = {
            "cmd": stage.command,
            "deps": stage.deps,
            "params": [*sorted(step.params), {CODE_LOCK: sorted(step.code)}],
            "outs": outs,
            "metrics": metrics,
        }
        written[name] = {field: value for field, value in entry.items() if value}
        if step.rule in plots:
            settings_ = dict(plots[step.rule])
            drawn.append({f"{outs[0]}/{settings_.pop('file')}": settings_})
    text = yaml.dump({"stages": written, **({"plots": drawn} if drawn else {})}, Dumper=Dumper, sort_keys=False)
    return HEAD + text


def code_stage() -> dict[str, Any]:
    """The stage by which plain `dvc repro` sees edited code: it writes code.lock."""
    candidates = ["Snakefile", "code.accepted.yaml", "constraints.txt", "rules", "scripts", "src/bezoar"]
    return {
        "cmd": "bezoar fingerprint",
        "deps": [path for path in candidates if os.path.exists(path)],
        "outs": [{CODE_LOCK: {"cache": False}}],
    }


def read(path: str) -> dict[str, Any]:
    """The stages in dvc.yaml or dvc.lock; none if there is no such file.

    Raises:
        CacheError: It isn't YAML of that shape, as after a merge with conflicts.
    """
    try:
        data = Path(path).read_bytes()
        found = (yaml.load(data.decode(), Loader) or {}).get("stages", {})
        assert isinstance(found, dict)
        assert all(isinstance(stage, dict) for stage in found.values())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, AssertionError) as error:
        lines = data.decode(errors="replace").splitlines()
        conflict = next((n for n, line in enumerate(lines, 1) if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))), 0)
        mark = getattr(error, "problem_mark", None)
        line = conflict or (mark.line + 1 if mark else 1)
        cure = "remove it: proofs in the cache write it anew" if path == LOCK else "run `bezoar dvc`"
        raise CacheError(
            f"{path}:{line}: can't be read\n  found:    {'a merge conflict' if conflict else 'no stages'}\n"
            f"  expected: what DVC writes\nhint: take one side (`git checkout --ours {path}`), or {cure}"
        ) from error
    return found


def check(stages: dict[str, Stage], written: dict[str, Any]) -> None:
    """Compare the graph with dvc.yaml.

    Raises:
        CacheError: A stage isn't there, or stands there with another command, parameters, inputs or outputs.
    """
    for stage in stages.values():
        if not stage.complete:
            continue
        there = written.get(stage.name, {})
        deps, step = set(there.get("deps", [])), stage.steps[0]
        uses = {path for one in stage.steps for path in one.inputs}
        covering = {_cover(path, deps) for path in uses}
        params = [*sorted(step.params), {CODE_LOCK: sorted(step.code)}]
        outs = sorted([*there.get("outs", []), *there.get("metrics", [])], key=str)  # by hand, maps stand there too
        same = (there.get("cmd"), outs, there.get("params"), deps) == (stage.command, stage.outs, params, covering)
        if not same:
            raise CacheError(
                f"{PIPELINE} is not what the Snakefile and {PARAMS} say\n  found:    "
                f"{'another' if there else 'no'} stage {stage.name}\n  expected: the stage as the rules have it\n"
                "hint: run `bezoar dvc`"
            )


def _cover(path: str, folders: set[str]) -> str | None:
    """The path itself or the folder around it that is among the folders."""
    while path and path not in folders:
        path = os.path.dirname(path)
    return path or None


class Recorded:
    """A stage's entry in dvc.lock, taken apart into proofs of its steps."""

    def __init__(self, entry: dict[str, Any], objects: Objects) -> None:
        self.objects = objects
        self.deps = {one["path"]: one["md5"] for one in _listed(entry, "deps")}
        self.outs = {one["path"]: one for one in _listed(entry, "outs")}
        self.made = {path: one["md5"] for path, one in self.outs.items()}
        values = _map(entry.get("params"))
        self.params: dict[str, Any] = _map(values.get(PARAMS))
        self.code: dict[str, str] = _map(values.get(CODE_LOCK))
        self._files: dict[str, dict[str, str] | None] = {}

    def lists(self) -> list[str]:
        """The directory lists that are needed to take the entry apart."""
        return [md5 for md5 in (*self.deps.values(), *self.made.values()) if _is_list(md5)]

    def proof(self, step: Step) -> Proof | None:
        """The proof for a step, with the parameters and code of the entry; None if the entry doesn't speak of it."""
        inputs = {path: self._content(path, self.deps) for path in step.inputs}
        found = {
            path: self._content(path, {name: one["md5"] for name, one in self.outs.items()}) for path in step.outputs
        }
        if None in inputs.values() or None in found.values():
            return None
        key = Key(
            step.rule, {path: md5 for path, md5 in inputs.items() if md5}, self.params, self.code, sorted(step.outputs)
        )
        return Proof(key, {path: self._sized(path, md5) for path, md5 in found.items() if md5})

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
        folder = _cover(path, set(among))
        if folder is None or not _is_list(among[folder]):
            return None
        files = self._listing(among[folder])
        relative = os.path.relpath(path, folder)
        if files is None or relative in files:
            return None if files is None else files[relative]
        inside = {name[len(relative) + 1 :]: md5 for name, md5 in files.items() if name.startswith(f"{relative}/")}
        return directory({name: Content(md5, 0) for name, md5 in inside.items()}).md5 if inside else None

    def _listing(self, md5: str) -> dict[str, str] | None:
        if md5 not in self._files:
            files = self.objects.listing(md5)
            self._files[md5] = None if files is None else {one.relpath: one.md5 for one in files}
        return self._files[md5]


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The files and folders that an entry gives an MD5; an entry that another program wrote may lack anything."""
    given = entry.get(name)
    listed = [_map(one) for one in given] if isinstance(given, list) else []
    return [one for one in listed if isinstance(one.get("path"), str) and isinstance(one.get("md5"), str)]


def _is_list(md5: str) -> bool:
    return md5.endswith(".dir")


def fold(
    stages: dict[str, Stage], proofs: dict[str, Proof], hasher: Hasher, objects: Objects, written: dict[str, Any]
) -> None:
    """Bring dvc.lock, and DVC's run cache, to what is proven; entries of other stages stay.

    Args:
        stages: Of the graph.
        proofs: By step name, of all steps that have one.
        written: The stages in dvc.yaml; dvc.lock speaks of no others.
    """
    before = read(LOCK)
    after = {name: entry for name, entry in before.items() if name in written}
    proven = {
        name: stage
        for name, stage in stages.items()
        if name in written and stage.complete and all(step.name in proofs for step in stage.steps)
    }
    _store_late([proofs[step.name] for stage in proven.values() for step in stage.steps], hasher, objects)
    made = {out: content for stage in proven.values() for out, content in _outs(stage, proofs, objects).items()}
    for name, stage in proven.items():
        deps = {path: made.get(path) or _file(path, stage, proofs, hasher) for path in stage.deps}
        if None in deps.values():
            continue  # of a folder that is only in part in this graph
        step = stage.steps[0]
        after[name] = {
            "cmd": stage.command,
            "deps": [_entry(path, content) for path, content in sorted(deps.items()) if content],
            "params": {
                PARAMS: {key: step.params[key] for key in sorted(step.params)},
                CODE_LOCK: {key: step.code[key] for key in sorted(step.code)},
            },
            "outs": [_entry(out, made[out]) for out in stage.outs],
        }
        _remember(after[name], objects.cache)
    if CODE_STAGE in written:
        after[CODE_STAGE] = _code_entry(hasher)
    if _text(after) != _text(before):  # for Python, 1, 1.0 and True are equal
        partial = f".{LOCK}.partial"
        ordered = {"schema": "2.0", "stages": {name: after[name] for name in sorted(after)}}
        Path(partial).write_text(yaml.dump(ordered, Dumper=Dumper, sort_keys=False), encoding="utf-8")
        os.replace(partial, LOCK)


def _store_late(proofs: list[Proof], hasher: Hasher, objects: Objects) -> None:
    """Store what a full disk could not take when it was made, and lies there still."""
    for proof in proofs:
        for path, content in proof.outputs.items():
            if objects.missing(content.md5) and hasher.holds(path, content.md5):
                with suppress(CacheError):  # as full as before: the run that made it has said so
                    objects.store(path, content)


def _text(stages: dict[str, Any]) -> str:
    return str(yaml.dump(stages, Dumper=Dumper, sort_keys=True))


def _outs(stage: Stage, proofs: dict[str, Proof], objects: Objects) -> dict[str, Content]:
    """What a proven stage made, as DVC stores it: files of several steps as one folder."""
    made: dict[str, Content] = {}
    folders: dict[str, dict[str, Content]] = {}
    for step in stage.steps:
        for output, out in zip(step.outputs, step.outs, strict=True):
            content = proofs[step.name].outputs[output]
            if output == out:
                made[out] = content
                continue
            name = os.path.relpath(output, out)
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


def _file(path: str, stage: Stage, proofs: dict[str, Proof], hasher: Hasher) -> Content | None:
    """What was at a path when the stage's steps took it."""
    md5 = next((proofs[one.name].key.inputs[path] for one in stage.steps if path in one.inputs), None)
    content = hasher.content(path)
    if md5 is None or content is None or content.md5 != md5:
        return None if md5 is None else Content(md5, 0)
    return content


def _entry(path: str, content: Content) -> dict[str, Any]:
    empty = content.md5 in (NO_BYTES, NO_FILES)  # 0 stands for an unknown size as well
    size = {"size": content.size} if content.size or empty else {}
    files = {"nfiles": content.files} if content.files or content.md5 == NO_FILES else {}
    return {"path": path, "hash": "md5", "md5": content.md5, **size, **files}


def _code_entry(hasher: Hasher) -> dict[str, Any]:
    stage = code_stage()
    found = {path: hasher.content(path) for path in [*stage["deps"], CODE_LOCK]}
    return {
        "cmd": stage["cmd"],
        "deps": [_entry(path, content) for path, content in sorted(found.items()) if content and path != CODE_LOCK],
        "outs": [_entry(CODE_LOCK, content) for path, content in found.items() if content and path == CODE_LOCK],
    }


def _remember(entry: dict[str, Any], cache: str) -> None:
    """Write an entry to DVC's run cache, so that `dvc repro` finds it again after a change and its reversal."""
    strip = [{name: one[name] for name in ("path", "hash", "md5")} for one in entry["outs"]]
    plain = {**entry, "deps": [{name: one[name] for name in ("path", "hash", "md5")} for one in entry["deps"]]}
    key = _dvc_digest({**plain, "outs": [one["path"] for one in strip]})
    folder = os.path.join(cache, "runs", key[:2], key)
    path = os.path.join(folder, _dvc_digest({**plain, "outs": strip}))
    if os.path.exists(path):
        return
    partial = f"{path}.partial"
    try:
        os.makedirs(folder, exist_ok=True)
        Path(partial).write_text(yaml.dump({**plain, "outs": strip}, Dumper=Dumper, sort_keys=False), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(cache, error) from error
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _dvc_digest(data: dict[str, Any]) -> str:
    """Sha256 as DVC's `dict_sha256` computes it."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
