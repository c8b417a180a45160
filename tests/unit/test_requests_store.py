"""What is answered once is never asked again: keys, the files of answers, and replay."""

import hashlib
import json
import os
import unicodedata
from dataclasses import replace

import pytest
from desk import SAMPLING, addresses, apart, block, end, rows
from faults import LENGTH, delay, status

from bezoar.requests import calls, index
from bezoar.requests.anthropic import Anthropic
from bezoar.requests.base import ask
from bezoar.requests.calls import Call
from bezoar.requests.index import ANSWERS, INDEX
from bezoar.requests.openai import OpenAi
from bezoar.requests.store import Store

PROVIDERS = {"openai": OpenAi, "anthropic": Anthropic}
SCHEMA = {"type": "object", "properties": {"good": {"type": "boolean"}}, "required": ["good"]}
QUESTION = ask("a", "Name three rivers", SAMPLING, "Be kind")


def key(kind, request=QUESTION, tries=0, limit=16, connection=None, **changes):
    provider = PROVIDERS[kind](block(kind, connection or {}, **changes))
    return provider.call(request, tries, limit).key


def digest(number):
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" + "0" * 48


def added(stage, part, *answers, settle=True):
    """A session with answers, perhaps one that was killed."""
    session = Store(stage, part)
    for name, text in answers:
        session.add(name, {"request": {}, "response": text})
    if settle:
        session.settle()
    return session


