"""Every way in which a server can fail, by the real clients against a server that fails on demand."""

import json
import threading
import time
import traceback
from dataclasses import replace
from datetime import date as day
from datetime import timedelta
from email.utils import formatdate
from itertools import pairwise

import pytest
from desk import KEY, RUN, only_openai, rows
from faults import (
    CUT_JSON,
    EMPTY,
    HTML200,
    HTML502,
    NO_RETRY,
    NO_USAGE,
    OK,
    QUOTA,
    RESET,
    SHORT_BODY,
    Faults,
    Step,
    date,
    delay,
    drip,
    hang,
    limited,
    status,
)

from bezoar.requests import EXIT_FATAL, failures
from bezoar.requests.job import HALTED, SPENT, CurrentJob
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.sender import CANARY


def gaps(desk, text):
    """Seconds between the requests for a text."""
    return [
        later.time - earlier.time for earlier, later in pairwise(one for one in desk.server.calls if one.text == text)
    ]


def texts(completions):
    return [one.text for one in completions]


# 429


def test_a_pause_that_the_server_asks_for_is_kept_and_many_429_at_once_shrink_the_gate_once(desk):
    waits = {"one": ("1", 1.0), "short": ("0.2", 0.2), "until": (date(1.6), 0.6)}  # a date has no parts of seconds
    for text, (header, _) in waits.items():
        desk.server.script(text, limited(header), limited(header))
    assert texts(desk.ask(*waits)) == [f"answer to {text}" for text in waits]
    for text, (_, least) in waits.items():
        assert desk.server.hits(text) == 3
        assert all(gap >= least for gap in gaps(desk, text))
    (gate,) = desk.gates
    assert gate.limit == pytest.approx(8 * 0.8)
    assert desk.outcomes() == {"rate": 6, "stop": 3}


def test_a_longer_pause_than_the_deadline_ends_the_job_at_once(desk):
    desk.server.always(limited("121"))
    started = time.monotonic()
    stopped = desk.stop(*rows(3), connection={"concurrency": 1, "deadline": 5.0})
    assert (stopped.status, desk.server.hits()) == (1, 1)
    assert time.monotonic() - started < 5
    assert "HTTP 429" in str(stopped)
    assert not desk.stored()


def test_requests_in_flight_are_still_answered_when_another_is_reported_to_wait_too_long(desk):
    desk.server.script("slow", delay(0.5))
    desk.server.script("hasty", limited("121"))
    desk.stop("slow", "hasty", "later", connection={"concurrency": 2, "deadline": 5.0})
    assert texts(desk.ask("slow")) == ["answer to slow"]
    assert (desk.server.hits("slow"), desk.server.hits("later")) == (1, 0)


def test_a_pause_that_nobody_understands_is_our_own(desk):
    desk.server.script("row", limited("soon"))
    assert texts(desk.ask("row")) == ["answer to row"]
    assert (desk.server.hits(), len(desk.waits)) == (2, 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1"}, 1.0),
        ({"retry-after": "0.2"}, 0.2),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({}, None),
    ],
)
def test_what_a_server_asks_to_wait(headers, seconds):
    assert failures.retry_after(headers) == seconds


EMPTY_ACCOUNT = status(400, text="Your credit balance is too low to access the API.")


@pytest.mark.parametrize("step", [QUOTA, status(402), EMPTY_ACCOUNT], ids=["quota", "402", "empty_account"])
def test_a_server_that_wants_money_is_asked_once_and_the_job_stops(desk, step):
    desk.server.always(step)
    stopped = desk.stop(*rows(3), connection={"concurrency": 1})
    assert (stopped.status, desk.server.hits()) == (1, 1)
    assert desk.outcomes() == {"stop": 1}
    assert not (SPENT / RUN / HALTED).exists()  # other jobs may ask other models


def test_a_limit_whose_text_speaks_of_billing_is_a_limit():
    body = {"error": {"message": "Slow down. See your plan at /account/billing.", "code": "rate_limit_exceeded"}}
    assert failures.of_status(429, {}, json.dumps(body)).kind == "rate"


def test_a_redirect_is_not_followed(desk):
    with Faults() as elsewhere:
        desk.server.always(status(307, {"Location": f"{elsewhere.address}/v1/messages"}))
        assert desk.stop(*rows(3), connection={"concurrency": 1}).status == 1
        assert (desk.server.hits(), elsewhere.hits()) == (1, 0)


def test_an_ending_that_is_not_known_is_paid_for_once(desk):
    desk.server.always(replace(OK, finish="pause_turn"))
    first = desk.ask("row", max_attempts=2)
    assert [one.fault for one in first] == ["other"]
    assert desk.server.hits() == 2  # as a refusal it is tried once more, and then known
    assert desk.ask("row", max_attempts=2) == first
    assert desk.server.hits() == 2


