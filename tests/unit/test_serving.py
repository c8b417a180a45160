"""`bezoar serve`: a server is started, handed over, watched, and ended in order."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from desk import block

from bezoar import serving
from bezoar.cache.hashing import Hasher
from bezoar.cluster import servers as cluster
from bezoar.cluster.resources import Resources
from bezoar.files import write_json
from bezoar.recipe.load import load
from bezoar.requests.blocks import ManagedServer
from bezoar.serving import Address, command
from bezoar.serving.command import Changed, Ended, Serving, server_of
from bezoar.serving.neutral import neutral
from bezoar.steps.backends.verifier import VerifierBackend

ROOT = Path(__file__).parents[2]
BEZOAR = (sys.executable, "-c", "import sys; from bezoar.cli import main; sys.exit(main())")
# A server that answers with its words, its environment and its process id; with 200 only if a word is `well`.
PROGRAM = textwrap.dedent(
    """
    import json, os, signal, sys, time
    from http.server import BaseHTTPRequestHandler, HTTPServer

    def end(*_):
        print("ended in order", flush=True)
        sys.exit(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = json.dumps({"words": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}).encode()
            self.send_response(200 if "well" in sys.argv else 503)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    signal.signal(signal.SIGTERM, end)
    if "dies" in sys.argv:
        print("\\n".join(f"line {number}." for number in range(30)), file=sys.stderr)
        sys.exit(3)
    if "mute" in sys.argv:
        sys.exit(3)
    if "slow" in sys.argv:
        time.sleep(1)
    HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
    """
)


def server(*words: str, start: float = 20.0, idle: float = 60.0) -> dict[str, Any]:
    """A block of a server; its program gets the words."""
    return {"command": [*words, "{host}", "{port}"], "health": "/health", "start": start, "idle": idle}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the current folder one with a recipe whose teacher has a server, started by words."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command.HOST, "127.0.0.1")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nothing is: nodes are reached past it

    def make(*words: str, checkpoint: str | None = None, **more: Any) -> None:
        recipe = yaml.safe_load((ROOT / "recipes" / "openbezoar-3b.yaml").read_text())
        made = server(sys.executable, "program.py", **more)
        made["command"] += words
        recipe["backends"]["teacher"]["connection"]["server"] = made
        recipe["backends"]["teacher"]["checkpoint"] = checkpoint
        Path("params.yaml").write_text(yaml.safe_dump(recipe))

    return make


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `bezoar serve teacher`; whatever then runs on is ended."""
    started = []

    def one() -> "subprocess.Popen[str]":
        process = subprocess.Popen([*BEZOAR, "serve", "teacher"], stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield one
    for process in started:
        process.terminate()
        process.communicate()


def until(there: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What a function gives once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def address() -> Address:
    """Of the teacher's server, once it is handed over."""
    found = until(lambda: serving.read_address("teacher"))
    assert isinstance(found, Address)
    return found


def asked(at: Address) -> dict[str, Any]:
    """What the server at an address says."""
    with serving.direct.open(f"{at.url}/health", timeout=5) as response:
        found: dict[str, Any] = json.load(response)
        return found


def lives(pid: int) -> bool:
    """Whether a process is there, and no mere entry of a dead one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def elsewhere(port: int = 9) -> Address:
    """The address of another server."""
    return Address(f"http://127.0.0.1:{port}", "127.0.0.1", port, "2026-01-01T00:00:00+00:00", None, 1)


def hand_over(other: Address) -> None:
    """Write an address as the teacher's."""
    write_json(serving.address_path("teacher"), asdict(other))


# Start and end


def test_a_server_is_handed_over_once_it_answers_with_telemetry_off(workplace, start):
    workplace("well")
    process = start()
    at = address()
    said = asked(at)
    assert at.url == f"http://127.0.0.1:{at.port}"
    assert (at.host, at.job, at.pid) == ("127.0.0.1", "77", process.pid)
    assert said["words"] == ["127.0.0.1", str(at.port), "well"]
    assert [said["environment"][name] for name in command.QUIET] == ["1", "1", "1"]
    assert os.getpgid(said["pid"]) == said["pid"]  # a group of its own: Ctrl-C reaches it in order only
    log = serving.log_path("teacher").read_text()
    assert "GET /health" in log
    # what it takes requests by is in its environment and in a file for this user alone
    assert len(at.secret) > 40
    assert {said["environment"][name] for name in command.SECRETS} == {at.secret}
    assert stat.S_IMODE(serving.address_path("teacher").stat().st_mode) == 0o600
    assert at.secret not in log + str(said["words"]) + repr(at)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGHUP, 129)], ids=["term", "int", "hup"]
)
def test_a_signal_ends_the_server_in_order_and_takes_its_address_away(workplace, start, number, status):
    workplace("well")
    process = start()
    pid = asked(address())["pid"]
    process.send_signal(number)
    assert process.wait(20) == status
    assert not lives(pid)
    assert not serving.address_path("teacher").exists()
    assert serving.log_path("teacher").read_text().endswith("ended in order\n")


