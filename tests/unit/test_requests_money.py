"""What requests cost, and that they never cost more than they may."""

import json
import shutil
from collections import Counter
from datetime import date, timedelta

import pytest
from desk import MILLION, PRICE, SAMPLING, ceilings, end, only_anthropic, only_openai, price, rows, set_up
from faults import CUT_JSON, HTML502, RESET, limited, status, used

from bezoar.errors import Stopped
from bezoar.requests import EXIT_BUDGET
from bezoar.requests.base import ask
from bezoar.requests.budget import AHEAD, TALLY, Amount, BudgetReservation
from bezoar.requests.job import SPENT, CurrentJob
from bezoar.requests.ledger import totals
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.prices import Usage

ANSWER = used(prompt=30, completion=16)  # 30 * 1 + 16 * 5
MICRO = 110  # millionths of a dollar
HELD_FOR_NOTHING = AHEAD * 160  # what a job holds for its next requests at most


def dollars(answers):
    """Dollars for a number of answers."""
    return answers * MICRO / MILLION


def worst(desk):
    """Millionths of a dollar, and tokens, that have to be reserved for the first request that was sent."""
    prompt = len(desk.server.calls[0].data)  # a token for each byte, at the dearest price, of an hour's cache
    return prompt * 2 + 16 * 5, prompt + 16


def sent_below(ceiling, worst, used):
    """How many requests fit, if each uses less than is reserved for it."""
    return (ceiling - worst) // used + 1


# Prices


