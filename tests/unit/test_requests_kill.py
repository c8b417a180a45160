"""Jobs that are killed half-way, in their own processes: nothing is lost, and nothing is requested twice."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import faults
import pytest
from desk import CONNECTION, end, rows, set_up, start

from bezoar.requests.index import ANSWERS, INDEX
from bezoar.requests.ledger import totals

LONG = pytest.mark.end_to_end  # seconds each, in processes of their own
COUNT = 200
HALF = COUNT // 2
LATENCY = 0.02  # seconds; at 8 in flight, half a second for all


class Outside:
    """The server in its own process."""

    def __init__(self):
        command = [sys.executable, faults.__file__, "--latency", str(LATENCY)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def stats(self):
        with urllib.request.urlopen(f"{self.address}/stats") as response:
            return json.load(response)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def outside():
    server = Outside()
    yield server
    server.stop()


def job(folder, outside, kind):
    """A job in a folder, which has a price table then."""
    folder.mkdir(exist_ok=True)
    set_up(folder)
    return start(folder, outside.address, kind, COUNT)


def interrupted(folder, outside, kind, number):
    """The exit status of a job that got a signal once half of its requests had come to the server."""
    running = job(folder, outside, kind)
    while outside.stats()["calls"] < HALF:
        assert running.is_alive(), "it ended before"
        time.sleep(0.005)
    os.kill(running.pid, number)
    return end(running)


def lines(folder):
    return [line for path in folder.glob(f"responses/*/*{ANSWERS}") for line in path.read_bytes().splitlines()]


def test_a_killed_job_begins_again_where_it_was_and_ends_in_the_same_bytes(kind, outside, tmp_path):
    killed, clean = tmp_path / "killed", tmp_path / "clean"
    assert interrupted(killed, outside, kind, signal.SIGKILL) == -signal.SIGKILL
    assert not (killed / "out.jsonl").exists()
    assert not list(killed.glob(f"responses/*/*{INDEX}"))
    assert HALF - CONNECTION["concurrency"] <= len(lines(killed)) < COUNT
    assert end(job(killed, outside, kind)) == 0
    asked = Counter(outside.stats()["texts"])
    assert set(asked) == set(rows(COUNT))
    assert asked.total() - COUNT <= CONNECTION["concurrency"]  # what was in flight
    assert max(asked.values()) <= 2
    assert end(job(clean, outside, kind)) == 0
    assert (killed / "out.jsonl").read_bytes() == (clean / "out.jsonl").read_bytes()
    assert outside.stats()["calls"] == asked.total() + COUNT


@LONG
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "ctrl_c"])
def test_a_job_that_is_told_to_stop_takes_what_is_in_flight_and_nothing_is_asked_twice(
    kind, number, outside, tmp_path, monkeypatch
):
    assert interrupted(tmp_path, outside, kind, number) == 130
    stats = outside.stats()
    assert HALF <= stats["calls"] < COUNT
    assert len(lines(tmp_path)) == stats["calls"] == stats["usage"]["calls"]
    assert len(list(tmp_path.glob(f"responses/*/*{INDEX}"))) == 1
    assert end(job(tmp_path, outside, kind)) == 0
    assert Counter(outside.stats()["texts"]) == Counter(rows(COUNT))
    monkeypatch.chdir(tmp_path)
    assert totals()["try"].outcomes == {"stop": COUNT}


@LONG
def test_a_job_that_is_killed_again_and_again_gets_through(outside, tmp_path):
    kills = 0
    for share in (0.2, 0.4, 0.6, 0.8):
        running = job(tmp_path, outside, "openai")
        while running.is_alive() and len(lines(tmp_path)) < share * COUNT:
            time.sleep(0.005)
        running.kill()
        kills += end(running) == -signal.SIGKILL
    assert end(job(tmp_path, outside, "openai")) == 0
    assert kills == 4
    assert outside.stats()["calls"] <= COUNT + kills * CONNECTION["concurrency"]
    stored = [json.loads(line)["key"] for line in lines(tmp_path) if line.endswith(b"}")]
    assert len(set(stored)) == len(stored) == COUNT
    found = [json.loads(line)["text"] for line in Path(tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [f"answer to {text}" for text in rows(COUNT)]