def test_a_server_that_ends_before_it_is_ready_is_reported_with_its_last_words(workplace, start):
    workplace("dies")
    _, said = (process := start()).communicate(timeout=20)
    assert process.returncode == 3
    # it says 30 lines, of which the last LAST_LINES are shown
    assert "line 29." in said
    assert f"line {30 - command.LAST_LINES}." in said
    assert f"line {29 - command.LAST_LINES}." not in said
    assert "found:    status 3" in said
    assert "line 0." in serving.log_path("teacher").read_text()
    assert not serving.address_path("teacher").exists()


def test_the_last_words_are_of_the_last_start(workplace, start):
    serving.LOGS.mkdir(parents=True)
    serving.log_path("teacher").write_text("words of before\n")
    workplace("mute")
    assert "its log ends with:\n    nothing\n" in start().communicate(timeout=20)[1]
    assert "words of before" in serving.log_path("teacher").read_text()


def test_a_server_that_is_not_ready_in_time_is_ended(workplace, start):
    workplace(start=1.0)  # it answers 503
    _, said = (process := start()).communicate(timeout=20)
    assert process.returncode == 1
    assert "no answer in 1 s" in said
    assert "connection.server.start" in said
    assert serving.log_path("teacher").read_text().endswith("ended in order\n")


def test_the_end_of_a_server_is_the_end_of_its_address(workplace, start):
    workplace("well")
    process = start()
    os.kill(asked(address())["pid"], signal.SIGKILL)
    assert process.wait(20) == 137  # 128 + 9
    assert not serving.address_path("teacher").exists()


def test_a_server_starts_again_at_another_place(workplace, start):
    """As after SLURM's requeue."""
    workplace("well")
    process = start()
    os.kill(asked(address())["pid"], signal.SIGKILL)
    process.wait(20)
    again = start()
    at = address()
    assert at.pid == again.pid
    assert asked(at)["words"][1] == str(at.port)


def test_what_does_not_heed_sigterm_is_killed_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "SECONDS_TO_END", 0.5)
    deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork(); "
    deaf += "child and open('pids', 'w').write(f'{os.getpid()} {child} '); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", deaf], cwd=tmp_path, start_new_session=True)
    pids = until(
        lambda: (
            (tmp_path / "pids").exists()
            and (tmp_path / "pids").read_text().endswith(" ")
            and (tmp_path / "pids").read_text().split()
        )
    )
    command._stop(process)
    assert process.returncode == -signal.SIGKILL
    until(lambda: not any(lives(int(pid)) for pid in pids), 5)


# The lease


def test_a_server_ends_once_no_client_has_needed_it_for_a_while(workplace, start):
    workplace("well", idle=1.5)
    process = start()
    address()
    for _ in range(15):  # 3 s, twice as long as it bears to be alone
        serving.touch_lease("teacher")
        time.sleep(0.2)
    assert process.poll() is None
    alone = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - alone > 1.0
    assert "no client for 1.5 s" in said
    assert not serving.address_path("teacher").exists()


class Late(Serving):
    """A client comes just after its address was taken away for the first time."""

    withdrawn = 0

    def _withdraw(self) -> None:
        super()._withdraw()
        assert not serving.address_path("teacher").exists()
        self.withdrawn += 1
        if self.withdrawn == 1:
            serving.touch_lease("teacher")
            self.came = time.monotonic()


