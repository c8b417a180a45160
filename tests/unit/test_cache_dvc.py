"""Stages, dvc.yaml and dvc.lock: how jobs are grouped, and how a record is taken apart into proofs again."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from bezoar import yaml12
from bezoar.cache import CacheError, dvc, generated, records
from bezoar.cache.action import typed_digest
from bezoar.cache.config import settings
from bezoar.cache.dvc import read
from bezoar.cache.hashing import Content, Hasher, Listing, digest_of, directory
from bezoar.cache.job import Step
from bezoar.cache.lock import LockEntry, fold
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Traces
from bezoar.cache.stages import check, code_stage, pipeline, stages_of
from bezoar.cache.trace import Module, Trace

PRINT = "f" * 32  # of all stages here
TRACE = Trace(modules={"s.py": Module("a" * 32)})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.fixture
def objects():
    return Objects(".dvc/cache", Hasher(None))


def step(rule, block=(), *, inputs=(), outputs=(), outs=None, parts=1, params=None):
    """A step whose outputs are stored one by one, or as the folders given."""
    return Step(
        rule=rule,
        block=block,
        parts=parts,
        inputs=inputs,
        form=digest_of("a command"),
        outputs=outputs,
        folder=None,
        outs=outs or outputs,
        params=params or {},
        values=typed_digest(params or {}),
        environment={},
        script="s.py",
    )


def shard(number, *, inputs=("words",)):
    """One of three jobs that fill a folder."""
    return step(
        "generate",
        ("up",),
        inputs=inputs,
        outputs=(f"gen/up/{number}/rows",),
        outs=("gen/up",),
        parts=3,
        params={"a": 1},
    )


SHARDS = [shard(number) for number in range(3)]


def md5(text):
    return Hasher(None).content(write("scratch", text)).md5


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def entry(path, content):
    return {"path": path, "hash": "md5", "md5": content.md5, "size": content.size}


def listed(objects, files):
    """A directory of files by name and MD5, with its list in the store."""
    content = directory({name: Content(one, 1) for name, one in files.items()})
    objects.store_listing(content.md5, [Listing(one, name) for name, one in files.items()], "d")
    return content.md5


def dvc_yaml(steps, plots=None):
    """The text of dvc.yaml."""
    return pipeline(stages_of(steps), plots or {}, code_stage())


def written(steps):
    return yaml.safe_load(dvc_yaml(steps))["stages"]


def test_jobs_of_a_rule_and_a_block_are_one_stage():
    other = step("generate", ("low",), outputs=("gen/low/0/rows",), outs=("gen/low",), parts=3)
    stages = stages_of([*SHARDS, other])
    assert {name: len(stage.steps) for name, stage in stages.items()} == {"generate-up": 3, "generate-low": 1}
    assert stages["generate-up"].outs == ["gen/up"]
    assert stages["generate-up"].command == "bezoar build generate up"


def test_a_stage_is_complete_with_all_its_parts():
    assert stages_of(SHARDS)["generate-up"].complete
    assert not stages_of(SHARDS[:2])["generate-up"].complete


def test_a_file_that_all_jobs_take_is_a_dependency_itself():
    assert stages_of(SHARDS)["generate-up"].deps == ["words"]


def test_files_of_many_jobs_are_a_dependency_as_their_folder():
    mix = step("mix", inputs=tuple(one.name for one in SHARDS), outputs=("mix",))
    assert stages_of([*SHARDS, mix])["mix"].deps == ["gen/up"]


def test_one_file_of_many_jobs_is_a_dependency_as_their_folder_too():
    look = step("look", inputs=("gen/up/1/rows",), outputs=("look",))
    assert stages_of([*SHARDS, look])["look"].deps == ["gen/up"]


def test_jobs_that_take_a_file_each_of_one_folder_depend_on_the_folder():
    names = tuple(f"seed/{number}" for number in range(3))
    seed = step("seed", outputs=names, outs=("seed",) * 3)
    stages = stages_of([seed, *(shard(number, inputs=(names[number],)) for number in range(3))])
    assert stages["generate-up"].deps == ["seed"]


def test_a_file_of_a_folder_that_one_job_makes_is_a_dependency_itself():
    seed = step("seed", outputs=("seed/rows", "seed/report"), outs=("seed", "seed"))
    mix = step("mix", inputs=("seed/rows",), outputs=("mix",))
    assert stages_of([seed, mix])["mix"].deps == ["seed/rows"]


@pytest.mark.parametrize(
    ("one", "other"), [("d/x", "d/x"), ("d", "d/x"), ("d/e/x", "d"), ("d/x", "d/x/deep/er")], ids=str
)
def test_two_stages_can_not_store_the_same(one, other):
    steps = [step("a", outputs=("o1",), outs=(one,)), step("b", outputs=("o2",), outs=(other,))]
    with pytest.raises(CacheError, match=r"would be stored by two stages\n  found: .*\n  expected: .*\nhint: "):
        stages_of(steps)


def test_neighbours_with_one_beginning_are_no_overlap():
    stages_of([step("a", outputs=("d/mix",)), step("b", outputs=("d/mix2",)), step("c", outputs=("d/mix.json",))])


def test_scores_are_metrics_and_all_else_is_stored():
    stage = written(
        [step("score", outputs=("results/a.json", "results/b.csv", "results/c.html", "data/a"), inputs=("b",))]
    )["score"]
    assert stage == {
        "cmd": "bezoar build score",
        "deps": ["b"],
        "params": [{"code.lock": ["stages.score"]}],
        "outs": [  # which persist: else DVC removes them before anybody can look whose they are
            {"data/a": {"persist": True}},
            {"results/b.csv": {"persist": True}},
            {"results/c.html": {"persist": True}},
        ],
        "metrics": [{"results/a.json": {"persist": True}}],
    }


def test_a_plot_has_a_curve_for_each_stage_of_its_rule():
    steps = [step("train", name, outputs=(f"data/{name}",)) for name in ("a", "b")]
    text = dvc_yaml([*steps, step("other")], {"train": {"file": "h.json", "x": "step", "y": ["loss", "eval_loss"]}})
    one, other = yaml.safe_load(text)["plots"]
    curves = {"data/a/h.json": "loss", "data/b/h.json": "loss"}
    assert one == {"train: loss": {"x": "step", "y": curves, "y_label": "loss", "title": "train: loss"}}
    assert other["train: eval_loss"]["y"] == dict.fromkeys(curves, "eval_loss")
    assert "plots" not in yaml.safe_load(dvc_yaml([step("other")], {"train": {"y": ["loss"]}}))


def test_a_plot_of_an_output_itself_may_have_a_template():
    text = dvc_yaml([step("sum", outputs=("s.csv",))], {"sum": {"x": "a", "y": ["b"], "template": "/x/scores.json"}})
    [plot] = yaml.safe_load(text)["plots"]
    assert plot["sum: b"] == {"x": "a", "template": "scores", "y": {"s.csv": "b"}, "y_label": "b", "title": "sum: b"}


def test_dvc_yaml_names_each_value_and_not_what_it_is():
    one, other = ({"b.rate": rate, "a": 1} for rate in (0.5, 0.25))
    texts = {dvc_yaml([step("train", outputs=("t",), params=params)]) for params in (one, other)}
    assert len(texts) == 1
    assert yaml.safe_load(texts.pop())["stages"]["train"]["params"][1] == {"params.resolved.yaml": ["a", "b.rate"]}


def test_what_was_written_passes_the_check():
    check(stages_of(SHARDS), written(SHARDS))


@pytest.mark.parametrize(
    "change",
    [
        {"cmd": "bezoar build generate down"},
        {"deps": ["other"]},
        {"deps": ["words", "other"]},
        {"deps": []},
        {"params": ["a", "b"]},
        {"params": []},
        {"outs": ["gen/down"]},
        {"outs": ["gen/up"]},
        {"outs": [{"gen/up": {"persist": False}}]},
        {"outs": [{"gen/up": {"persist": True}}, {"more": {"cache": False}}]},
        {"metrics": ["results/a.json"]},
    ],
    ids=str,
)
def test_a_stage_that_differs_is_refused_with_the_cure(change):
    there = written(SHARDS)
    there["generate-up"] |= change
    with pytest.raises(CacheError, match=r"another stage generate-up(.|\n)*hint: run `bezoar dvc`"):
        check(stages_of(SHARDS), there)


def test_a_stage_that_is_not_there_is_refused_with_the_cure():
    with pytest.raises(CacheError, match=r"no stage generate-up(.|\n)*hint: run `bezoar dvc`"):
        check(stages_of(SHARDS), {"code": {}})


def test_a_stage_of_which_one_target_needs_a_part_is_not_compared():
    check(stages_of(SHARDS[:1]), {})


def test_without_configuration_the_cache_is_dvcs_own():
    assert settings() == (".dvc/cache", False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/big/cache", "/big/cache"), ("../cache", "cache"), ("../../cache", "../cache"), ('"/big/cache"', "/big/cache")],
)
def test_a_cache_folder_is_taken_from_the_configuration_file(given, expected, folder):
    write(".dvc/config.local", f"[cache]\n    dir = {given}\n")
    assert settings()[0] == os.path.relpath(folder / expected)


def test_the_local_configuration_goes_with_the_common_one():
    write(".dvc/config", "[core]\n    remote = r\n['remote \"r\"']\n    url = ../r\n")
    write(".dvc/config.local", "[cache]\n    dir = ../two\n")
    assert settings() == ("two", True)


def test_values_with_a_percent_sign_are_taken_as_they_are():
    write(".dvc/config", "['remote \"r\"']\n    url = https://host/a%20b\n[core]\n    remote = r\n")
    assert settings() == (".dvc/cache", True)


@pytest.mark.parametrize("content", [b"garbage", b"[core\nremote = x\n", b"\xff\xfe\x00", b"[cache]\ndir\n  = x\n"])
def test_a_configuration_that_is_garbage_is_an_error_with_its_name(content):
    Path(".dvc").mkdir()
    Path(".dvc/config").write_bytes(content)
    with pytest.raises(CacheError, match=r"\.dvc/config can't be read\n  found: (.|\n)*expected: (.|\n)*hint: "):
        settings()


def test_no_file_has_no_stages():
    assert read("dvc.lock") == {}
    write("dvc.lock", "")
    assert read("dvc.lock") == {}


@pytest.mark.parametrize(
    "content", [b"garbage", b"[", b"- a", b"stages: 1", b"stages: [a]", b"stages: {a: 1}", b"\xff\xfe\x00", b"a\x00b"]
)
def test_a_lock_that_is_garbage_is_an_error_with_the_cure(content):
    Path("dvc.lock").write_bytes(content)
    with pytest.raises(
        CacheError,
        match=r"dvc\.lock:\d: can't be read(.|\n)*hint: .*the next build writes it again from the proofs in the cache",
    ):
        read("dvc.lock")


def test_a_merge_conflict_is_named_with_its_line():
    write("dvc.lock", "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a: {}\n=======\n  b: {}\n>>>>>>> other\n")
    with pytest.raises(CacheError, match=r"dvc\.lock:3: can't be read\n  found:    a merge conflict\n"):
        read("dvc.lock")


RECORD = {
    "cmd": "c",
    "deps": [{"path": "words", "hash": "md5", "md5": "1" * 32}],
    "params": {"params.resolved.yaml": {"a": 1}, "code.lock": {"stages.generate-up": PRINT}},
}


COST = {"cost": {"seconds": 3.0, "dollars": 0.3}, "made": {"python": "3.11"}}


def lock_entry(objects, entry):
    """An entry of dvc.lock with its record in traces.lock."""
    forms, traces = {records.ALL: SHARDS[0].form}, {records.ALL: TRACE.digest}
    found = records.Record(records.digest_of_entry(entry), forms, traces, **COST)
    known = Traces(".dvc/cache")
    known.learn({TRACE.digest: TRACE})
    return LockEntry(entry, found, objects, known)


def test_a_record_of_a_folder_is_a_proof_for_each_job(objects):
    made = listed(objects, {f"{number}/rows": str(number) * 32 for number in range(3)})
    recorded = lock_entry(objects, {**RECORD, "outs": [{"path": "gen/up", "hash": "md5", "md5": made}]})
    assert recorded.lists() == [made]
    for number, one in enumerate(SHARDS):
        proof = recorded.proof(one)
        assert proof.action == one.action({"words": "1" * 32})
        assert {path: content.md5 for path, content in proof.outputs.items()} == {one.name: str(number) * 32}
        assert (proof.trace, proof.cost) == (TRACE, {"seconds": 1.0, "dollars": 0.1})  # a third of the stage's


def test_a_record_without_the_list_of_its_folder_says_nothing(objects):
    recorded = lock_entry(objects, {**RECORD, "outs": [{"path": "gen/up", "md5": "0" * 32 + ".dir"}]})
    assert recorded.proof(SHARDS[0]) is None
    assert recorded.lists() == ["0" * 32 + ".dir"]


def test_an_entry_without_a_record_has_no_trace(objects):
    made = listed(objects, {"0/rows": "0" * 32})
    recorded = LockEntry({**RECORD, "outs": [{"path": "gen/up", "md5": made}]}, None, objects, Traces(".dvc/cache"))
    assert recorded.proof(SHARDS[0]).trace is None


def test_a_record_of_fewer_shards_speaks_of_those_it_has(objects):
    made = listed(objects, {"0/rows": "0" * 32, "1/rows": "1" * 32})
    recorded = lock_entry(objects, {**RECORD, "outs": [{"path": "gen/up", "md5": made}]})
    assert [recorded.proof(one) is not None for one in SHARDS] == [True, True, False]


def test_a_record_without_one_of_the_inputs_says_nothing(objects):
    made = listed(objects, {"0/rows": "0" * 32})
    recorded = lock_entry(objects, {**RECORD, "outs": [{"path": "gen/up", "md5": made}]})
    assert recorded.proof(replace(SHARDS[0], inputs=("words", "more"))) is None
    assert recorded.proof(replace(SHARDS[0], inputs=("words.txt",))) is None


def test_a_job_that_takes_less_than_its_record_has_a_proof_of_what_it_takes(objects):
    taken = listed(objects, {f"{number}": str(number) * 32 for number in range(3)})
    made = listed(objects, {"1/rows": "f" * 32})
    recorded = lock_entry(
        objects, {"deps": [{"path": "seed", "md5": taken}], "outs": [{"path": "gen/up", "md5": made}]}
    )
    assert recorded.proof(shard(1, inputs=("seed/1",))).action.inputs == {"seed/1": "1" * 32}


def test_a_directory_inside_a_recorded_folder_is_found_by_its_files(objects):
    inside = {"a": "a" * 32, "b/c": "c" * 32}
    made = listed(objects, {"0/model/a": "a" * 32, "0/model/b/c": "c" * 32, "0/models/d": "d" * 32})
    recorded = lock_entry(objects, {"outs": [{"path": "gen/up", "md5": made}]})
    proof = recorded.proof(step("generate", outputs=("gen/up/0/model",)))
    assert proof.outputs["gen/up/0/model"].md5 == listed(objects, inside)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"deps": None, "outs": None, "params": None},
        {"deps": ["words"], "outs": [1], "params": []},
        {"deps": [{"md5": "1"}], "outs": [{"path": "mix"}], "params": {"params.resolved.yaml": None}},
        {"deps": {"path": "words"}, "outs": "mix", "params": {"params.resolved.yaml": [], "code.lock": 1}},
        {"deps": [{"path": "words", "md5": 1}], "outs": [{"path": "mix", "md5": None}]},
    ],
    ids=str,
)
def test_a_record_of_another_shape_says_nothing(entry, objects):
    recorded = lock_entry(objects, entry)
    assert recorded.lists() == []
    assert recorded.proof(step("mix", inputs=("words",), outputs=("mix",))) is None


def folded(objects, steps, proofs, yaml_of=None, *, by_dvc=False):
    """Bring dvc.lock up to date with the proofs, and read it."""
    hasher = Hasher(None)
    fold(
        stages_of(steps),
        {proof.action.outputs[0]: proof for proof in proofs},
        hasher,
        objects,
        written(yaml_of or steps),
        {one.stage: PRINT for one in steps},
        by_dvc=by_dvc,
    )
    return read("dvc.lock")


def proven(objects, one, text="made"):
    """A step's proof, with its output stored."""
    write(one.name, text)
    content = objects.hasher.content(one.name)
    objects.store(one.name, content)
    action = one.action({path: Hasher(None).content(path).md5 for path in one.inputs})
    return Proof(action, {one.name: content}, TRACE)


