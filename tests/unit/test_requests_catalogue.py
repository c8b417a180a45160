"""The catalogue of a run: its jobs find what a job by hand finds, in as many files as there are new ones."""

import os
import random
from pathlib import Path

import pytest
from desk import end
from test_requests_store import apart, digest

from bezoar.requests import catalogue, index
from bezoar.requests.catalogue import AT_ONCE, CATALOGUE, FAN, STATE, State
from bezoar.requests.index import ANSWERS
from bezoar.requests.store import Store

RUN = "a-run"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and of no use in a test
    return tmp_path


def job(part, run=RUN, stage="try"):
    return Store(stage, str(part), run=run)


def answer(session, *numbers, settle=True):
    for number in numbers:
        session.add(digest(number), {"request": {}, "response": f"{number}"})
    if settle:
        session.settle()


def finds(number, run=RUN, part="another"):
    session = job(part, run)
    session.refresh()
    record = session.find(digest(number))
    return record and record["response"]


def state():
    return State.model_validate_json((CATALOGUE / STATE).read_bytes())


@pytest.mark.parametrize("seed", range(4))
def test_jobs_of_a_run_find_what_a_job_by_hand_finds_whatever_happens_to_sessions(seed, monkeypatch):
    monkeypatch.setattr(catalogue, "AT_ONCE", 2)
    chance = random.Random(seed)
    alive, number, run = [], 0, 0
    for step in range(200):
        match chance.choice("begin add add add settle kill hand look run".split()):
            case "begin":
                free = set(range(100)) - {int(one.own[4:-1]) for one in alive if one.catalogue.run}
                alive.append(job(chance.choice(sorted(free)), f"run-{run}"))
            case "hand":
                alive.append(job(0, None, "by-hand"))
            case "add" if alive:
                number += 1
                answer(chance.choice(alive), number, settle=False)
            case "settle" if alive:
                chance.choice(alive).settle()
            case "kill" if alive:
                alive.pop(chance.randrange(len(alive)))
            case "run" if chance.random() < 0.1:
                run += 1
            case "look":
                looking = chance.choice([one for one in alive if one.catalogue.run] or [job(0, f"run-{run}")])
                looking.refresh()
                new, by_hand = job("x", f"run-{run}"), job("x", None)
                for one in range(1, number + 1):
                    found = [session.find(digest(one)) for session in (by_hand, new, looking)]
                    assert found == [{"key": digest(one), "request": {}, "response": f"{one}"}] * 3, (step, one)
    assert number > 30
    assert state().segments


def test_a_jobs_own_answer_comes_first():
    for part in "123":
        answer(job(part), 1, settle=part != "2")
    for path in Path("responses/try").glob(f"*{ANSWERS}"):
        path.write_bytes(path.read_bytes().replace(b'"1"', b'"%s"' % path.name[:1].encode()))
    assert [finds(1, part=part) for part in "123"] == ["1", "2", "3"]


def test_a_job_opens_no_more_files_after_hundreds_of_jobs_than_after_one_hundred(monkeypatch):
    opened = []
    read, mapped = index.entries_of, catalogue.Segment
    monkeypatch.setattr("bezoar.requests.store.entries_of", lambda *given: opened.append(given) or read(*given))
    monkeypatch.setattr(catalogue, "Segment", lambda *given: opened.append(given) or mapped(*given))
    most = []
    for part in range(400):
        session = job(part)
        most.append(len(opened))
        opened.clear()
        answer(session, part)
    assert max(most[:100]) <= AT_ONCE + 2 * FAN
    assert max(most[300:]) <= AT_ONCE + 4 * FAN  # one level more for four times as many jobs
    assert len(list(CATALOGUE.rglob("*-*"))) < 400 / AT_ONCE * (1 + 1 / FAN + 1 / FAN**2) + 2
    assert all(finds(number) == f"{number}" for number in (0, 200, 399))