def test_who_comes_at_the_last_moment_keeps_the_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command.HOST, "127.0.0.1")
    monkeypatch.setattr(command, "SECONDS_BETWEEN_LOOKS", 0.01)
    late = Late("teacher", ManagedServer(**server("serve", idle=0.5)))
    process: Any = SimpleNamespace(poll=lambda: None)
    with pytest.raises(Ended, match=r"no client for 0\.5 s"):
        late._watch(process, late._publish())
    assert late.withdrawn == 2
    assert time.monotonic() - late.came > 0.5


# More than one


def test_a_second_server_is_refused_and_the_first_goes_on(workplace, start):
    workplace("well")
    first = start()
    at = address()
    _, said = (second := start()).communicate(timeout=20)
    assert second.returncode == 1
    assert f"found:    {at.url}, since {at.started}, SLURM job 77" in said
    assert "starting" not in said
    assert first.poll() is None
    assert serving.read_address("teacher") == at


def test_of_two_servers_that_start_at_once_the_later_ends(workplace, start):
    workplace("well", "slow")
    at = elsewhere(command._free_port("127.0.0.1"))
    other = subprocess.Popen([sys.executable, "program.py", at.host, str(at.port), "well"])
    try:
        until(lambda: serving.answers(f"{at.url}/health"))
        process = start()
        until(serving.log_path("teacher").exists)
        hand_over(at)
        _, said = process.communicate(timeout=20)
    finally:
        other.kill()
        other.wait()
    assert process.returncode == 1
    assert f"found:    {at.url}, since {at.started}, process 1 of 127.0.0.1" in said
    assert "starting" in said
    assert serving.read_address("teacher") == at


def test_an_old_address_that_is_the_new_one_by_chance_is_no_second_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command.HOST, "127.0.0.1")
    monkeypatch.setattr(serving, "answers", lambda url: True)
    one = Serving("teacher", ManagedServer(**server("serve")))
    hand_over(elsewhere())
    with pytest.raises(Ended, match="a server of this backend is running already"):
        one._refuse_second()
    hand_over(replace(elsewhere(), url=one.url))
    one._refuse_second()


def test_the_address_of_a_dead_server_is_replaced(workplace, start):
    hand_over(elsewhere())
    workplace("well")
    process = start()
    until(lambda: address() != elsewhere())
    assert address().pid == process.pid


def test_a_server_whose_place_another_has_taken_ends(workplace, start):
    workplace("well")
    process = start()
    pid = asked(address())["pid"]
    hand_over(elsewhere())
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "the server at http://127.0.0.1:9 has taken its place" in said
    assert serving.read_address("teacher") == elsewhere()
    assert not lives(pid)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "cut"])
def test_an_address_that_was_lost_is_written_again(workplace, start, damage):
    workplace("well")
    start()
    at = address()
    damage(serving.address_path("teacher"))
    assert address() == at


# The checkpoint that it loads


def weights(text: str) -> Path:
    """The base model of the recipe, made anew."""
    folder = Path("data/base/open_llama_3b_v2")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(text)
    return folder


def test_a_server_loads_the_checkpoint_of_its_backend_and_starts_again_with_new_weights(workplace, start):
    folder = weights("old")
    workplace("well", "{checkpoint}", checkpoint=folder.name)
    process = start()
    old = address()
    said = asked(old)
    assert said["words"][2:] == ["well", str(folder)]
    found = Hasher(None).content(str(folder))
    assert found
    assert old.weights == found.md5
    weights("new")
    new = until(lambda: (now := serving.read_address("teacher")) and now.weights != old.weights and now)
    found = Hasher(None).content(str(folder))
    assert found
    assert new.weights == found.md5
    assert new.secret != old.secret
    assert not lives(said["pid"])
    assert asked(new)["words"][3] == str(folder)
    process.terminate()
    assert f"{folder} was made again; it starts again" in process.communicate(timeout=20)[1]
    assert process.returncode == 143


def test_a_server_gets_a_checkpoints_tokens_and_no_settings_of_its_own(workplace, start):
    folder, links = weights("old"), Path(".snakemake/servers/teacher.model")
    config = folder / "generation_config.json"
    config.write_text(json.dumps({"eos_token_id": [1, 2], "repetition_penalty": 1.1, "do_sample": True}))
    workplace("well", "{checkpoint}", checkpoint=folder.name)
    start()
    found = Hasher(None).content(str(folder))
    assert found
    assert address().weights == found.md5
    assert asked(address())["words"][3] == str(links)
    assert json.loads((links / config.name).read_text()) == {"eos_token_id": [1, 2]}
    assert (links / "model.safetensors").read_text() == "old"
    for neither in ({"eos_token_id": 2, "transformers_version": "5"}, [3]):
        config.write_text(json.dumps(neither))
        assert neutral(folder, links) == folder


