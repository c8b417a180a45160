"""Weights behind a served model: new ones under the same name are asked anew, by jobs that check what is loaded."""

import os
from pathlib import Path
from typing import Any

import pytest
from desk import SAMPLING, block, ceilings, rows

from bezoar import serving
from bezoar.cache import CacheError, environment, folders
from bezoar.cache.hashing import Hasher
from bezoar.cluster.resources import Resources
from bezoar.cluster.servers import server_of
from bezoar.errors import Stopped
from bezoar.requests import server_locator
from bezoar.requests.base import Backend, ask
from bezoar.serving import Address

FOLDER = Path("data/checkpoints/student")


@pytest.fixture
def weights(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model directory in the folder of the desk."""
    monkeypatch.setattr(server_locator, "SECONDS_BETWEEN_LOOKS", 0.02)
    FOLDER.mkdir(parents=True)
    (FOLDER / "config.json").write_text("{}")
    (FOLDER / "model.safetensors").write_bytes(b"old weights")
    return FOLDER


def served(desk: Any, folder: Path | None = FOLDER, server: dict[str, Any] | None = None) -> Backend:
    """A new job's client of the student."""
    made = block(desk.kind, {"server": server}, checkpoint="student")
    made._name = "student"
    return made.open(checkpoint=folder, system="", seed=0, budget=ceilings())


def complete(backend: Backend, *texts: str) -> list[str]:
    return [one.text for one in backend.complete([ask(text, text, SAMPLING) for text in texts], "test")]


def md5(folder: Path) -> str:
    found = Hasher(None).content(str(folder))
    assert found
    return found.md5


def test_new_weights_under_the_same_name_are_asked_anew_and_old_ones_never_again(desk, weights):
    complete(served(desk), *rows(3))
    complete(served(desk), *rows(3))
    assert desk.server.hits() == 3
    (weights / "model.safetensors").write_bytes(b"new weights")  # of the same size
    complete(served(desk), *rows(3))
    assert desk.server.hits() == 6
    complete(served(desk), *rows(3))
    (weights / "model.safetensors").write_bytes(b"old weights")
    complete(served(desk), *rows(3))
    assert desk.server.hits() == 6


def test_equal_weights_elsewhere_are_not_asked_again(desk, weights):
    complete(served(desk), "row")
    moved = weights.rename("elsewhere")
    complete(served(desk, moved), "row")
    assert desk.server.hits() == 1


def test_a_model_from_elsewhere_shares_no_answer_with_a_checkpoint(desk, weights):
    desk.ask("row")
    complete(served(desk), "row")
    desk.ask("row")
    assert desk.server.hits() == 2


def test_a_served_checkpoint_needs_its_folder(desk, weights):
    with pytest.raises(ValueError, match="a backend that serves student needs its model directory"):
        served(desk, None)
    with pytest.raises(CacheError, match="nowhere: no model directory"):
        served(desk, Path("nowhere"))


def test_a_server_with_other_weights_is_sent_nothing(desk, weights, monkeypatch):
    for name in ("OPENAI_URL", "ANTHROPIC_URL"):
        monkeypatch.delenv(name)
    server = {"command": ["serve", "{checkpoint}", "{port}"], "health": "/stats", "start": 0.2, "idle": 60.0}
    at = desk.server.address

    def loaded(digest: str) -> None:
        serving.write_address("student", Address(at, "node", 1, "now", None, os.getpid(), "", digest))

    old = md5(weights)
    loaded(old)
    complete(served(desk, server=server), "first")
    (weights / "model.safetensors").write_bytes(b"new weights")
    new = md5(weights)
    for has in (old, ""):
        loaded(has)
        with pytest.raises(Stopped) as caught:
            complete(served(desk, server=server), "second")
        shown = has or "not of this recipe"
        assert f"the server at {at} has loaded other weights: {shown}; this job needs: {new}" in str(caught.value)
        assert "stop `bezoar serve student`, and start it again; answers so far are stored" in str(caught.value)
    assert desk.server.hits() == 1
    loaded(new)
    complete(served(desk, server=server), "second")
    assert desk.server.hits() == 2


# What a job is told


def test_a_job_takes_the_content_that_it_was_told_and_reads_nothing(desk, weights, monkeypatch):
    inputs = {FOLDER.as_posix(): md5(weights), "data/rows.jsonl": "0" * 32}
    told = folders.told(inputs)
    assert inputs[FOLDER.as_posix()] in told[folders.VARIABLE]
    assert "rows" not in told[folders.VARIABLE]
    complete(served(desk), "row")
    monkeypatch.setenv(folders.VARIABLE, told[folders.VARIABLE])
    monkeypatch.setattr(folders.Hasher, "content", lambda *_: pytest.fail("it was read"))
    complete(served(desk), "row")
    assert desk.server.hits() == 1


def test_a_job_without_folders_or_with_very_many_is_told_nothing():
    assert folders.told({"rows.jsonl": "0" * 32}) == {}
    assert folders.told({f"data/{number:0100}": f"{number:032}.dir" for number in range(1000)}) == {}


def test_what_a_job_is_told_is_in_its_environment(monkeypatch):
    told = folders.told({"a": f"{0:032}.dir"})
    assert environment.environment_of(told)[folders.VARIABLE] == '{"a": "' + "0" * 32 + '.dir"}'


def test_a_server_on_a_cluster_is_another_with_another_checkpoint():
    own = {"command": ["serve", "{checkpoint}", "{port}"]}
    blocks = [block("openai", {"server": own, "base_url_env": None}, checkpoint=name) for name in ("a", "b", "a")]
    found = [server.digest for one in blocks if (server := server_of(one, Resources()))]
    assert found[0] == found[2] != found[1]
