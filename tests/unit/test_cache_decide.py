"""Decisions on a chain of three jobs made by hand: what runs, what is restored, and why."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bezoar.cache.acceptances import Acceptance, Acceptances
from bezoar.cache.action import typed_digest
from bezoar.cache.decide import Contradiction, Decider, Reason, bytes_of
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.job import Step
from bezoar.cache.meanings import meaning
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.records import Records, record_of
from bezoar.cache.stages import stages_of
from bezoar.cache.trace import Distribution, Module, Trace, Verifier

CACHE = ".dvc/cache"
SCRIPT = b"x = 1\n"
TRACE = Trace(modules={"s.py": Module(meaning(SCRIPT, "s.py").digest)})


def step(rule, inputs, **params):
    """A job that makes one file, named as its rule."""
    return Step(
        rule=rule,
        block=(),
        parts=1,
        inputs=inputs,
        form=digest_of(f"takes {inputs}"),
        outputs=(rule,),
        folder=None,
        outs=(rule,),
        params=params,
        values=typed_digest(params),
        environment={},
        script="s.py",
    )


def given(one, **params):
    """A step with other values."""
    return replace(one, params=params, values=typed_digest(params))


A, B, C = step("a", ("source",), rate=1), step("b", ("a",)), step("c", ("b",))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("source").write_text("source")
    Path("s.py").write_bytes(SCRIPT)


class Chain:
    """source -> a -> b -> c, in a folder with a cache."""

    def __init__(self, *steps):
        self.steps = list(steps) or [A, B, C]
        self.locked = {}
        self.proofs = {}  # of dvc.lock's entries, by step name
        self.accepted = Acceptances()

    @property
    def objects(self):
        return Objects(CACHE, Hasher(None))

    @property
    def records(self):
        """The content of traces.lock, written for the entries as they are."""
        found = Records()
        for proof in self.proofs.values():
            one = next(one for one in self.steps if one.name in proof.outputs)
            found.stages[one.stage] = record_of(self.locked[one.stage], [one], {one.name: proof})
            found.traces[proof.trace.digest] = proof.trace
        return found

    def prove(self, one, text, *, locked=False, trace=TRACE):
        """Make a step's output from its current inputs, and record it: in the cache, or in dvc.lock only."""
        hasher, objects = Hasher(None), self.objects
        Path(one.name).write_text(text)
        content = hasher.content(one.name)
        objects.store(one.name, content)
        action = one.action({path: hasher.content(path).md5 for path in one.inputs})
        proof = Proof(action, {one.name: content}, trace)
        if locked:
            self.proofs[one.name] = proof
            self.locked[one.stage] = {
                "cmd": stages_of(self.steps)[one.stage].command,
                "deps": [{"path": path, "md5": md5} for path, md5 in proof.action.inputs.items()],
                "outs": [{"path": one.name, "md5": content.md5, "size": content.size}],
                "params": {"params.resolved.yaml": one.params},
            }
        else:
            Proofs(CACHE).add(proof)
        return content.md5

    def prove_all(self):
        for one in self.steps:
            self.prove(one, f"made by {one.name}")

    def decide(self, targets=("c",), forced=(), lost=None, records=None):
        hasher = Hasher(None)
        decider = Decider(
            self.steps,
            stages_of(self.steps),
            self.locked,
            self.records if records is None else records,
            hasher,
            Objects(CACHE, hasher),
            Proofs(CACHE),
            Verifier(hasher),
            self.accepted,
        )
        return decider.decide(targets, set(forced), lost)


@pytest.fixture
def chain():
    made = Chain()
    made.prove_all()
    return made


def lose(chain, md5):
    os.unlink(chain.objects.path(md5))


def test_without_a_proof_everything_runs_whatever_lies_there():
    for name in "abc":
        Path(name).write_text("made by hand")
    decision = Chain().decide()
    assert decision.reasons == {
        "a": [Reason("unrecorded", "a")],
        "b": [Reason("upstream", "a")],
        "c": [Reason("upstream", "b")],
    }
    assert decision.restore == []


def test_what_is_proven_and_there_is_left_alone(chain):
    decision = chain.decide()
    assert (decision.reasons, decision.restore, decision.fetch) == ({}, [], [])
    assert set(decision.proofs) == {"a", "b", "c"}


def test_times_of_files_mean_nothing(chain):
    for number, name in enumerate(("c", "a", "b", "source")):
        os.utime(name, (number, number))
    assert chain.decide().reasons == {}