MIX = step("mix", inputs=("words",), outputs=("mix",), params={"a": 1})


def test_a_proof_is_folded_as_dvc_writes_it(objects):
    write("words", "Ann\n")
    lock = folded(objects, [MIX], [proven(objects, MIX)])
    assert lock["mix"] == {
        "cmd": "bezoar build mix",
        "deps": [entry("words", Content(md5("Ann\n"), 4))],
        "params": {"code.lock": {"stages.mix": PRINT}, "params.resolved.yaml": {"a": 1}},
        "outs": [entry("mix", Content(md5("made"), 4))],
    }
    assert lock_entry(objects, lock["mix"]).proof(MIX).action == MIX.action({"words": md5("Ann\n")})


def test_a_stage_is_folded_when_all_its_jobs_are_proven(objects):
    write("words", "Ann\n")
    proofs = [proven(objects, one, one.name) for one in SHARDS]
    assert "generate-up" not in folded(objects, SHARDS, proofs[:2])
    out = folded(objects, SHARDS, proofs)["generate-up"]["outs"][0]
    files = {f"{number}/rows": md5(f"gen/up/{number}/rows") for number in range(3)}
    assert out["path"] == "gen/up"
    assert out["md5"] == listed(objects, files)
    assert (out["size"], out["nfiles"]) == (3 * len("gen/up/0/rows"), 3)


