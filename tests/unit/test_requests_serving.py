"""Jobs with a self-hosted server: they find it, follow it where it goes, and keep it alive."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults
import pytest
from desk import KEY, SAMPLING, block, ceilings, rows
from faults import delay, status

from bezoar import serving
from bezoar.errors import Stopped
from bezoar.requests import dry_run, persistence, server_locator
from bezoar.requests.base import Backend, Completion, ask
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.sender import SHORTEST
from bezoar.serving import Address

COUNT, IN_FLIGHT = 200, 16
LATENCY = 2 * SHORTEST  # a try that has no time left but this minimum comes to nothing
SERVER: dict[str, Any] = {"command": ["serve", "{port}"], "health": "/stats", "start": 10.0, "idle": 60.0}


class Outside:
    """A server in its own process, at its own port."""

    def __init__(self) -> None:
        command = [sys.executable, faults.__file__, "--latency", str(LATENCY)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def texts(self) -> Counter[str]:
        """What it was asked, so far."""
        with urllib.request.urlopen(f"{self.address}/stats") as response:
            return Counter(json.load(response)["texts"])

    def kill(self) -> None:
        """End it as a node's failure would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def outside() -> Iterator[Callable[[], Outside]]:
    """Starts servers."""
    started: list[Outside] = []

    def start() -> Outside:
        started.append(Outside())
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture(autouse=True)
def quick(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable with an address, and looks without long waits in between."""
    for name in ("OPENAI_URL", "ANTHROPIC_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(server_locator, "SECONDS_BETWEEN_LOOKS", 0.02)


def hand_over(url: str, secret: str = "") -> None:
    """Write an address as `bezoar serve teacher` does."""
    serving.write_address("teacher", Address(url, "node", 1, "now", None, os.getpid(), secret))


def client(desk: Any, connection: dict[str, Any] | None = None, **server: Any) -> Backend:
    """A client of the teacher, with its own server."""
    made = block(desk.kind, {"server": SERVER | server, **(connection or {})})
    made._name = "teacher"
    return made.open(checkpoint=None, system="", seed=0, budget=ceilings())


def complete(backend: Backend, *texts: str) -> list[str]:
    """What it answers."""
    found: list[Completion] = backend.complete([ask(text, text, SAMPLING) for text in texts], "test")
    return [one.text for one in found]


def answers_to(texts: list[str]) -> list[str]:
    return [f"answer to {text}" for text in texts]


def leased() -> int:
    """When the teacher's server was needed last, in nanoseconds."""
    return serving.lease_path("teacher").stat().st_mtime_ns


# Finding it


def test_a_job_waits_for_its_server_and_says_that_it_needs_it(desk, caplog):
    caplog.set_level("INFO")

    def begin() -> None:
        while not serving.lease_path("teacher").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        hand_over(desk.server.address)

    beginning = threading.Thread(target=begin)
    beginning.start()
    assert complete(client(desk), *rows(3)) == answers_to(rows(3))
    beginning.join()
    assert "waiting for the server of teacher, 0 of 10 s: no .snakemake/servers/teacher.json" in caplog.text
    assert f"requests to teacher go to {desk.server.address}" in caplog.text


@pytest.mark.parametrize("dead", [False, True], ids=["none", "dead"])
def test_a_server_that_nobody_starts_is_an_error_that_says_how(desk, dead):
    if dead:
        hand_over("http://127.0.0.1:9")
    with pytest.raises(Stopped) as caught:
        complete(client(desk, start=0.3), *rows(3))
    path = ".snakemake/servers/teacher.json"
    gone = f"the process {os.getpid()} is gone or doesn't listen at http://127.0.0.1:9, as {path} says"
    found = gone if dead else f"no {path}"
    assert str(caught.value) == (
        f"no server of teacher\n  found:    {found}, after 0.3 s\n  expected: a server that answers\n"
        "hint: start it by `bezoar serve teacher` in another terminal, or run with `--profile profiles/slurm`, "
        "which submits it; answers so far are stored"
    )
    assert not desk.stored()


def test_whoever_listens_at_the_address_of_a_server_that_was_killed_is_sent_nothing(desk):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    address = Address(desk.server.address, "127.0.0.1", 1, "now", None, gone.pid, "a-secret")
    serving.write_address("teacher", address)
    with pytest.raises(Stopped, match=f"the process {gone.pid} is gone or doesn't listen at {address.url}"):
        complete(client(desk, start=0.1), *rows(3))
    assert desk.server.requests == 0


def test_who_waits_can_be_interrupted(desk):
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(Stopped) as caught:
        complete(client(desk), "row")
    assert caught.value.status == persistence.INTERRUPTED
    assert time.monotonic() - started < SERVER["start"] / 2


def test_what_is_stored_needs_no_server(desk):
    hand_over(desk.server.address)
    first = complete(client(desk), *rows(3))
    serving.address_path("teacher").unlink()
    serving.lease_path("teacher").unlink()
    assert complete(client(desk), *rows(3)) == first
    assert not serving.lease_path("teacher").exists()


def test_an_estimate_needs_no_server(desk, monkeypatch):
    monkeypatch.setenv(dry_run.VARIABLE, "counts")
    with pytest.raises(dry_run.Counted):
        complete(client(desk), *rows(3))
    assert Path("counts").read_text() == '{"stored": 0, "missing": 3}\n'
    assert not serving.lease_path("teacher").exists()


def test_it_is_looked_for_once_as_long_as_it_answers(desk, monkeypatch):
    looks = []
    monkeypatch.setattr(serving, "answers", lambda url: not looks.append(url))
    hand_over(desk.server.address)
    backend = client(desk)
    complete(backend, *rows(3))
    complete(backend, *rows(3, first=3))
    assert looks == [f"{desk.server.address}/stats"]


def test_the_variable_with_an_address_comes_first(desk, monkeypatch):
    at = desk.server.address
    monkeypatch.setenv(f"{desk.kind.upper()}_URL", f"{at}/v1" if desk.kind == "openai" else at)
    hand_over("http://127.0.0.1:9")
    assert complete(client(desk), "row") == ["answer to row"]
    assert not serving.lease_path("teacher").exists()


def test_it_is_reached_past_a_proxy(desk, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    hand_over(desk.server.address)
    assert complete(client(desk), "row") == ["answer to row"]


def test_it_is_needed_as_long_as_a_request_is_in_flight(desk, monkeypatch):
    monkeypatch.setattr(server_locator, "SECONDS_BETWEEN_TOUCHES", 0.05)
    desk.server.always(delay(1.0))
    hand_over(desk.server.address)
    before = time.time_ns()
    complete(client(desk), "row")
    assert leased() - before > 0.8e9
    after = leased()
    time.sleep(0.2)
    assert leased() == after  # nobody needs it any more


def known_by(desk: Any) -> list[str]:
    """What each call was allowed by."""
    calls = [call.headers for call in desk.server.calls]
    return [one.get("x-api-key") or one["authorization"].removeprefix("Bearer ") for one in calls]


def test_a_self_hosted_server_is_sent_its_own_secret_and_no_key(desk):
    hand_over(desk.server.address, "secret-1")
    backend = client(desk)
    complete(backend, "row")
    assert known_by(desk) == ["secret-1"]
    hand_over(desk.server.address, "secret-2")  # another server at the same place
    desk.server.script("next", faults.RESET)
    complete(backend, "next")
    assert known_by(desk) == ["secret-1", "secret-1", "secret-2"]
    hand_over(desk.server.address)  # one that says itself what it takes
    complete(client(desk), "last")
    assert known_by(desk)[-1] == KEY


def test_no_error_has_the_secret_that_a_server_repeats(desk):
    hand_over(desk.server.address, "secret-1")
    desk.server.script("row", after=status(400, text="secret-1 isn't right"))
    (found,) = client(desk).complete([ask("row", "row", SAMPLING)], "test")
    assert found.error == "HTTP 400: [key] isn't right"


# Following it


def test_a_server_that_moves_loses_no_row_and_none_is_paid_twice(desk, outside, caplog):
    """It dies half-way, and is back after longer than all tries of a request may take."""
    first, deadline, away = outside(), 1.0, 2.0
    hand_over(first.address)

    def move() -> None:
        while first.texts().total() < COUNT / 2:
            time.sleep(0.01)
        first.kill()
        time.sleep(away)
        hand_over(outside().address)

    moving = threading.Thread(target=move)
    moving.start()
    try:
        found = complete(client(desk, {"concurrency": IN_FLIGHT, "deadline": deadline}), *rows(COUNT))
    finally:
        moving.join()
    assert found == answers_to(rows(COUNT))
    outcomes = desk.outcomes()
    assert outcomes["stop"] == COUNT
    assert set(outcomes) == {"stop", "transient"}  # what was in flight
    assert outcomes["transient"] <= 2 * IN_FLIGHT  # once each, and once more for who knew of it too late
    keys = [line["key"] for line in desk.ledger() if line["outcome"] == "stop"]
    assert len(set(keys)) == len(keys)
    assert "Unclosed" not in caplog.text


def test_deadlines_stand_still_while_there_is_no_server(desk):
    hand_over(desk.server.address)
    desk.server.script("row", delay(0.3, faults.RESET), faults.RESET)
    deadline = 1.0

    def be_away() -> None:
        while not desk.server.hits():
            time.sleep(0.01)
        serving.address_path("teacher").unlink()
        time.sleep(1.5 * deadline)
        hand_over(desk.server.address)

    being = threading.Thread(target=be_away)
    being.start()
    assert complete(client(desk, {"deadline": deadline}), "row") == ["answer to row"]
    being.join()
    assert desk.server.hits() == 3


def test_a_server_that_is_back_at_its_place_is_asked_on(desk):
    hand_over(desk.server.address)
    desk.server.script("row 0001", faults.RESET, status(503))
    assert complete(client(desk), *rows(3)) == answers_to(rows(3))
    assert desk.outcomes() == {"transient": 2, "stop": 3}


def test_answers_that_come_from_where_it_was_are_taken(desk):
    """The next request finds it elsewhere, while one is still in flight here."""
    desk.server.script("slow", delay(1.0))
    desk.server.script("broken", faults.RESET)
    hand_over(desk.server.address)
    with faults.Faults() as other:

        def move() -> None:
            while desk.server.hits() < 2:
                time.sleep(0.01)
            hand_over(other.address)

        moving = threading.Thread(target=move)
        desk.server.script("broken", delay(0.3, faults.RESET))
        moving.start()
        assert complete(client(desk), "slow", "broken") == ["answer to slow", "answer to broken"]
        moving.join()
        assert (desk.server.hits("slow"), desk.server.hits("broken")) == (1, 1)
        assert (other.hits("slow"), other.hits("broken")) == (0, 1)


def test_a_request_that_a_sound_server_never_answers_fails_and_the_others_are_answered(desk):
    hand_over(desk.server.address)
    desk.server.script("row 0001", after=status(500))
    assert complete(client(desk), *rows(3)) == ["answer to row 0000", "", "answer to row 0002"]
    assert desk.server.hits("row 0001") == MOST_TRANSIENT


def test_rounds_of_calls_follow_it_as_well(desk):
    backend = client(desk)
    hand_over(desk.server.address)
    assert complete(backend, *rows(2)) == answers_to(rows(2))
    with faults.Faults() as other:
        desk.server.always(faults.RESET)
        hand_over(other.address)
        assert complete(backend, *rows(2, first=2)) == answers_to(rows(2, first=2))
        assert other.hits() == 2