def test_of_what_is_deleted_only_the_target_is_restored(chain):
    for name in "abc":
        os.unlink(name)
    decision = chain.decide()
    assert (decision.reasons, decision.restore) == ({}, ["c"])
    assert not Path("c").exists()  # a decision changes nothing


def test_an_altered_output_is_restored_though_no_target_needs_it(chain):
    Path("a").write_text("altered")
    decision = chain.decide()
    assert (decision.reasons, decision.restore) == ({}, ["a"])


def test_a_changed_source_runs_what_takes_it_and_the_rest_waits(chain):
    Path("source").write_text("other")
    decision = chain.decide()
    assert [one.kind for one in decision.reasons["a"]] == ["unrecorded"]
    assert decision.reasons["b"] == [Reason("upstream", "a")]
    assert decision.reasons["c"] == [Reason("upstream", "b")]
    assert decision.proofs == {}


def test_a_source_that_is_back_as_it_was_has_its_proof_again(chain):
    Path("source").write_text("other")
    for one in chain.steps:
        chain.prove(one, f"other by {one.name}")
    Path("source").write_text("source")
    decision = chain.decide()
    assert decision.reasons == {}
    assert set(decision.restore) == {"a", "b", "c"}  # what lies there was made of the other source


def test_what_comes_out_as_before_stops_the_chain(chain):
    Path("source").write_text("other")
    chain.prove(A, "made by a")  # the same bytes of another source
    decision = chain.decide()
    assert (decision.reasons, decision.restore) == ({}, [])


def test_a_forced_job_runs_and_what_follows_waits_for_what_it_makes(chain):
    decision = chain.decide(forced={"b"})
    assert decision.reasons == {"b": [Reason("forced", "b")], "c": [Reason("upstream", "b")]}
    assert set(decision.proofs) == {"a"}


def test_what_a_job_takes_is_restored_for_it(chain):
    os.unlink("a")
    assert chain.decide(forced={"b"}).restore == ["a"]


def test_a_job_whose_object_is_lost_runs_again(chain):
    md5 = Hasher(None).content("c").md5
    os.unlink("c")
    lose(chain, md5)
    decision = chain.decide()
    assert decision.reasons == {"c": [Reason("missing", md5)]}
    assert decision.restore == []


def test_a_lost_object_of_what_lies_there_costs_nothing(chain):
    for name in "abc":
        lose(chain, Hasher(None).content(name).md5)
    assert chain.decide().reasons == {}


def test_a_lost_object_in_the_middle_runs_only_what_needs_it(chain):
    md5 = Hasher(None).content("b").md5
    for name in "abc":
        os.unlink(name)
    lose(chain, md5)
    assert chain.decide().reasons == {}  # c is in the cache
    decision = chain.decide(forced={"c"})
    assert decision.reasons == {"b": [Reason("missing", md5)], "c": [Reason("forced", "c")]}
    assert decision.restore == ["a"]


def test_lost_objects_are_looked_for_up_the_chain(chain):
    found = {name: Hasher(None).content(name).md5 for name in "abc"}
    for name, md5 in found.items():
        os.unlink(name)
        lose(chain, md5)
    decision = chain.decide()
    assert {name: reasons[0].kind for name, reasons in decision.reasons.items()} == dict.fromkeys("abc", "missing")


def test_what_the_remote_has_is_fetched_and_not_made(chain):
    md5 = Hasher(None).content("c").md5
    os.unlink("c")
    lose(chain, md5)
    decision = chain.decide(lost=set())
    assert (decision.reasons, decision.restore, decision.fetch) == ({}, ["c"], [md5])


def test_what_the_remote_lacks_is_made_of_what_it_has(chain):
    md5s = {name: Hasher(None).content(name).md5 for name in "bc"}
    for name, md5 in md5s.items():
        os.unlink(name)
        lose(chain, md5)
    decision = chain.decide(lost={md5s["c"]})
    assert decision.reasons == {"c": [Reason("missing", md5s["c"])]}
    assert (decision.restore, decision.fetch) == (["b"], [md5s["b"]])


def test_a_damaged_object_is_a_lost_one(chain):
    md5 = Hasher(None).content("c").md5
    os.unlink("c")
    os.chmod(chain.objects.path(md5), 0o644)
    Path(chain.objects.path(md5)).write_text("other bytes")
    assert chain.decide().reasons == {"c": [Reason("missing", md5)]}