def test_what_was_copied_or_removed_by_hand_counts_from_the_next_run_on():
    answer(job(1), 1, 2)
    other = Path("other")
    session = Store("try", "2", other / "responses")
    answer(session, 3)
    (copied,) = other.rglob(f"*{ANSWERS}")
    copied.rename(Path("responses/try") / copied.name)
    (path,) = Path("responses/try").glob(f"1-*{ANSWERS}")
    first, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)
    assert [finds(number, "next") for number in (1, 2, 3)] == ["1", None, "3"]


def test_a_session_of_an_earlier_run_that_goes_on_is_found_by_the_next():
    late = job(1, "early")
    answer(late, 1, settle=False)
    assert finds(1, "next") == "1"
    answer(late, 2, settle=False)
    assert finds(2, "next") == "2"
    late.settle()
    answer(late, 3, settle=False)  # in another round of calls
    assert finds(3, "next") == "3"


def test_the_next_try_of_a_killed_job_ends_what_its_session_had_begun():
    killed = [answer(job(part), part, settle=False) for part in range(40)]
    assert len(state().began) == len(killed) == 40
    for part in range(40):
        answer(job(part), 100 + part)
    assert not state().began
    assert all(finds(number) == f"{number}" for number in (0, 39, 100, 139))


@pytest.mark.parametrize("harm", ["gone", "state", "segment", "sessions"])
def test_a_catalogue_that_is_gone_or_broken_is_made_anew(harm):
    for part in range(AT_ONCE + 3):
        answer(job(part), part)
    working = job("x")
    (segment,) = CATALOGUE.rglob("0-*")
    if harm == "gone":
        for path in sorted(CATALOGUE.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    elif harm == "state":
        (CATALOGUE / STATE).write_bytes((CATALOGUE / STATE).read_bytes()[:50])
    elif harm == "segment":
        segment.write_bytes(segment.read_bytes()[:-1])
    else:
        (segment.parent / "sessions").unlink()
    assert [finds(part) for part in (0, AT_ONCE, AT_ONCE + 2)] == ["0", f"{AT_ONCE}", f"{AT_ONCE + 2}"]
    working.refresh()
    assert working.find(digest(3))["response"] == "3"


@pytest.mark.parametrize("call", range(1, 9))
def test_a_change_that_a_kill_cuts_loses_no_answer(call, monkeypatch):
    for part in range(AT_ONCE * (FAN - 1) + AT_ONCE - 1):
        answer(job(part), part)
    count, replace = [0], os.replace

    class Killed(BaseException):
        pass

    def kill(source, target):
        count[0] += str(CATALOGUE) in str(target)
        if count[0] == call:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", kill)
    try:  # the last one makes a segment, and then one of four
        answer(job("last"), 1000)
    except Killed:
        assert call <= 4
    else:
        assert call > 4
    monkeypatch.setattr(os, "replace", replace)
    by_hand = Store("try", "x")
    there = [number for number in [*range(AT_ONCE * FAN - 1), 1000] if by_hand.find(digest(number))]
    assert there == [number for number in [*range(AT_ONCE * FAN - 1), 1000] if finds(number)]
    assert len(there) >= AT_ONCE * FAN - 1
    answer(job("more"), 2000)
    assert finds(2000) == "2000"


def run_jobs(folder, name, count, barrier):
    os.chdir(folder)
    barrier.wait()
    for number in range(count):
        answer(job(f"{name}-{number}"), name * 1000 + number)


def test_processes_change_it_at_once_and_nothing_is_lost(folder):
    barrier = apart.Barrier(3)
    workers = [apart.Process(target=run_jobs, args=(folder, name, 60, barrier)) for name in (1, 2, 3)]
    for worker in workers:
        worker.start()
    assert [end(worker) for worker in workers] == [0, 0, 0]
    session = job("x")
    assert all(session.find(digest(name * 1000 + number)) for name in (1, 2, 3) for number in range(60))
    assert sum(count for _, count in state().segments.values()) + len(state().complete) == 180