def test_parts_may_read_values_of_their_own(objects):
    write("words", "Ann\n")
    own = [{"a": 1, f"tasks.{number}": number} for number in range(3)]
    steps = [replace(one, params=found, values=typed_digest(found)) for one, found in zip(SHARDS, own, strict=True)]
    proofs = [proven(objects, one, one.name) for one in steps]
    lock = folded(objects, steps, proofs)["generate-up"]
    every = {"a": 1, "tasks.0": 0, "tasks.1": 1, "tasks.2": 2}
    assert lock["params"]["params.resolved.yaml"] == every
    assert written(steps)["generate-up"]["params"][1] == {"params.resolved.yaml": [*every]}
    recorded = lock_entry(objects, lock)
    assert [recorded.proof(one).action for one in steps] == [one.action for one in proofs]
    for changed in ({"a": 1, "tasks.0": 9}, {"a": 2, "tasks.0": 0}, {"a": 1, "tasks.9": 0}):
        other = replace(steps[0], params=changed, values=typed_digest(changed))
        assert recorded.proof(other).action != other.action({"words": md5("Ann\n")})
    alone = replace(steps[0], parts=1, params={"a": 1}, values=typed_digest({"a": 1}))  # a lone job read all values
    assert recorded.proof(alone).action != alone.action({"words": md5("Ann\n")})