def found(name, stage="try", part="0"):
    record = Store(stage, part).find(name)
    return record and record["response"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "responses"


# Keys


def test_a_key_is_what_was_always_stored_under_it():
    call = Call("openai", "/v1/chat/completions", None, {"model": "rules"}, "0")
    whole = (
        '{"api_version":null,"body":{"model":"rules"},"endpoint":"/v1/chat/completions","provider":"openai",'
        '"sample":"0","schema":1}'
    )
    assert calls.encoded(json.loads(whole)).decode() == whole
    assert call.key == hashlib.sha256(whole.encode()).hexdigest()


def test_everything_that_changes_an_answer_changes_its_key(kind):
    schema = replace(QUESTION, schema=SCHEMA)
    own = {"openai": [{"sends_sampling": False}, {"token_limit_field": "max_completion_tokens"}]}
    keys = [
        key(kind),
        key("anthropic" if kind == "openai" else "openai"),
        key(kind, model="other"),
        key(kind, ask("a", "Name four rivers", SAMPLING, "Be kind")),
        key(kind, ask("a", "Name three rivers", SAMPLING, "Be curt")),
        key(kind, ask("a", "Name three rivers", SAMPLING)),
        key(kind, replace(QUESTION, sample="1")),
        key(kind, tries=1),
        key(kind, limit=32),
        key(kind, schema),
        *(key(kind, **changes) for changes in own.get(kind, [{"effort": "low"}, {"effort": "high"}])),
    ]
    if kind == "openai":
        keys.append(key(kind, ask("a", "Name three rivers", SAMPLING.model_copy(update={"top_p": 0.5}), "Be kind")))
    assert len(set(keys)) == len(keys)


def test_nothing_else_changes_a_key(kind, monkeypatch):
    reached = {
        "base_url_env": "ELSEWHERE",
        "api_key_env": "ANOTHER",
        "concurrency": 99,
        "requests_per_minute": 1,
        "tokens_per_minute": 1,
        "timeout": 1.0,
        "deadline": 1.0,
        "batch": True,
    }
    plain = key(kind)
    for name, value in reached.items():
        assert getattr(block(kind, {}).connection, name) != value, f"{name} is as before"
        assert key(kind, connection={name: value}) == plain, name
    assert key(kind, connection=reached) == plain
    assert key(kind, tries=1, connection=reached) == key(kind, tries=1) != plain
    assert key(kind, limit=32, connection=reached) == key(kind, limit=32) != plain
    for changes in ({"max_attempts": 9}, {"max_output_tokens": 99}):  # how often it would be asked, not which try it is
        provider = PROVIDERS[kind](block(kind, {}, **changes))
        assert provider.call(QUESTION, 0, 16).key == plain, changes
    assert key(kind, replace(QUESTION, key="b")) == plain
    schema = replace(QUESTION, schema=SCHEMA)
    assert key(kind, schema, json_schema=False) == plain != key(kind, schema, json_schema=True)
    for name, value in {**addresses("http://elsewhere"), "FAULTS_API_KEY": "another", "BEZOAR_JOB": "other/7"}.items():
        monkeypatch.setenv(name, value)
        assert key(kind) == plain, name
    assert key(kind, model="other") != plain


def test_a_samples_number_is_no_part_of_what_is_sent(kind):
    provider = PROVIDERS[kind](block(kind, {}))
    bodies = [provider.call(replace(QUESTION, sample=sample), 0, 16).body for sample in "01"]
    assert bodies[0] == bodies[1]


def test_texts_that_look_equal_are_one_call_and_are_sent_in_one_form(desk):
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert composed != apart == unicodedata.normalize("NFD", composed)
    desk.ask(composed, apart)
    assert [call.text for call in desk.server.calls] == [composed]


def test_the_version_of_an_api_is_in_its_keys(monkeypatch):
    before = key("anthropic")
    monkeypatch.setattr("bezoar.requests.anthropic.API_VERSION", "2027-01-01")
    assert key("anthropic") != before


def test_what_is_stored_is_what_was_sent(desk):
    desk.ask("row")
    (call,), (record,) = desk.server.calls, desk.stored()
    assert call.data == calls.compact(record["request"])


def test_a_number_that_json_lacks_is_an_error():
    with pytest.raises(ValueError, match="JSON compliant"):
        _ = Call("openai", "/", None, {"temperature": float("nan")}, "0").key


# Files


def test_a_line_that_a_kill_cut_short_is_not_there_and_the_lines_before_are(folder):
    session = added("try", "0", (digest(1), "one"), (digest(2), "two"), settle=False)
    path = session.answers.path
    assert not path.with_name(path.name.replace(ANSWERS, INDEX)).exists()
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert (found(digest(1)), found(digest(2))) == ("one", None), cut


@pytest.mark.parametrize("size", [0, 7, 20, 41, 400])
def test_an_index_that_does_not_cover_its_file_is_not_used(folder, size):
    session = added("try", "0", (digest(1), "one"), (digest(2), "two"))
    file = next(folder.glob(f"*/*{INDEX}"))
    whole = file.read_bytes()
    assert len(whole) == 2 * index.ENTRY.itemsize == 40
    file.write_bytes((whole * 10)[:size])
    assert (found(digest(1)), found(digest(2))) == ("one", "two")
    assert len(session) == 2


def test_a_session_goes_on_after_it_was_settled(folder):
    session = added("try", "0", (digest(1), "one"))
    session.add(digest(2), {"request": {}, "response": "two"})
    assert found(digest(2)) == "two"  # the index is too short
    session.settle()
    assert len(next(folder.glob(f"*/*{INDEX}")).read_bytes()) == 40


def test_what_others_wrote_since_is_seen_after_a_refresh(folder):
    early, other = Store("try", "0"), added("try", "1", (digest(1), "one"), settle=False)
    assert early.find(digest(1)) is None
    early.refresh()
    assert early.find(digest(1))["response"] == "one"
    other.add(digest(2), {"request": {}, "response": "two"})
    early.refresh()
    assert early.find(digest(2))["response"] == "two"
    assert len(early) == 2


def test_a_jobs_own_answer_comes_first_and_then_the_oldest(folder):
    for part, moment in (("1", "20260101T000000"), ("2", "20260102T000000"), ("0", "20260103T000000")):
        session = added("try", part, (digest(1), f"of {part}"))
        name = session.answers.path.name
        session.answers.path.rename(session.answers.path.with_name(f"{part}-{moment}-{name[-22:]}"))
    assert [found(digest(1), part=part) for part in "0123"] == ["of 0", "of 1", "of 2", "of 1"]
    assert found(digest(1), stage="another") == "of 1"


def test_an_answer_comes_before_a_refusal_whoever_got_it(folder):
    refused = Store("try", "0")
    refused.add(digest(1), {"request": {}, "failure": "HTTP 400"})
    refused.settle()
    assert Store("try", "0").find(digest(1))["failure"] == "HTTP 400"
    added("try", "1", (digest(1), "one"))
    assert found(digest(1)) == "one"
    refused.refresh()
    assert refused.find(digest(1))["response"] == "one"


def test_keys_that_begin_alike_are_told_apart(folder):
    one, two, three = (digest(1)[:16] + end * 48 for end in "123")
    added("try", "0", (one, "one"), (two, "two"))
    assert (found(one), found(two), found(three)) == ("one", "two", None)


def test_answers_with_an_index_are_found_without_reading_their_files(folder, monkeypatch):
    session = added("try", "0", *((digest(number), f"{number}") for number in range(100_000)))
    assert len(session) == 100_000

    def scanned(path, start):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(index, "scan", scanned)
    opened = Store("try", "1")
    assert len(opened) == 100_000
    for number in (0, 1, 49_999, 99_999):
        assert opened.find(digest(number))["response"] == f"{number}"
    assert opened.find(digest(100_000)) is None


def write_many(folder, part, barrier):
    os.chdir(folder)
    session = Store("try", part)
    barrier.wait()
    for number in range(500):
        session.add(digest(number), {"request": {}, "response": f"{part} {'x' * number}"})
    session.settle()


def test_two_processes_write_at_once_and_neither_harms_the_other(folder):
    barrier = apart.Barrier(2)
    writers = [apart.Process(target=write_many, args=(folder.parent, "0", barrier)) for _ in range(2)]  # of one job
    for writer in writers:
        writer.start()
    assert [end(writer) for writer in writers] == [0, 0]
    assert len(Store("try", "0")) == 1000
    assert all(found(digest(number)) == f"0 {'x' * number}" for number in (0, 250, 499))


# Jobs


def test_equal_requests_in_flight_are_sent_once(desk):
    desk.server.script("same", delay(0.2))
    found = desk.ask("same", "other", "same", "same")
    assert [one.text for one in found] == ["answer to same", "answer to other", "answer to same", "answer to same"]
    assert desk.server.hits("same") == 1


def test_draws_of_one_request_are_sent_apart(desk):
    client = desk.client()
    draws = [ask(number, "row", SAMPLING, sample=number) for number in "012"]
    client.complete(draws, "test")
    assert desk.server.hits() == 3


def test_another_job_asks_nothing_that_is_answered(desk, monkeypatch):
    first = desk.ask(*rows(20))
    monkeypatch.setenv("BEZOAR_JOB", "other/3")
    assert desk.ask(*rows(20)) == first
    assert desk.server.hits() == 20
    desk.ask(*rows(30))
    assert desk.server.hits() == 30


def test_replay_sends_nothing_and_gives_the_same_without_a_key(desk, monkeypatch):
    desk.server.script("row 0001", after=status(400))
    desk.server.script("row 0002", after=LENGTH)
    desk.server.script("row 0003", LENGTH)
    first = desk.ask(*rows(5))
    assert [one.finish_reason for one in first] == ["stop", "error", "length", "stop", "stop"]
    before = desk.server.hits(), desk.server.requests
    for name in ("FAULTS_API_KEY", "OPENAI_URL", "ANTHROPIC_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    (desk.folder / "prices.yaml").unlink()
    assert desk.ask(*rows(5)) == first
    assert (desk.server.hits(), desk.server.requests) == before


def test_a_miss_in_replay_is_an_error_that_names_the_cure(desk, monkeypatch):
    desk.ask(*rows(4))
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    with pytest.raises(ValueError, match="4 of 5 answers") as caught:
        desk.ask(*rows(5))
    assert "hint: `dvc pull responses`, or unset BEZOAR_REPLAY_ONLY" in str(caught.value)
    assert key(desk.kind, ask("", "row 0004", SAMPLING)) in str(caught.value)
    assert desk.server.hits() == 4


def test_what_was_refused_for_good_is_asked_again_by_a_later_run_and_then_never_more(desk, monkeypatch):
    desk.server.script("row", status(400))
    assert [one.finish_reason for one in desk.ask("row")] == ["error"]
    for _ in range(2):
        assert [one.text for one in desk.ask("row")] == ["answer to row"]
        assert desk.server.hits() == 2
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    assert [one.text for one in desk.ask("row")] == ["answer to row"]
