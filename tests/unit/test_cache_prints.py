"""code.lock's digests of stages: they change with all that may make a proof useless, and stay after a run."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from test_cache_dvc import step

from bezoar.cache import dvc, generated
from bezoar.cache.action import typed_digest
from bezoar.cache.build import Build
from bezoar.cache.hashing import Hasher
from bezoar.cache.meanings import meaning
from bezoar.cache.prints import Code
from bezoar.cache.records import ALL, Record, Records, digest_of_entry
from bezoar.cache.resolved import Resolved
from bezoar.cache.stages import code_stage, stages_of
from bezoar.cache.trace import Distribution, Module, Trace, Verifier

PLUGIN = b"y = 1\n"
MIX = step("mix", inputs=("words",), outputs=("mix",), params={"a": 3})
LOCKED: dict[str, Any] = {"mix": {"outs": [{"path": "mix", "md5": "0" * 32}]}}  # dvc.lock after a run of it


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose script imports a helper, and loads a plugin that its text doesn't name."""
    monkeypatch.chdir(tmp_path)
    Path("s.py").write_text("import helper\n")
    Path("helper.py").write_text("x = 1\n")
    Path("plugin.py").write_bytes(PLUGIN)
    Path("params.yaml").write_text("a: 3\n")
    return tmp_path


def traced(**changes: Any) -> Records:
    """The content of traces.lock after a run of MIX."""
    modules = {
        name: Module(meaning(Path(name).read_bytes(), name).digest) for name in ("s.py", "helper.py", "plugin.py")
    }
    trace = Trace(modules=modules, **changes)
    record = Record(digest_of_entry(LOCKED["mix"]), {ALL: MIX.form}, {ALL: trace.digest})
    return Records({"mix": record}, {trace.digest: trace})


def code(*steps: Any, records: Records | None = None, packaged: bool = False) -> Code:
    hasher = Hasher(None)
    return Code(
        stages_of(steps or [MIX]),
        LOCKED if records else {},
        records or Records(),
        hasher,
        Verifier(hasher),
        packaged=packaged,
    )


def print_(one: Any = MIX, records: Records | None = None) -> str:
    return code(one, records=records).prints[one.stage]


def given(value: Any) -> Any:
    return replace(MIX, params={"a": value}, values=typed_digest({"a": value}))


def test_values_that_are_equal_for_dvc_have_different_digests() -> None:
    values: list[Any] = [3, 3.0, True, 1, "3", None, [3], {3: 1}, {"3": 1}]
    assert len({print_(given(value)) for value in values}) == len(values)


def test_a_command_a_variable_and_the_imported_code_count_and_the_stages_inputs_dont() -> None:
    before = print_()
    assert print_(replace(MIX, form="e" * 64)) != before
    assert print_(replace(MIX, environment={"MODE": "fast"})) != before
    Path("words").write_text("others")
    assert print_() == before
    Path("helper.py").write_text("x = 1  # why\n")
    assert print_() == before
    Path("helper.py").write_text("x = 2\n")
    assert print_() != before


def test_all_forms_of_a_stages_jobs_count() -> None:
    one, two = (step("mix", ("a",), outputs=(f"mix/{name}",), outs=("mix",), parts=2) for name in "xy")
    before = code(one, two).prints["mix-a"]
    assert code(two, one).prints["mix-a"] == before
    assert code(one, replace(two, form="e" * 64)).prints["mix-a"] != before


def test_a_module_that_jobs_load_without_naming_it_counts_by_their_traces() -> None:
    seen = traced()
    before = print_(records=seen)
    Path("plugin.py").write_text("y = 1  # why\n")
    assert print_(records=seen) == before
    Path("plugin.py").write_text("y = 2\n")
    assert print_(records=seen) != before
    Path("plugin.py").unlink()
    assert print_(records=seen) != before