def test_an_empty_file_has_its_size_in_the_lock_as_dvc_writes_it(objects):
    write("words", "")
    lock = folded(objects, [MIX], [proven(objects, MIX, "")])
    assert [one["size"] for one in (*lock["mix"]["deps"], *lock["mix"]["outs"])] == [0, 0]


def test_entries_of_stages_outside_the_target_stay_and_those_of_no_stage_go(objects):
    write("words", "Ann\n")
    other = step("other", outputs=("o",))
    write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": {"other": {"cmd": "x"}, "gone": {"cmd": "y"}}}))
    lock = folded(objects, [MIX], [proven(objects, MIX)], yaml_of=[MIX, other])
    assert lock["other"] == {"cmd": "x"}
    assert set(lock) - {"code"} == {"mix", "other"}


def test_a_lock_that_says_it_already_is_not_written(objects):
    write("words", "Ann\n")
    proof = proven(objects, MIX)
    folded(objects, [MIX], [proof])
    os.utime("dvc.lock", ns=(1, 1))
    folded(objects, [MIX], [proof])
    assert os.stat("dvc.lock").st_mtime_ns == 1


def test_a_run_of_dvc_writes_the_records_and_leaves_dvc_lock_to_dvc(objects):
    write("words", "Ann\n")
    assert folded(objects, [MIX], [proven(objects, MIX)], by_dvc=True) == {}
    ours = records.read()
    lock = folded(objects, [MIX], [proven(objects, MIX)])
    assert ours.of("mix", lock["mix"]).trace(MIX) == TRACE.digest