def test_no_more_are_in_flight_than_allowed(desk):
    desk.server.latency = 0.05
    desk.ask(*rows(12), connection={"concurrency": 3})
    assert desk.server.busiest == 3


# What passes


@pytest.mark.parametrize(
    "steps",
    [(status(500), status(500)), (HTML502,), (status(529),), (NO_RETRY,), (status(408), status(409))],
    ids=["500", "502", "529", "should_not_retry", "408"],
)
def test_a_failure_of_the_server_passes_and_is_written_down(desk, steps):
    desk.server.script("row", *steps)
    assert texts(desk.ask("row")) == ["answer to row"]
    assert desk.server.hits() == len(steps) + 1
    lines = desk.ledger()
    assert [line.get("status") for line in lines] == [*(step.status for step in steps), None]
    assert [line["outcome"] for line in lines] == ["transient"] * len(steps) + ["stop"]
    gateway = [line["status"] for line in lines if "perhaps_micro" in line]
    assert gateway == [
        one for one in (408, 502, 504) if one in [step.status for step in steps]
    ]  # that may have asked on


@pytest.mark.parametrize(
    "step",
    [HTML200, EMPTY, NO_USAGE, CUT_JSON, SHORT_BODY, RESET, hang(0.1), delay(5), drip(50)],
    ids=["html200", "empty", "no_usage", "cut_json", "short_body", "reset", "hang", "timeout", "drip"],
)
def test_what_is_no_whole_answer_is_never_stored_and_perhaps_billed(desk, step):
    desk.server.script("row", step)
    assert texts(desk.ask("row", connection={"timeout": 0.4})) == ["answer to row"]
    assert desk.server.hits() == 2
    assert len(desk.stored()) == 1
    failed, answered = desk.ledger()
    assert (failed["outcome"], answered["outcome"]) == ("transient", "stop")
    assert failed["perhaps_micro"] > answered["micro"] > 0


@only_openai
def test_the_cause_of_a_broken_connection_is_reported(desk):
    desk.server.script("row", RESET)
    desk.ask("row")
    assert "reset by peer" in desk.ledger()[0]["detail"]


@only_openai
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": 3}])
def test_a_usage_without_numbers_is_none(desk, usage):
    choice = {"message": {"content": "free"}, "finish_reason": "stop"}
    desk.server.script("row", Step(body={"model": "rules", "choices": [choice], "usage": usage}))
    assert texts(desk.ask("row")) == ["answer to row"]
    assert desk.server.hits() == 2


def test_an_outage_stops_the_job_with_the_other_answers_stored_and_a_later_run_asks_for_the_rest(desk):
    asked = rows(12)
    desk.server.script("row 0002", after=status(500))
    desk.server.script(CANARY, after=status(500))
    stopped = desk.stop(*asked, connection={"concurrency": 1})
    assert "1 of 12 requests got no answer" in str(stopped)
    assert stopped.status == 1
    assert desk.server.hits("row 0002") == MOST_TRANSIENT
    assert len(desk.stored()) == 2
    desk.server.script("row 0002")
    desk.server.script(CANARY)
    before = desk.server.hits()
    assert texts(desk.ask(*asked)) == [f"answer to {text}" for text in asked]
    assert desk.server.hits() - before == 10


def test_a_server_that_is_down_is_not_asked_for_every_row(desk):
    desk.server.always(status(500))
    desk.stop(*rows(100), connection={"concurrency": 4})
    # as many rows as are in flight are given up, with six tries each; the others of those in flight end theirs
    assert desk.server.hits() < 2 * 4 * MOST_TRANSIENT


def test_a_server_that_is_not_there_costs_nothing(desk):
    desk.server.__exit__()
    stopped = desk.stop("row")
    assert stopped.status == 1
    assert "no response" in str(stopped)
    assert not failures.of_connection(ConnectionRefusedError()).perhaps_billed


# What doesn't pass


def test_a_key_that_the_preflight_finds_refused_stops_every_job_of_the_run_before_anything_is_sent(desk, monkeypatch):
    desk.server.bad_key = KEY
    assert desk.stop(*rows(3)).status == EXIT_FATAL
    desk.server.bad_key = ""
    monkeypatch.setenv("BEZOAR_JOB", "other/0")
    stopped = desk.stop(*rows(3))
    assert stopped.status == EXIT_FATAL
    assert "another job of this run was refused" in str(stopped)
    assert desk.server.hits() == 0
    assert not desk.stored()


@pytest.mark.parametrize("code", [401, 403])
def test_a_key_that_is_refused_at_the_first_call_stops_the_run_and_quarantines_nothing(desk, code):
    desk.server.always(status(code))
    assert desk.stop(*rows(3), connection={"concurrency": 1}).status == EXIT_FATAL
    assert desk.server.hits() == (1 if code == 401 else 2)  # a 403 may be the request's own: another call tells
    assert (SPENT / RUN / HALTED).exists()
    assert not desk.stored()


