"""A server's address is published only if the server itself listens on the port."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bezoar.requests.blocks import ManagedServer
from bezoar.serving import command, listeners
from bezoar.serving.command import Ended, Serving

LISTEN = "import socket, sys, time; one = socket.create_server((sys.argv[1], int(sys.argv[2]))); time.sleep(60)"
NOBODY = 2**22 + 1  # a process id that Linux never gives
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTEN!r}, *sys.argv[1:]])"


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """A server that isn't started yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(command.HOST, raising=False)
    return Serving("teacher", ManagedServer(command=["serve", "{port}"], health="/health", start=1.0, idle=60.0))


@pytest.fixture
def start(serving: Serving) -> Iterator[Any]:
    """Starts programs with the address to listen at."""
    started = []

    def one(program: str) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-c", program, serving.host, str(serving.port)]
        started.append(subprocess.Popen(words, start_new_session=True))
        return started[-1]

    yield one
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def listens(serving: Serving, process: "subprocess.Popen[bytes]") -> bool:
    """Whether it does, in a while."""
    for _ in range(500):
        if serving._listens(process):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("program", [LISTEN, CHILD], ids=["itself", "a process that it started"])
def test_a_server_that_listens_on_its_port_is_known_by_its_socket(serving, start, program):
    assert listens(serving, start(program))


def test_nobody_is_asked_on_a_port_that_another_program_took_first(serving, start):
    with socket.create_server((serving.host, serving.port)) as squatter:
        squatter.settimeout(0)
        process = start("import time; time.sleep(60)")
        with pytest.raises(Ended, match=f"another program listens on port {serving.port}\n.*user {os.getuid()},"):
            serving._wait_until_ready(process)
        with pytest.raises(BlockingIOError):
            squatter.accept()  # nothing was sent there, not even a question


def test_a_program_that_takes_the_port_of_a_server_later_is_found(serving, start):
    process = start(LISTEN)
    assert listens(serving, process)
    process.kill()
    process.wait()
    with socket.create_server((serving.host, serving.port)), pytest.raises(Ended, match="another program listens"):
        serving._listens(process)


def test_a_port_that_nobody_listens_on_has_no_listeners(serving):
    assert listeners.listeners(serving.port) == {}
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as two:
        for socket_ in (one, two):
            (number,) = listeners.listeners(socket_.getsockname()[1])
            assert number in listeners.sockets([os.getpid()])


def test_a_machine_that_does_not_tell_serves_nobody(serving, monkeypatch):
    monkeypatch.setattr(listeners, "TABLES", (Path("nowhere"),))
    with pytest.raises(Ended, match="expected: Linux"):
        serving.run()


def test_a_server_is_for_this_machine_only_by_default(serving, monkeypatch):
    assert serving.url == f"http://127.0.0.1:{serving.port}"
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    monkeypatch.setenv(command.HOST, command.OWN_NAME)
    assert Serving("teacher", serving.server).host == "localhost"
    monkeypatch.setenv(command.HOST, "127.0.0.2")
    assert Serving("teacher", serving.server).host == "127.0.0.2"


def test_each_server_has_a_secret_of_its_own_in_its_environment_alone(serving, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "mine")
    other = Serving("teacher", serving.server)
    assert serving.secret != other.secret
    assert [serving._environment()[name] for name in command.SECRETS] == [serving.secret] * 3
    assert serving.secret not in os.environ.values()


@pytest.mark.parametrize("words", [["--api-key", "mine"], ["--api-key=mine"]])
def test_a_command_that_says_its_key_keeps_it(serving, monkeypatch, words):
    monkeypatch.setenv("VLLM_API_KEY", "mine")
    told = ManagedServer(command=["serve", "{port}", *words], health="/", start=1.0, idle=1.0)
    assert Serving("teacher", told).secret == ""
    assert Serving("teacher", told)._environment()["VLLM_API_KEY"] == "mine"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_of_this_machine_is_owned_by_whoever_listens_there(host):
    with socket.create_server(("127.0.0.1", 0)) as one:
        url = f"http://{host}:{one.getsockname()[1]}"
        assert listeners.owned(url, os.getpid())
        assert not listeners.owned(url, NOBODY)
    assert not listeners.owned(url, os.getpid())  # closed


@pytest.mark.parametrize(
    ("url", "owned"), [("http://192.0.2.1:80", True), ("http://[::", False), ("http://x:y", False)]
)
def test_who_listens_on_another_machine_cannot_be_seen(url, owned):
    assert listeners.owned(url, NOBODY) is owned