def test_a_record_in_the_lock_is_a_proof_too():
    chain = Chain()
    for one in chain.steps:
        chain.prove(one, f"made by {one.name}", locked=True)
    decision = chain.decide()
    assert decision.reasons == {}
    assert set(decision.recorded_match) == {"a", "b", "c"}


def test_the_lock_goes_before_what_was_made_here():
    chain = Chain(A)
    theirs = chain.prove(A, "theirs", locked=True)
    ours = chain.prove(A, "ours")
    decision = chain.decide(targets=("a",))
    assert decision.proofs["a"].outputs["a"].md5 == theirs != ours
    assert decision.restore == ["a"]


def test_a_lock_of_other_parameters_leaves_the_proof_made_here():
    chain = Chain(A)
    chain.prove(given(A, rate=2), "theirs", locked=True)
    ours = chain.prove(A, "ours")
    decision = chain.decide(targets=("a",))
    assert decision.proofs["a"].outputs["a"].md5 == ours
    assert decision.recorded_match == {}


@pytest.mark.parametrize("value", [True, 1.0, "1", [1], None], ids=repr)
def test_a_lock_whose_value_is_of_another_type_is_no_proof(value):
    chain = Chain(A)
    chain.prove(given(A, rate=value), "theirs", locked=True)
    decision = chain.decide(targets=("a",))
    assert decision.reasons == {"a": [Reason("param", "rate", value, 1)]}
    assert repr(decision.reasons["a"][0].was) == repr(value)  # for Python, 1, 1.0 and True are equal
    assert decision.recorded_match == {}


def test_two_values_that_changed_places_are_two_changes():
    one = step("a", ("source",), rate=0.1, decay=0.2)
    chain = Chain(one)
    chain.prove(one, "made", locked=True)
    chain.steps = [given(one, rate=0.2, decay=0.1)]
    assert chain.decide(targets=("a",)).reasons["a"] == [
        Reason("param", "decay", 0.2, 0.1),
        Reason("param", "rate", 0.1, 0.2),
    ]


def test_a_changed_leaf_is_named_and_not_its_block():
    one = step("a", ("source",), block={"rate": 0.1, "deep": {"x": 1, "y": 2}})
    chain = Chain(one)
    chain.prove(one, "made", locked=True)
    chain.steps = [given(one, block={"rate": 0.1, "deep": {"x": 1, "y": 3}})]
    (reason,) = chain.decide(targets=("a",)).reasons["a"]
    assert str(reason) == "block.deep.y: 2 -> 3"


def test_an_input_and_a_command_that_changed_are_named():
    chain = Chain(A)
    chain.prove(A, "made", locked=True)
    Path("source").write_text("other")
    chain.steps = [replace(A, form="e" * 64)]
    assert [str(one) for one in chain.decide(targets=("a",)).reasons["a"]] == [
        "command of a changed",
        "source changed",
    ]


def test_a_job_with_a_new_input_was_built_before():
    chain = Chain()
    for one in chain.steps:
        chain.prove(one, f"made by {one.name}", locked=True)
    Path("more").write_text("more")
    for new, at_once in (("more", True), ("d", False)):  # a file, and what another job has yet to make
        chain.steps[1:] = [step("d", ("more",)), replace(B, inputs=("a", new)), C]
        found = chain.decide()
        assert [(one.kind, one.name) for one in found.reasons["b"]] == [
            ("input", new),
            *([] if at_once else [("upstream", "d")]),
        ]
        assert str(found.reasons["b"][0]) == f"{new} is new"
        assert "b" not in found.recorded  # it proves nothing


def test_a_proof_whose_outputs_are_not_the_jobs_is_none(chain):
    other = replace(B, outputs=("b", "b2"), outs=("b", "b2"))
    chain.steps = [A, other, C]
    assert set(chain.decide().reasons) == {"b", "c"}


def test_what_no_job_makes_is_no_target(chain):
    assert chain.decide(targets=("source",)).restore == []


def test_bytes_are_counted_of_what_is_restored(chain):
    os.unlink("c")
    Path("a").write_text("altered")
    assert bytes_of(chain.decide()) == len("made by c") + len("made by a")


def test_an_entry_of_a_stage_that_took_more_proves_nothing(chain):
    chain.steps = [A, step("b", ("a", "more")), C]
    Path("more").write_text("more")
    for one, text in zip(chain.steps, "abc", strict=True):
        chain.prove(one, text, locked=True)
    assert not chain.decide().reasons
    chain.steps = [A, B, C]  # without the other input, whose content is in the lock still
    shutil.rmtree(f"{CACHE}/proofs")
    found = chain.decide().reasons["b"]
    assert [str(one) for one in found] == ["command of b changed"]