@pytest.mark.parametrize("value", [1.0, True, "1"], ids=repr)
def test_a_value_that_python_takes_for_equal_is_written_anew(objects, value):
    write("words", "Ann\n")
    folded(objects, [MIX], [proven(objects, MIX)])
    changed = replace(MIX, params={"a": value}, values=typed_digest({"a": value}))
    lock = folded(objects, [changed], [proven(objects, changed)])
    assert repr(lock["mix"]["params"]["params.resolved.yaml"]["a"]) == repr(value)


def test_values_are_written_as_dvc_writes_them():
    data = {
        "none": None,
        "float": 1e-05,
        "text": "1e-5",
        "list": [1, 2],
        "twice": (shared := {"a": 1}),
        "again": shared,
    }
    text = yaml.dump(data, Dumper=dvc.Dumper, sort_keys=False)
    assert "&" not in text
    assert "none:\n" in text
    assert yaml.safe_load(text) == data


@pytest.mark.parametrize("text", ["\n\nx", "a\nb", "a\n", "\n", "a\n  b\n", "a: b", "x\ty", " lead", "trail ", "# c"])
def test_text_is_written_as_dvc_writes_it(text: str) -> None:
    from dvc.utils.serialize import dumps_yaml

    assert yaml.dump({"texts": [text]}, Dumper=dvc.Dumper, sort_keys=False) == dumps_yaml({"texts": [text]})