def test_a_server_waits_for_its_checkpoint(workplace, start):
    workplace("well", "{checkpoint}", checkpoint="open_llama_3b_v2")
    process = start()
    assert process.stderr
    assert "waiting for data/base/open_llama_3b_v2" in process.stderr.readline()
    assert not serving.log_path("teacher").exists()  # it isn't started
    weights("new")
    assert address().pid == process.pid


def test_a_checkpoint_that_nobody_makes_is_reported(workplace, start):
    workplace("well", "{checkpoint}", checkpoint="open_llama_3b_v2", start=0.2)
    _, said = (process := start()).communicate(timeout=20)
    assert process.returncode == 1
    assert "the server's checkpoint isn't there\n  found:    no data/base/open_llama_3b_v2 in 0.2 s" in said
    assert "hint: make it by `snakemake --cores all data/base/open_llama_3b_v2`" in said


def test_a_signal_ends_the_wait_for_a_checkpoint(workplace, start):
    workplace("well", "{checkpoint}", checkpoint="open_llama_3b_v2")
    process = start()
    assert process.stderr
    process.stderr.readline()
    process.terminate()
    assert process.wait(20) == 143


def test_what_was_loaded_while_its_checkpoint_was_made_again_is_not_handed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command.HOST, "127.0.0.1")
    folder = weights("old")
    one = Serving("teacher", ManagedServer(**server("serve")), str(folder))
    one.weights = one._wait_for_weights()
    one._check_weights(0.0)
    weights("new")
    one._check_weights(60.0)  # it was looked at just now
    with pytest.raises(Changed, match="was made again"):
        one._check_weights(0.0)


# What can't be served


def test_only_a_backend_with_a_server_is_served(workplace):
    workplace("well")
    with pytest.raises(Ended, match=r"(?s)found:    filter\n  expected: teacher\n") as caught:
        server_of("filter", load().backends)
    assert caught.value.status == 1


def test_no_server_is_started_that_nobody_would_ask(workplace, monkeypatch):
    workplace("well")
    assert server_of("teacher", load().backends).idle == 60
    monkeypatch.setenv("TEACHER_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(Ended, match=r"hint: unset TEACHER_BASE_URL"):
        server_of("teacher", load().backends)


def test_a_command_that_is_not_there_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(command.HOST, "127.0.0.1")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(Ended, match=r"found:    no-such-vllm: No such file.*(?s:.*)/bin/vllm"):
        Serving("teacher", ManagedServer(**server("no-such-vllm"))).run()


def test_a_name_that_leads_nowhere_is_reported(monkeypatch):
    monkeypatch.setenv(command.HOST, "no-such-host.invalid")
    with pytest.raises(Ended, match=r"(?s)found:    no-such-host\.invalid: .*BEZOAR_SERVER_HOST="):
        Serving("teacher", ManagedServer(**server("serve")))


@pytest.mark.parametrize(("host", "remark"), [("127.0.1.1", True), ("192.0.2.1", False)])
def test_a_server_that_no_other_machine_can_reach_is_reported(host, remark):
    assert bool(command._reach(host)) == remark


# What others ask


def test_a_server_is_needed_where_there_is_one_and_no_variable_names_another(monkeypatch):
    own = {"server": server("serve")}
    backends = {
        "own": block("openai", own),
        "makers": block("openai", {}),
        "always": block("anthropic", own | {"base_url_env": None}),
        "judge": VerifierBackend(kind="verifier"),
    }

    def needed() -> list[str]:
        return [name for name, backend in backends.items() if cluster.server_of(backend, Resources())]

    monkeypatch.setenv("OPENAI_URL", "")
    assert needed() == ["own", "always"]
    monkeypatch.setenv("OPENAI_URL", "http://127.0.0.1:9/v1")
    assert needed() == ["always"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://a"}'])
def test_what_is_no_address_is_none(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    assert serving.read_address("teacher") is None
    hand_over(elsewhere())
    assert serving.read_address("teacher") == elsewhere() != replace(elsewhere(), pid=2)
    serving.address_path("teacher").write_text(text)
    assert serving.read_address("teacher") is None
