"""Batches: half the price, in any order, with anything missing, and never handed in twice."""

import os
import signal
import threading
import time
from collections import Counter

import pytest
from desk import MILLION, RUN, ceilings, end, only_anthropic, only_openai, price, rows
from faults import CONFLICT, EXPIRED, LENGTH, MISSING, QUOTA, RESET, TWICE, Ending, limited, status

from bezoar.requests import EXIT_BUDGET, EXIT_FATAL
from bezoar.requests.job import HALTED, SPENT
from bezoar.requests.ledger import Ledger
from bezoar.requests.open_batches import open_batches
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.sender import CANARY
from bezoar.requests.store import FOLDER, Store

BATCH = {"batch": True}


def texts(completions):
    return [one.text for one in completions]


def answers(asked):
    return [f"answer to {text}" for text in asked]


def sent(desk):
    """What each batch was made of."""
    return [sorted(body["messages"][-1]["content"] for body in batch.sent.values()) for batch in desk.server.batches]


def events(desk):
    return Counter(line["event"] for line in desk.ledger() if "event" in line)


def test_results_in_another_order_come_to_those_who_asked_at_half_the_price(desk):
    asked = rows(30)
    assert texts(desk.ask(*asked, connection=BATCH)) == answers(asked)
    assert sent(desk) == [asked]
    assert desk.server.hits() == 0
    assert desk.micro() * 2 == desk.billed()
    assert all(line["batch"] for line in desk.ledger() if "outcome" in line)
    assert texts(desk.ask(*asked)) == answers(asked)  # a live job knows them
    assert desk.server.hits() == 0
    assert events(desk) == {"batch created": 1, "batch settled": 1}


def test_equal_requests_are_one_line(desk):
    assert texts(desk.ask("a", "b", "a", connection=BATCH)) == answers("aba")
    assert sent(desk) == [["a", "b"]]


def test_a_batch_is_asked_after_until_it_ends(desk):
    desk.server.endings = [Ending(polls=4)]
    assert texts(desk.ask("row", connection=BATCH)) == ["answer to row"]
    assert desk.server.batches[0].polls >= 5
    assert len(desk.server.batches) == 1


def test_equal_duplicates_are_one_answer_and_different_ones_are_none(desk):
    desk.server.script("row 0001", TWICE)
    desk.server.script("row 0002", CONFLICT)
    found = desk.ask(*rows(4), connection=BATCH)
    assert [one.finish_reason for one in found] == ["stop", "stop", "error", "stop"]
    assert found[2].error == "the batch brought two different answers to it"
    assert sent(desk) == [rows(4)]
    assert desk.outcomes() == {"stop": 3, "terminal": 1}
    assert not any("another answer" in str(record) for record in desk.stored())
    (doubtful,) = [line for line in desk.ledger() if line.get("outcome") == "terminal"]
    assert doubtful["perhaps_micro"] > 0  # it was billed, at a price that isn't known


def test_what_a_batch_lacks_is_handed_in_again_and_nothing_else(desk):
    desk.server.script("row 0001", MISSING)
    desk.server.script("row 0004", MISSING, MISSING)
    assert texts(desk.ask(*rows(6), connection=BATCH)) == answers(rows(6))
    assert sent(desk) == [rows(6), ["row 0001", "row 0004"], ["row 0004"]]
    assert desk.server.usage["calls"] == 6


def test_an_answer_to_what_was_not_asked_is_an_error_once_the_others_are_stored(desk):
    desk.server.endings = [Ending(unknown=2)]
    stopped = desk.stop(*rows(3), connection=BATCH)
    assert "has 2 answers to calls that weren't in it" in str(stopped)
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert len(desk.server.batches) == 1


LINES = {
    "row 0000": EXPIRED,
    "row 0001": status(500),
    "row 0002": status(429),
}


def test_lines_without_an_answer_are_handed_in_again_and_those_refused_for_good_are_not(desk):
    for text, step in LINES.items():
        desk.server.script(text, step)
    desk.server.script("row 0003", after=status(400, text="this won't do"))
    found = desk.ask(*rows(6), connection=BATCH)
    assert [one.finish_reason for one in found] == ["stop", "stop", "stop", "error", "stop", "stop"]
    assert "this won't do" in found[3].error
    assert sent(desk) == [rows(6), rows(3)]
    assert desk.outcomes()["terminal"] == 1
    assert desk.outcomes()["stop"] == 5


ACCOUNT = [QUOTA, status(400, text="Your credit balance is too low to go on.")]