@pytest.mark.parametrize(
    ("usage", "micro"),
    [
        (Usage(prompt=1000, completion=0), 1000),
        (Usage(prompt=0, completion=200), 1000),
        (Usage(prompt=0, completion=0, cached=400), 40),
        (Usage(prompt=0, completion=0, written=80), 100),
        (Usage(prompt=0, completion=0, written_1h=30), 60),
        (Usage(prompt=1000, completion=200, cached=400, written=80, written_1h=30), 2200),
        (Usage(prompt=0, completion=0, cached=1), 1),  # rounded up
        (Usage(prompt=0, completion=0), 0),
    ],
)
def test_what_tokens_cost(usage, micro):
    assert price().micro(usage, batch=False) == micro
    assert price().micro(usage, batch=True) == -(-micro // 2)


def test_long_prompts_have_prices_of_their_own_and_what_a_cache_holds_is_part_of_their_length():
    long = price(long_prompts={"above": 1000, "input": 2.0, "output": 1.5})
    assert long.micro(Usage(prompt=1000, completion=100), batch=False) == 1000 + 500
    assert long.micro(Usage(prompt=1001, completion=100), batch=False) == 2002 + 750
    assert long.micro(Usage(prompt=1, completion=100, cached=1000), batch=False) == 2 * (1 + 100) + 750


TOKENS = {"prompt": 1000, "cached": 400, "written": 80, "completion": 200, "thought": 50}
ledgers = [
    # OpenAI's prompt has all of 1000 + 400 + 80 in it; 1000 * 1 + 400 * .1 + 80 * 1.25 + 200 * 5
    pytest.param("openai", {}, 1480, 2140, id="openai"),
    # Anthropic's doesn't; another 30 * 2 for what was written for an hour
    pytest.param("anthropic", {"written_hour": 30}, 1510, 2200, id="anthropic"),
]


@pytest.mark.parametrize(("kind", "more", "prompt", "micro"), ledgers)
@pytest.mark.parametrize("batch", [False, True], ids=["live", "batch"])
def test_the_ledger_has_what_either_provider_counts(desk, more, prompt, micro, batch):
    desk.server.script("row", used(**TOKENS, **more))
    desk.ask("row", connection={"batch": batch})
    (line,) = [line for line in desk.ledger() if "outcome" in line]
    assert (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"]) == (prompt, 400, 200)
    assert (line["micro"], line["batch"]) == (micro // 2 if batch else micro, batch)
    assert (line["model"], line["price_since"]) == ("rules", "2026-01-01")
    written = {"written_tokens": 80} | ({"written_1h_tokens": 30} if more else {})
    assert {name: count for name, count in line.items() if name.startswith("written")} == written
    assert desk.server.usage == {"calls": 1, "prompt_tokens": prompt, "completion_tokens": 200}


def test_a_model_without_a_price_is_not_asked(desk):
    set_up(desk.folder, PRICE | {"model": "others"}, PRICE | {"since": str(date.today() + timedelta(days=1))})
    with pytest.raises(ValueError, match="no price for the model rules\n  found:    prices of others"):
        desk.ask("row")
    assert desk.server.requests == 0


def test_the_newest_price_that_has_begun_holds(desk):
    today, tomorrow = date.today(), date.today() + timedelta(days=1)
    inputs = {today: 7.0, date(2026, 1, 1): 1.0, tomorrow: 9.0}
    set_up(desk.folder, *(PRICE | {"since": str(since), "input": dollars} for since, dollars in inputs.items()))
    desk.server.always(used(prompt=100, completion=3))
    desk.ask("row")
    (line,) = desk.ledger()
    assert (line["micro"], line["price_since"]) == (100 * 7 + 3 * 5, str(today))


# Ceilings


def test_a_ceiling_stops_the_job_below_it_and_a_higher_one_lets_it_ask_for_the_rest_only(desk):
    desk.server.always(ANSWER)
    stopped = desk.stop(*rows(100), budget=ceilings(dollars(30)))
    assert stopped.status == EXIT_BUDGET
    assert "of $0.00 of the run spent or reserved" in str(stopped)
    asked = desk.server.hits()
    assert asked == sent_below(30 * MICRO, worst(desk)[0], MICRO) <= 30
    assert desk.billed() == asked * MICRO == desk.micro()
    found = desk.ask(*rows(100))
    assert [one.text for one in found] == [f"answer to {text}" for text in rows(100)]
    assert desk.server.hits() == 100
    assert Counter(call.text for call in desk.server.calls) == Counter(rows(100))


@pytest.mark.parametrize("concurrency", [1, 8])
def test_tokens_have_a_ceiling_too(desk, concurrency):
    desk.server.always(ANSWER)
    stopped = desk.stop(*rows(40), budget=ceilings(None, tokens=460), connection={"concurrency": concurrency})
    assert "460 tokens of the run" in str(stopped)
    assert stopped.status == EXIT_BUDGET
    assert desk.server.hits() == sent_below(460, worst(desk)[1], 30 + 16) <= 10


def test_a_stage_has_a_ceiling_of_its_own(desk, monkeypatch):
    desk.server.always(ANSWER)
    budget = ceilings(1.0, **{"try": {"dollars": dollars(10), "tokens": None}})
    assert "of the stage try spent" in str(desk.stop(*rows(40), budget=budget))
    before = desk.server.hits()
    assert before == sent_below(10 * MICRO, worst(desk)[0], MICRO)
    monkeypatch.setenv("BEZOAR_JOB", "try/1")
    desk.stop(*rows(40, first=100), budget=budget)
    assert desk.server.hits() == before  # of the same stage
    monkeypatch.setenv("BEZOAR_JOB", "another/0")
    desk.ask(*rows(40), budget=budget)
    assert desk.server.hits() == 40


def test_what_was_approved_is_a_ceiling_too(desk, monkeypatch):
    desk.server.always(ANSWER)
    monkeypatch.setenv("BEZOAR_APPROVE", str(dollars(10)))
    assert desk.stop(*rows(40), budget=ceilings(1.0)).status == EXIT_BUDGET
    assert desk.server.hits() == sent_below(10 * MICRO, worst(desk)[0], MICRO)


@pytest.mark.parametrize("text", ["plenty", "nan", "inf", "-1", "1,000"])
@only_openai
def test_what_was_approved_must_be_dollars(desk, monkeypatch, text):
    monkeypatch.setenv("BEZOAR_APPROVE", text)
    with pytest.raises(ValueError, match=f"BEZOAR_APPROVE is not a number of dollars\n  found:    {text}\n"):
        desk.client()


def test_what_needs_no_approval_is_a_ceiling_of_a_run_that_nobody_was_asked_about(desk, monkeypatch):
    desk.server.always(ANSWER)
    budget = ceilings(1.0, approve_above=dollars(10))
    assert desk.stop(*rows(40), budget=budget).status == EXIT_BUDGET
    assert desk.server.hits() == sent_below(10 * MICRO, worst(desk)[0], MICRO)
    monkeypatch.setenv("BEZOAR_APPROVE", "1")
    desk.ask(*rows(40), budget=budget)
    assert desk.server.hits() == 40


def test_a_job_by_hand_has_one_budget_for_all_that_it_asks(desk, monkeypatch):
    monkeypatch.delenv("BEZOAR_JOB")
    desk.server.always(ANSWER)
    client = desk.client(budget=ceilings(dollars(10)))
    client.complete([ask(text, text, SAMPLING) for text in rows(6)], "test")
    with pytest.raises(Stopped):
        client.complete([ask(text, text, SAMPLING) for text in rows(12)], "test")
    assert desk.server.hits() == sent_below(10 * MICRO, worst(desk)[0], MICRO)
    assert not SPENT.exists()


def test_a_budget_of_nothing_sends_nothing(desk):
    assert desk.stop("row", budget=ceilings(0)).status == EXIT_BUDGET
    assert desk.server.hits() == 0


def test_a_cut_response_counts_at_its_worst_against_a_ceiling(desk):
    desk.server.always(CUT_JSON)
    assert desk.stop("row", budget=ceilings(600 / MILLION)).status == EXIT_BUDGET
    each = worst(desk)[0]
    assert desk.server.hits() == 600 // each < MOST_TRANSIENT
    total = totals()["try"]
    assert (total.micro, total.outcomes) == (0, {"transient": 600 // each})
    assert total.perhaps_micro == 600 // each * each


def test_two_reservations_of_a_run_share_its_ceiling(tmp_path):
    one, other = (BudgetReservation(ceilings(100 / MILLION), stage, tmp_path) for stage in ("a", "b"))
    worst = Amount(3, 1)
    assert one.reserve(worst)  # and holds 16 times as much
    taken = 0
    while other.reserve(worst):
        taken += 1
    assert taken == (100 - 3 * AHEAD) // 3
    one.settle(worst, Amount(1, 1))
    one.close()
    while other.reserve(worst):
        taken += 1
    assert taken == (100 - 1) // 3
    for _ in range(taken):
        other.settle(worst, Amount(3, 1))
    with pytest.raises(Stopped, match=r"\$0.00 of \$0.00 of the run spent or reserved"):
        other.reserve(worst)


def test_what_a_reservation_reads_and_writes_does_not_grow_with_the_jobs_of_the_run(tmp_path):
    sizes = []
    for number in range(300):
        job = BudgetReservation(ceilings(1.0), f"stage-{number % 3}", tmp_path)
        assert job.reserve(Amount(1))
        job.settle(Amount(1), Amount(1))
        job.close()
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", TALLY]
    assert max(sizes) < 2 * sizes[2]
    last = BudgetReservation(ceilings(400 / MILLION), "stage-0", tmp_path)
    assert last.reserve(Amount(100))
    with pytest.raises(Stopped):
        BudgetReservation(ceilings(400 / MILLION), "stage-1", tmp_path).reserve(Amount(1))


def test_what_a_killed_job_held_stays_in_the_tally_and_a_change_that_a_kill_cuts_is_none(tmp_path, monkeypatch):
    killed = BudgetReservation(ceilings(100 / MILLION), "a", tmp_path)
    assert killed.reserve(Amount(30), ahead=1)

    def cut(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", cut)
        with pytest.raises(KeyboardInterrupt):
            BudgetReservation(ceilings(100 / MILLION), "a", tmp_path).reserve(Amount(60))
    other = BudgetReservation(ceilings(100 / MILLION), "b", tmp_path)
    assert other.reserve(Amount(70), ahead=1)
    with pytest.raises(Stopped):
        BudgetReservation(ceilings(100 / MILLION), "a", tmp_path).reserve(Amount(1))


def test_a_job_whose_runs_folder_a_later_run_removed_counts_all_that_it_holds(tmp_path):
    job = BudgetReservation(ceilings(100 / MILLION), "a", tmp_path / "run")
    assert job.reserve(Amount(50), ahead=1)
    shutil.rmtree(tmp_path / "run")
    assert job.reserve(Amount(30), ahead=1)
    with pytest.raises(Stopped):
        BudgetReservation(ceilings(100 / MILLION), "b", tmp_path / "run").reserve(Amount(30))
    job.settle(Amount(80), Amount(10))
    job.close()
    assert BudgetReservation(ceilings(100 / MILLION), "b", tmp_path / "run").reserve(Amount(90))


def test_a_reservation_makes_room_for_the_given_number_of_requests(tmp_path):
    batch, live = (BudgetReservation(ceilings(500 / MILLION), stage, tmp_path) for stage in ("a", "b"))
    assert batch.reserve(Amount(30), ahead=1)
    assert live.reserve(Amount(1))
    assert (batch.held, live.held) == (Amount(30), Amount(AHEAD))


def test_a_job_without_a_run_has_its_budget_alone(monkeypatch):
    monkeypatch.setenv("BEZOAR_JOB", "a/3")
    monkeypatch.delenv("BEZOAR_RUN", raising=False)
    assert CurrentJob.current() == CurrentJob("a", "3", None)
    monkeypatch.setenv("BEZOAR_RUN", "one")
    assert CurrentJob.current() == CurrentJob("a", "3", SPENT / "one")


def test_a_reservation_waits_for_what_is_in_flight_before_it_gives_up(tmp_path):
    reservation = BudgetReservation(ceilings(10 / MILLION), "a", tmp_path)
    assert reservation.reserve(Amount(8))
    assert not reservation.reserve(Amount(8))
    reservation.settle(Amount(8), Amount(2))
    assert reservation.reserve(Amount(8))
    reservation.settle(Amount(8), Amount(3))
    with pytest.raises(Stopped):
        reservation.reserve(Amount(8))


def test_a_halted_run_harms_no_reservation(tmp_path):
    CurrentJob("a", "0", tmp_path).halt("a key was refused")
    assert BudgetReservation(ceilings(1.0), "b", tmp_path).reserve(Amount(8))


@only_openai
def test_two_processes_of_a_run_stay_below_its_ceiling_together(desk):
    desk.server.always(ANSWER)
    jobs = [desk.start(60, f"{name}/0", first=first, dollars=dollars(80)) for name, first in (("a", 0), ("b", 100))]
    statuses = {end(job) for job in jobs}
    assert EXIT_BUDGET in statuses
    assert statuses <= {0, EXIT_BUDGET}
    # one may stop while the other holds what it doesn't use in the end
    assert 80 * MICRO - HELD_FOR_NOTHING < desk.billed() <= 80 * MICRO
    assert desk.micro() == desk.billed()


# Books


def test_the_ledger_is_the_servers_own_count_after_a_storm(desk, monkeypatch):
    monkeypatch.setenv("BEZOAR_COSTS", str(desk.folder / "costs"))
    storm = [limited("0"), status(500), HTML502, status(529), RESET, CUT_JSON]
    texts = rows(120)
    for number, text in enumerate(texts):
        steps = [storm[(number + more) % len(storm)] for more in range(number % 4)]
        desk.server.script(text, *steps, after=status(400) if number % 17 == 0 else used(prompt=number, completion=7))
    desk.ask(*texts)
    total = totals()["try"]
    counted = desk.server.usage
    assert (total.prompt_tokens, total.completion_tokens) == (counted["prompt_tokens"], counted["completion_tokens"])
    assert total.answers == counted["calls"] == 120 - 8
    assert total.micro == desk.billed() == desk.micro()
    assert total.outcomes["terminal"] == 8
    assert sum(total.outcomes.values()) == desk.server.hits()
    told = Counter()
    for line in (desk.folder / "costs").read_text().splitlines():
        told.update(json.loads(line))
    assert round(told["dollars"] * MILLION) == total.micro
    assert told["prompt_tokens"] == total.prompt_tokens
    assert told["completion_tokens"] == total.completion_tokens


def test_totals_of_a_model_leave_out_what_others_were_asked(desk):
    set_up(desk.folder, PRICE, PRICE | {"model": "others"})
    desk.server.models["others"] = {}
    desk.ask(*rows(3))
    desk.ask(*rows(2), model="others")
    assert (totals()["try"].answers, totals(model="others")["try"].answers, totals(model="none")) == (5, 2, {})


def test_answers_from_the_store_cost_nothing(desk, monkeypatch):
    monkeypatch.setenv("BEZOAR_COSTS", str(desk.folder / "costs"))
    desk.ask(*rows(5))
    (desk.folder / "costs").unlink()
    before = desk.micro()
    desk.ask(*rows(5), budget=ceilings(0))
    assert desk.micro() == before
    assert not (desk.folder / "costs").exists()


@only_anthropic
def test_a_self_hosted_server_may_cost_nothing(desk):
    free = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0.0)
    set_up(desk.folder, PRICE | free)
    desk.ask(*rows(5), budget=ceilings(0))
    assert (desk.server.hits(), desk.micro()) == (5, 0)