def test_inputs_that_swap_their_parts_are_another_job(chain):
    one = step("b", ("a", "source"))
    other = replace(one, form=digest_of("takes ('source', 'a')"))  # the same contents at the same paths
    chain.steps = [A, one, C]
    chain.prove_all()
    assert not chain.decide().reasons
    chain.steps = [A, other, C]
    assert "b" in chain.decide().reasons


def test_a_lock_that_contradicts_what_was_made_here_is_named_and_counts():
    chain = Chain(A)
    theirs = chain.prove(A, "theirs", locked=True)
    ours = chain.prove(A, "ours")
    decision = chain.decide(targets=("a",))
    (one,) = decision.contradictions
    assert (one.path, one.locked, one.made) == ("a", theirs, ours)
    assert str(one).startswith("a is on record with two different contents\n")
    assert decision.proofs["a"].outputs["a"].md5 == theirs


def test_a_lock_with_a_content_that_nobody_has_is_a_contradiction_too():
    chain = Chain(A)
    ours = chain.prove(A, "ours")
    chain.prove(A, "ours", locked=True)
    chain.locked["a"]["outs"][0]["md5"] = "0" * 32
    decision = chain.decide(targets=("a",), lost={"0" * 32})
    assert [(one.locked, one.made) for one in decision.contradictions] == [("0" * 32, ours)]
    assert decision.proofs["a"].outputs["a"].md5 == ours


def test_records_that_agree_or_speak_of_other_jobs_are_no_contradiction():
    chain = Chain(A)
    chain.prove(given(A, rate=2), "theirs", locked=True)
    chain.prove(A, "ours")
    assert chain.decide(targets=("a",)).contradictions == []
    chain.prove(A, "ours", locked=True)
    assert chain.decide(targets=("a",)).contradictions == []


def test_a_list_in_the_lock_that_nobody_has_is_named_where_the_job_ran_here():
    one = replace(A, outputs=("d/a",), outs=("d",))
    os.mkdir("d")
    chain = Chain(one)
    chain.prove(one, "ours")
    chain.prove(one, "ours", locked=True)
    chain.locked["a"]["outs"] = [{"path": "d", "md5": "0" * 32 + ".dir"}]
    decision = chain.decide(targets=("d/a",))
    assert [(one.path, one.locked) for one in decision.contradictions] == [
        ("d", "0" * 32 + ".dir, which is neither in the cache nor on a remote")
    ]
    assert decision.reasons == {}
    Path("source").write_text("other")  # then the entry speaks of another job
    chain.prove(one, "ours")
    assert chain.decide(targets=("d/a",)).contradictions == []


def test_a_name_from_a_record_is_shown_on_one_line():
    forged = "a\nhint: all is well\x1b[2J"
    for kind in ("input", "upstream", "missing", "code", "param", "rule", "environment"):
        assert str(Reason(kind, forged, None, "x")).isprintable()
    assert "\nhint: all is well" not in str(Contradiction(forged, "0", "1", "look"))


# --- What a job was seen to use --------------------------------------------------------------------------------------

HELPER = b"y = 1\n"


def traced(**modules):
    """The trace of a job that loaded the script and other modules, with these contents."""
    found = {f"{name}.py": Module(meaning(text, name).digest) for name, text in modules.items()}
    return replace(TRACE, modules={**TRACE.modules, **found})


@pytest.fixture
def helped():
    """A chain in which `a` alone has loaded a helper."""
    Path("helper.py").write_bytes(HELPER)
    chain = Chain()
    chain.prove(A, "made by a", trace=traced(helper=HELPER))
    chain.prove(B, "made by b")
    chain.prove(C, "made by c")
    return chain


@pytest.mark.parametrize("text", [b"y = 1  # why\n", b'"""Helps."""\ny = 1\n', b"y  =  1"])
def test_code_that_means_the_same_runs_nothing(helped, text):
    Path("helper.py").write_bytes(text)
    assert helped.decide().reasons == {}


def test_code_that_was_edited_runs_the_jobs_that_loaded_it(helped):
    Path("helper.py").write_bytes(b"y = 2\n")
    decision = helped.decide()
    assert [(one.kind, one.name) for one in decision.reasons["a"]] == [("code", "helper.py")]
    assert str(decision.reasons["a"][0]) == "code changed: helper.py"
    assert decision.reasons["b"] == [Reason("upstream", "a")]
    Path("helper.py").unlink()
    assert [(one.kind, one.now) for one in helped.decide().reasons["a"]] == [("code", "")]