@pytest.mark.parametrize("step", ACCOUNT, ids=["quota", "credit"])
def test_lines_that_ended_for_want_of_money_wait_for_the_next_run_and_the_others_are_taken(desk, step):
    asked = rows(12)
    for text in asked[2:5]:
        desk.server.script(text, step)  # once; then the account is topped up
    assert desk.stop(*asked, connection=BATCH).status == 1
    assert len(desk.stored()) == 9
    assert not list(open_batches(FOLDER, "try"))
    assert desk.micro() * 2 == desk.billed()
    assert texts(desk.ask(*asked, connection=BATCH)) == answers(asked)
    assert sent(desk) == [asked, asked[2:5]]
    assert desk.server.usage["calls"] == 12


def test_a_batch_that_an_earlier_run_handed_in_stops_nobody_by_what_its_lines_lacked_then(desk):
    desk.server.script("row 0001", QUOTA)
    desk.server.script(created(desk), RESET)
    desk.stop(*rows(3), connection=BATCH)
    (batch,) = desk.server.batches
    hand_in(desk, batch.id, list(batch.sent))
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert sent(desk) == [rows(3), ["row 0001"]]


def test_lines_that_alone_are_forbidden_are_errors_and_the_others_are_taken(desk):
    desk.server.script("row 0001", after=status(403, text="not this"))
    found = desk.ask(*rows(3), connection=BATCH)
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
    assert "not this" in found[1].error
    assert sent(desk) == [rows(3)]
    assert not (SPENT / RUN / HALTED).exists()


def test_lines_that_are_forbidden_halt_the_run_if_another_call_is_forbidden_too(desk):
    desk.server.script("row 0001", after=status(403))
    desk.server.script(CANARY, after=status(403))
    assert desk.stop(*rows(3), connection=BATCH).status == EXIT_FATAL
    assert len(desk.stored()) == 2


def test_a_batch_whose_key_may_nothing_any_more_halts_the_run(desk):
    desk.server.always(status(403))
    assert desk.stop(*rows(3), connection=BATCH).status == EXIT_FATAL
    assert (SPENT / RUN / HALTED).exists()


@only_openai
def test_a_line_of_results_that_cannot_be_read_is_handed_in_again_and_harms_no_other(desk, caplog):
    desk.server.endings = [Ending(polls=1)]
    lines = [b"[" * 100_000, b"{", b"[]", b'{"custom_id": 1}', b'{"response": {"status_code": "x"}, "custom_id": "1"}']

    def damage():
        until(lambda: desk.server.batches)
        good = desk.server.files["file-batch_0-output"].splitlines()
        desk.server.files["file-batch_0-output"] = b"\n".join([*lines, *good[1:], good[0][:40]])

    damaging = threading.Thread(target=damage)
    damaging.start()
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    damaging.join()
    assert [len(batch) for batch in sent(desk)] == [3, 1]
    assert "6 lines of a batch's results can't be read" in caplog.text


@pytest.mark.parametrize("word", ["expired", "cancelled"])
def test_a_batch_that_ended_early_brings_what_was_done_and_the_rest_is_handed_in_again(desk, word):
    desk.server.endings = [Ending(status=word, done=4)]
    assert texts(desk.ask(*rows(6), connection=BATCH)) == answers(rows(6))
    assert [len(batch) for batch in sent(desk)] == [6, 2]
    assert desk.server.usage["calls"] == 6


def test_a_batch_of_errors_only_brings_no_answers(desk):
    for text in rows(3):
        desk.server.script(text, after=status(400))
    assert [one.finish_reason for one in desk.ask(*rows(3), connection=BATCH)] == ["error"] * 3
    (batch,) = desk.server.batches
    assert not batch.good
    assert desk.micro() == 0


def test_what_never_comes_is_an_error_after_some_batches(desk):
    desk.server.script("row 0001", after=MISSING)
    found = desk.ask(*rows(3), connection=BATCH)
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
    assert sent(desk) == [rows(3)] + [["row 0001"]] * (MOST_TRANSIENT - 1)


def test_what_never_comes_stops_the_job_if_another_call_is_not_answered_either(desk):
    desk.server.script("row 0001", after=MISSING)
    desk.server.script(CANARY, after=status(500))
    assert "1 of 3 requests got no answer" in str(desk.stop(*rows(3), connection=BATCH))
    assert len(desk.stored()) == 2


@only_anthropic
@pytest.mark.parametrize("relative", [True, False])
def test_results_are_found_at_either_form_of_their_address(desk, relative):
    desk.server.endings = [Ending(relative=relative)]
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))


@only_openai
def test_a_batch_that_failed_as_a_whole_stops_the_job_with_its_reason_and_is_forgotten(desk):
    desk.server.endings = [Ending(status="failed")]
    stopped = desk.stop(*rows(3), connection=BATCH)
    assert "The batch failed as scripted." in str(stopped)
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert len(desk.server.batches) == 2


def test_a_cut_answer_is_asked_with_twice_the_tokens_in_another_batch(desk):
    desk.server.script("row 0001", LENGTH)
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert sent(desk) == [rows(3), ["row 0001"]]
    (body,) = desk.server.batches[1].sent.values()
    assert body["max_tokens"] == 32