def test_text_that_looks_like_a_number_or_a_truth_value_stays_text(tmp_path: Path) -> None:
    from dvc.utils.serialize import load_yaml  # DVC's own reader

    words = ["1e-05", "no", "0x10", "1_000", "true", "12", "-.5", ".inf", "null", "", "plain", "2024-01-01"]
    values = [*words, 1e-05, 3, None]
    path = tmp_path / "some.yaml"
    path.write_text(yaml.dump({"values": values}, Dumper=dvc.Dumper))
    assert load_yaml(str(path))["values"] == values
    assert yaml12.load(path.read_text())["values"] == values


def test_a_template_of_plots_is_updated_unless_it_is_somebodys_own(folder):
    shipped, own = folder / "rules/plots/scores.json", folder / ".dvc/plots/scores.json"
    build = SimpleNamespace(plots={"summary": {"template": str(shipped)}, "train": {"y": ["loss"]}})
    for path in (shipped, folder / ".dvc/config"):
        path.parent.mkdir(parents=True, exist_ok=True)
    old, new = (f'{{\n  "usermeta": {{"bezoar": "updates this file"}},\n  "width": {width}}}' for width in (1, 2))
    shipped.write_text(old)
    assert generated.write_templates(build) == []  # no project of DVC
    (folder / ".dvc/config").touch()
    for text in (old, new):
        shipped.write_text(text)
        assert generated.write_templates(build) == [".dvc/plots/scores.json"]
        assert own.read_text() == text
        assert generated.write_templates(build) == []
    own.write_text('{"width": 3}')
    assert generated.write_templates(build) == []
    assert own.read_text() == '{"width": 3}'


def test_the_shipped_template_of_plots_has_the_mark():
    assert generated.MARK in (Path(__file__).parents[2] / "rules/plots/scores.json").read_bytes()