def test_code_that_no_job_loaded_runs_nothing(helped):
    Path("other.py").write_text("z = 1\n")
    assert helped.decide().reasons == {}


def test_of_several_proofs_of_one_action_the_one_whose_trace_holds_counts(helped):
    first = Hasher(None).content("a").md5
    Path("helper.py").write_bytes(b"y = 2\n")
    second = helped.prove(A, "made anew", trace=traced(helper=b"y = 2\n"))
    assert helped.decide(targets=("a",)).proofs["a"].outputs["a"].md5 == second
    Path("helper.py").write_bytes(HELPER)  # as on another branch
    decision = helped.decide(targets=("a",))
    assert decision.proofs["a"].outputs["a"].md5 == first
    assert decision.restore == ["a"]


def test_another_package_runs_the_jobs_that_loaded_it():
    chain = Chain(A)
    chain.prove(A, "made", trace=replace(TRACE, distributions={"numpy": Distribution("0.0.1", ("numpy",))}))
    (reason,) = chain.decide(targets=("a",)).reasons["a"]
    assert (str(reason), reason.was) == ("code changed: numpy (package)", "0.0.1")


def test_a_file_that_a_job_read_beside_its_inputs_counts():
    Path("words.txt").write_text("some")
    chain = Chain(A)
    chain.prove(A, "made", trace=replace(TRACE, reads={"words.txt": Hasher(None).content("words.txt").md5}))
    assert chain.decide(targets=("a",)).reasons == {}
    Path("words.txt").write_text("others")
    assert [str(one) for one in chain.decide(targets=("a",)).reasons["a"]] == ["code changed: words.txt"]


def test_a_variable_that_results_depend_on_counts_and_is_named():
    before = replace(A, environment={"MODE": "fast"})
    chain = Chain(before)
    chain.prove(before, "made", locked=True)
    assert chain.decide(targets=("a",)).reasons == {}
    chain.steps = [replace(A, environment={"MODE": "slow"})]
    assert [str(one) for one in chain.decide(targets=("a",)).reasons["a"]] == ["variable MODE: fast -> slow"]


def test_an_entry_of_an_earlier_version_proves_nothing_and_says_so():
    chain = Chain(A)
    chain.prove(A, "made", locked=True)
    decision = chain.decide(targets=("a",), records=Records())
    assert decision.reasons == {"a": [Reason("untraced", "a")]}
    assert "without a trace" in str(decision.reasons["a"][0])


def test_a_record_that_was_written_for_another_entry_is_not_used():
    chain = Chain(A)
    chain.prove(A, "made", locked=True)
    written = chain.records
    assert chain.decide(targets=("a",), records=written).reasons == {}
    chain.prove(A, "another", locked=True)  # dvc.lock has a new entry, and traces.lock is the earlier one
    decision = chain.decide(targets=("a",), records=written)
    assert decision.reasons == {"a": [Reason("untraced", "a")]}


def test_a_record_whose_trace_is_missing_proves_nothing():
    chain = Chain(A)
    chain.prove(A, "made", locked=True)
    assert chain.decide(targets=("a",), records=Records(chain.records.stages)).reasons == {
        "a": [Reason("untraced", "a")]
    }


def test_an_accepted_module_and_an_accepted_command_count_as_they_were(helped):
    edited = b"def renamed(): pass\ny = 1\n"
    Path("helper.py").write_bytes(edited)
    assert set(helped.decide().reasons) == set("abc")
    was, now = (meaning(text, "helper").digest for text in (HELPER, edited))
    helped.accepted = Acceptances([Acceptance("helper.py", was, now, "a new name")])
    assert helped.decide().reasons == {}
    helped.steps = [replace(A, form="e" * 64), B, C]
    assert set(helped.decide().reasons) == set("abc")
    helped.accepted = Acceptances([*helped.accepted.entries, Acceptance("command of a", A.form, "e" * 64, "a flag")])
    assert helped.decide().reasons == {}


def test_an_accepted_command_also_counts_for_the_entry_of_dvc_lock():
    chain = Chain(A)
    chain.prove(A, "made", locked=True)
    chain.steps = [replace(A, form="e" * 64)]
    assert [one.kind for one in chain.decide(targets=("a",)).reasons["a"]] == ["rule"]
    chain.accepted = Acceptances([Acceptance("command of a", A.form, "e" * 64, "a flag")])
    assert chain.decide(targets=("a",)).reasons == {}