def test_a_package_and_a_file_that_jobs_used_count_by_their_traces() -> None:
    Path("words.txt").write_text("some")
    seen = traced(
        distributions={"numpy": Distribution("0.0.1", ("numpy",))},
        reads={"words.txt": Hasher(None).content("words.txt").md5},  # type: ignore[union-attr]
    )
    before = print_(records=seen)
    assert before != print_()
    Path("words.txt").write_text("others")
    assert print_(records=seen) != before
    assert print_(records=traced(distributions={"numpy": Distribution("0.0.2", ("numpy",))})) == print_(
        records=traced(distributions={"numpy": Distribution("0.0.3", ("numpy",))})
    )  # the version that is installed counts, not the one that was


def test_a_run_leaves_the_digest_of_a_stage_as_it_is() -> None:
    before = print_()
    assert print_(records=traced()) == before  # with the traces of its first jobs
    Path("helper.py").write_text("x = 2\n")
    assert print_(records=traced()) == print_() != before  # and of those that ran after an edit


def test_an_entry_without_its_record_has_another_digest_than_with_it() -> None:
    with_it, known = print_(records=traced()), traced()
    known.stages["mix"] = replace(known.stages["mix"], entry="1" * 64)  # of another entry of dvc.lock
    assert print_(records=known) != with_it


def test_files_of_closures_and_traces_are_dependencies_of_the_stage_code(folder: Path) -> None:
    Path("words.txt").write_text("some")
    found = code(records=traced(reads={"words.txt": "0" * 32, "gone.txt": "0" * 32})).more
    assert found == ["helper.py", "plugin.py", "s.py", "words.txt"]
    assert code_stage(found)["deps"] == ["params.yaml", *found]
    outside = traced(reads={"~~/etc/hostname": "0" * 32, "~bezoar/data.txt": "0" * 32})
    assert code(records=outside).more == ["helper.py", "plugin.py", "s.py"]


def build(*steps: Any, complete: bool = True) -> Build:
    """A build of some steps."""
    made = Build(Resolved("params.yaml"))
    made.take(list(steps) or [MIX])
    made.complete = complete
    return made


def test_code_lock_holds_the_stages_by_name() -> None:
    generated.write_code(build())
    assert yaml.safe_load(Path(dvc.CODE_LOCK).read_text()) == {"stages": {"mix": print_()}}
    assert generated.prints_in(dvc.CODE_LOCK) == {"mix": print_()}


def test_a_part_of_the_graph_changes_its_own_stages_only() -> None:
    other = step("other", outputs=("o",))
    generated.write_code(build(MIX, other))
    generated.write_code(build(given(4), complete=False))
    assert generated.prints_in(dvc.CODE_LOCK) == {"mix": print_(given(4)), "other": print_(other)}
    generated.write_code(build(given(4)))
    assert set(generated.prints_in(dvc.CODE_LOCK)) == {"mix"}


def test_code_lock_is_written_only_if_it_changed() -> None:
    assert generated.write_code(build())
    os.utime(dvc.CODE_LOCK, ns=(1, 1))
    assert not generated.write_code(build())
    assert os.stat(dvc.CODE_LOCK).st_mtime_ns == 1


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<<<<<<< HEAD\n", b"\xff\xfe\x00", b"stages: [a]", b"stages: {a: 1}", b"rules: {}", b"- " * 100_000],
    ids=lambda data: data[:20],
)
def test_a_code_lock_that_is_garbage_is_written_anew(garbage: bytes) -> None:
    Path(dvc.CODE_LOCK).write_bytes(garbage)
    assert generated.prints_in(dvc.CODE_LOCK) == {}
    assert generated.write_code(build(complete=False))
    assert generated.prints_in(dvc.CODE_LOCK) == {"mix": print_()}


def test_a_digest_that_looks_like_a_number_stays_a_text() -> None:
    looks = "1" * 20 + "e" + "2" * 11
    made = build()
    made.code.prints = {"mix": looks, "other": "0" * 32}
    generated.write_code(made)
    text = Path(dvc.CODE_LOCK).read_text()
    assert parse_yaml(text, "code.lock") == {"stages": {"mix": looks, "other": "0" * 32}}
    assert generated.prints_in(dvc.CODE_LOCK) == {"mix": looks, "other": "0" * 32}