def test_a_job_under_way_stops_when_another_halts_the_run(desk, monkeypatch):
    monkeypatch.setattr("bezoar.requests.persistence.SECONDS_BETWEEN_LOOKS", 0.0)
    desk.server.latency = 0.1
    halting = threading.Timer(0.5, CurrentJob("other", "0", SPENT / RUN).halt, ["a key was refused"])
    halting.start()
    assert desk.stop(*rows(50), connection={"concurrency": 1}).status == EXIT_FATAL
    assert len(desk.stored()) == desk.server.hits() < 10


def test_no_key_is_an_error_that_names_the_variable(desk, monkeypatch):
    monkeypatch.delenv("FAULTS_API_KEY")
    with pytest.raises(ValueError, match="FAULTS_API_KEY is not set"):
        desk.ask("row")


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_that_is_refused_for_good_is_sent_once_and_harms_no_other(desk, code):
    desk.server.script("row 0001", after=status(code, text="this won't do"))
    found = desk.ask(*rows(3))
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
    assert (found[1].text, found[1].error) == ("", f"HTTP {code}: this won't do")
    assert desk.server.hits() == 3
    assert desk.outcomes() == {"stop": 2, "terminal": 1}


def test_a_model_that_goes_while_a_job_runs_stops_it(desk):
    desk.server.script("row 0001", after=status(404))
    assert desk.stop(*rows(3), connection={"concurrency": 1}).status == 1
    assert desk.server.hits() == 2
    assert len(desk.stored()) == 1


LAST_WEEK, NEXT_WEEK = (str(day.today() + timedelta(days=days)) for days in (-7, 7))
gone = [
    pytest.param("openai", {"rules": {"shutdown_date": LAST_WEEK}}, "is retired", id="openai-shutdown"),
    pytest.param("openai", {"others": {}}, "no model rules, but others", id="openai-unknown"),
    pytest.param("openai", {"rules": {"max_model_len": 3}}, "room for 3 tokens", id="openai-room"),
    pytest.param("anthropic", {"rules": {"lifecycle": "retired"}}, "is retired", id="anthropic-retired"),
    pytest.param("anthropic", {"others": {}}, "HTTP 404", id="anthropic-unknown"),
    pytest.param("anthropic", {"rules": {"max_input_tokens": 3}}, "room for 3 tokens", id="anthropic-room"),
]


@pytest.mark.parametrize(("kind", "models", "words"), gone)
def test_the_preflight_catches_a_model_that_is_not_there_before_anything_is_sent(desk, models, words):
    desk.server.models = models
    stopped = desk.stop(*rows(3))
    assert words in str(stopped)
    assert (stopped.status, desk.server.hits()) == (1, 0)


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("openai", {"shutdown_date": NEXT_WEEK}),
        ("anthropic", {"lifecycle": "deprecated", "deprecated_at": f"{NEXT_WEEK}T00:00:00Z"}),
    ],
)
def test_a_model_that_will_go_is_warned_of(desk, facts, caplog):
    desk.server.models = {"rules": facts}
    assert texts(desk.ask("row")) == ["answer to row"]
    assert f"rules will be retired on {NEXT_WEEK}, its server says" in caplog.text


def test_a_preflight_that_fails_for_a_reason_that_passes_is_tried_again(desk):
    desk.server.script("GET /v1/models", status(500), RESET, limited("0.1"))
    assert texts(desk.ask("row")) == ["answer to row"]
    assert desk.server.hits() == 1


@only_openai
def test_a_server_without_a_list_of_models_is_asked_all_the_same(desk):
    desk.server.script("GET /v1/models", after=status(404))
    assert texts(desk.ask("row")) == ["answer to row"]


# The key


def test_no_file_and_no_error_has_the_key_that_a_server_repeats(desk, tmp_path):
    long = "x" * 490 + KEY  # what is kept of its words ends in the middle of it
    desk.server.script("row 0000", after=status(400, text=f"wrong: {KEY}"))
    desk.server.script("row 0001", status(200, body=f"<html>{KEY}</html>".encode()), status(500, text=long))
    desk.server.script("row 0002", after=status(401, text=f"{KEY} isn't known"))
    errors = [desk.stop(*rows(3), connection={"concurrency": 1})]
    desk.server.script("GET /v1/models", after=status(401, text=f"{KEY} isn't known"))
    (SPENT / RUN / HALTED).unlink()
    errors.append(desk.stop(*rows(3, first=10)))
    for error in errors:
        assert "[key] isn't known" in str(error)
        assert KEY not in "".join(traceback.format_exception(error))
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".index"]
    assert any("wrong: [key]" in text for text in written)
    assert any("<html>[key]" in text for text in written)
    assert not any(KEY[:8] in text for text in written)