# Failures on the way


def test_failures_that_pass_while_a_batch_is_asked_after_do_no_harm(desk):
    place = {"openai": "GET /v1/batches", "anthropic": "GET /v1/messages/batches"}[desk.kind]
    desk.server.endings = [Ending(polls=2)]
    desk.server.script(place, status(500), RESET, limited("0.1"))
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert len(desk.server.batches) == 1


def hand_in(desk, batch, keys):
    """What an earlier run wrote down when it had handed a batch in."""
    session = Store("try", "0")
    session.expect_batch()
    Ledger(session.ledger, price(), batch=True).batch_created(batch, desk.kind, keys)


def created(desk):
    return {"openai": "POST /v1/batches", "anthropic": "POST /v1/messages/batches"}[desk.kind]


def test_a_batch_that_was_turned_away_is_handed_in_again(desk):
    desk.server.script(created(desk), limited("0.1"))
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert len(desk.server.batches) == 1


@pytest.mark.parametrize("step", [RESET, status(500), status(504)], ids=["reset", "500", "504"])
def test_a_batch_of_which_no_more_is_known_is_not_handed_in_twice_by_itself(desk, step):
    desk.server.script(created(desk), step)
    stopped = desk.stop(*rows(3), connection=BATCH)
    assert "whether the batch was created is not known" in str(stopped)
    assert len(desk.server.batches) == (step is RESET)  # whose loss of the reply comes after it was created


def test_calls_of_an_open_batch_are_not_sent_live_as_well(desk):
    desk.server.script(created(desk), RESET)
    desk.stop(*rows(3), connection=BATCH)
    (batch,) = desk.server.batches
    hand_in(desk, batch.id, list(batch.sent))
    stopped = desk.stop(*rows(3))
    assert "3 of its calls would be sent and paid for again" in str(stopped)
    assert desk.server.hits() == 0
    assert texts(desk.ask(*rows(3), connection=BATCH)) == answers(rows(3))
    assert len(desk.server.batches) == 1


def test_a_batch_that_is_not_found_is_not_forgotten(desk):
    desk.server.script(created(desk), RESET)
    desk.stop(*rows(3), connection=BATCH)
    hand_in(desk, "batch_of_another_account", list(desk.server.batches[0].sent))
    for _ in range(2):  # by another key or address it would be there
        assert desk.stop(*rows(3), connection=BATCH).status == 1
    assert len(desk.server.batches) == 1


def test_a_key_that_a_batch_is_refused_with_halts_the_run(desk):
    desk.server.script(created(desk), after=status(401))
    assert desk.stop(*rows(3), connection=BATCH).status == EXIT_FATAL
    assert desk.stop(*rows(3)).status == EXIT_FATAL
    assert (desk.server.hits(), len(desk.server.batches)) == (0, 0)


def test_a_batch_that_may_cost_more_than_is_left_is_not_handed_in(desk):
    assert desk.stop(*rows(100), connection=BATCH, budget=ceilings(3000 / MILLION)).status == EXIT_BUDGET
    assert not desk.server.batches
    desk.ask(*rows(10), connection=BATCH, budget=ceilings(3000 / MILLION))  # below 300 each, in a batch
    assert len(desk.server.batches) == 1


# Crashes


def until(true, seconds=20.0):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_batch_is_awaited_by_the_run_after_the_one_that_was_killed(desk, number):
    desk.server.endings = [Ending(polls=10**6)]
    job = desk.start(20, batch=True)
    until(lambda: desk.server.batches and desk.server.batches[0].polls)
    os.kill(job.pid, number)
    assert end(job) == (-9 if number == signal.SIGKILL else 130)
    (batch,) = desk.server.batches
    assert [(name, len(keys)) for name, _, keys in open_batches(FOLDER, "try")] == [(batch.id, 20)]
    batch.ending = Ending()
    assert texts(desk.ask(*rows(20), connection=BATCH)) == answers(rows(20))
    assert len(desk.server.batches) == 1
    assert desk.micro() * 2 == desk.billed()
    assert not list(open_batches(FOLDER, "try"))
    assert events(desk) == {"batch created": 1, "batch settled": 1}


def test_a_batch_that_another_job_waits_for_stays_open_until_all_of_it_is_stored(desk, monkeypatch):
    desk.server.endings = [Ending(polls=10**6)]
    job = desk.start(20, "try/7", batch=True)
    until(lambda: desk.server.batches and desk.server.batches[0].polls)
    job.kill()
    end(job)
    desk.server.batches[0].ending = Ending()
    assert texts(desk.ask("row 0003", connection=BATCH)) == ["answer to row 0003"]
    assert texts(desk.ask(*rows(20), connection=BATCH)) == answers(rows(20))
    assert len(desk.server.batches) == 1
    assert desk.micro() * 2 == desk.billed()
