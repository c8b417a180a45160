"""A public cache: strangers clone, read a plain web server, and take what a trusted key has signed."""

import functools
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from graph import LONG_BY_DVC, Graph
from test_forged import forge

DPO = ["data/adapters/dpo", "results/score.json"]


class Mirror(SimpleHTTPRequestHandler):
    """Files of a folder, to read only, as `python -m http.server` serves them."""

    def log_message(self, *about: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server with the files of the remote's folder."""
    handler = functools.partial(Mirror, directory=str(tmp_path / "remote"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def new_key(graph: Graph, path: Path) -> str:
    """Make a key, and let builds sign with it; its line of trusted.keys."""
    graph.environment["BEZOAR_SIGNING_KEY"] = str(path)
    return graph.run("bezoar", "key", "new", path.stem).splitlines()[-1]


def signers(graph: Graph) -> dict[str, str]:
    """By stage of traces.lock: the key that signed its record; empty without one."""
    stages = json.loads((graph.root / "traces.lock").read_text())["stages"]
    return {name: entry.get("signature", {}).get("key", "") for name, entry in stages.items()}


def publish(graph: Graph) -> None:
    """Build what is missing, push and commit."""
    graph.build()
    graph.run("dvc", "push", "--quiet")
    graph.commit()
    graph.ran()


@pytest.fixture
def ci(built: Graph, tmp_path: Path, web: str) -> Graph:
    """The small graph where it is built: signed, pushed, and committed with the web server as a second remote."""
    line = new_key(built, tmp_path / "ci.pem")
    (built.root / "trusted.keys").write_text(f"require_signed imported\n{line}\n")
    built.run("dvc", "remote", "add", "--quiet", "mirror", web)
    publish(built)
    return built


def stranger(ci: Graph, tmp_path: Path) -> Graph:
    """A clone by somebody else, who reads the web server and has no key."""
    clone = ci.clone(tmp_path / "stranger")
    clone.run("dvc", "remote", "default", "--quiet", "--local", "mirror")
    clone.environment = {name: value for name, value in clone.environment.items() if name != "BEZOAR_SIGNING_KEY"}
    return clone


def test_a_stranger_takes_what_a_trusted_key_has_signed(ci: Graph, tmp_path: Path) -> None:
    clone = stranger(ci, tmp_path)
    clone.build()
    assert clone.ran() == []
    assert clone.contents()["results/score.json"] == ci.contents()["results/score.json"]
    clone.repro()
    assert clone.ran() == []
    assert clone.contents() == ci.contents()
    assert clone.run("git", "status", "--porcelain") == ""


def test_a_stranger_builds_what_is_not_signed_and_is_told(ci: Graph, tmp_path: Path) -> None:
    key = ci.environment.pop("BEZOAR_SIGNING_KEY")
    ci.set("stages.dpo.rate", 0.9)
    publish(ci)
    clone = stranger(ci, tmp_path)
    said = clone.run("bezoar", "plan")
    assert "train-dpo" in said
    assert "not signed" in said
    stages = {one["stage"]: one for one in json.loads(clone.run("bezoar", "plan", "--json"))["stages"]}
    assert stages["train-dpo"]["reasons"][0]["text"] == "its record doesn't count: not signed"
    assert [one["kind"] for one in stages["score-score"]["reasons"]] == ["untrusted", "upstream"]
    assert "signed by ci" in clone.run("bezoar", "why", "data/adapters/sft")
    assert "not signed" in clone.build()
    assert clone.ran() == DPO
    ci.environment["BEZOAR_SIGNING_KEY"] = key
    publish(ci)  # the jobs ran there: now it says so
    shutil.rmtree(clone.root)
    clone = stranger(ci, tmp_path)
    assert "not signed" not in clone.build()
    assert clone.ran() == []


def test_a_stranger_builds_what_an_unknown_key_has_signed(ci: Graph, tmp_path: Path) -> None:
    line = new_key(ci, tmp_path / "eve.pem")
    ci.set("stages.dpo.rate", 0.9)
    publish(ci)
    clone = stranger(ci, tmp_path)
    said = clone.build()
    assert "a key that isn't in trusted.keys" in said
    assert clone.ran() == DPO
    with (ci.root / "trusted.keys").open("a") as file:  # reviewed and merged
        file.write(f"{line}\n")
    ci.commit()
    shutil.rmtree(clone.root)
    clone = stranger(ci, tmp_path)
    clone.build()
    assert clone.ran() == []


@pytest.mark.parametrize("require", ["never", "imported"])
def test_a_stranger_builds_what_was_changed_after_it_was_signed(ci: Graph, tmp_path: Path, require: str) -> None:
    keys = ci.root / "trusted.keys"
    keys.write_text(keys.read_text().replace("imported", require))
    forge(ci, "train-dpo", "train-sft")  # dvc.lock says that dpo came out as sft
    ci.commit()
    clone = stranger(ci, tmp_path)
    assert "changed after ci signed it" in clone.build()
    assert "data/adapters/dpo" in clone.ran()
    dpo = {path: data for path, data in ci.contents().items() if path.startswith("data/adapters/dpo/")}
    assert {path: clone.contents()[path] for path in dpo} == dpo


@LONG_BY_DVC
def test_a_stranger_is_told_what_came_out_otherwise(ci: Graph, tmp_path: Path, front_end: str) -> None:
    forge(ci, "train-dpo", "train-sft")
    traces = ci.root / "traces.lock"
    records = json.loads(traces.read_text())
    del records["stages"]["train-dpo"]["signature"]
    traces.write_text(json.dumps(records))
    ci.commit()
    clone = stranger(ci, tmp_path)
    said = clone.by(front_end)
    assert "train-dpo: the record in dvc.lock doesn't count: not signed" in said
    assert "data/adapters/dpo is on record with two different contents" in said
    assert "the one made here counts; dvc.lock's is not signed" in said
    assert clone.ran() == ["data/adapters/dpo"]
    assert "is on record with" not in clone.by(front_end)
    assert clone.ran() == []


def test_a_stranger_builds_what_the_server_damaged(ci: Graph, tmp_path: Path) -> None:
    md5 = hashlib.md5((ci.root / "results/score.json").read_bytes()).hexdigest()
    path = tmp_path / "remote/files/md5" / md5[:2] / md5[2:]
    path.chmod(0o644)
    path.write_bytes(b"other bytes")
    clone = stranger(ci, tmp_path)
    assert f"the remote's object {md5} is damaged and isn't used" in clone.build()
    assert clone.ran() == ["results/score.json"]


def test_without_a_policy_a_stranger_takes_what_nobody_signed(ci: Graph, tmp_path: Path) -> None:
    del ci.environment["BEZOAR_SIGNING_KEY"]
    (ci.root / "trusted.keys").unlink()
    ci.set("stages.dpo.rate", 0.9)
    publish(ci)
    clone = stranger(ci, tmp_path)
    clone.build()
    assert clone.ran() == []
    clone.environment["BEZOAR_REQUIRE_SIGNED"] = "imported"  # a stranger may ask for more
    assert "not signed" in clone.run("bezoar", "plan")


def test_what_was_taken_from_others_is_not_signed(ci: Graph, tmp_path: Path) -> None:
    before = signers(ci)
    assert len(set(before.values())) == 1
    del ci.environment["BEZOAR_SIGNING_KEY"]
    ci.set("stages.sft.rate", 0.9)
    publish(ci)
    clone = stranger(ci, tmp_path)
    (clone.root / "trusted.keys").write_text(f"{new_key(clone, tmp_path / 'ben.pem')}\n")
    clone.set("stages.dpo.rate", 0.7)
    clone.build()
    assert clone.ran() == DPO
    after = signers(clone)
    own = {after.pop("train-dpo"), after.pop("score-score")}
    assert len(own) == 1
    assert own.isdisjoint({"", *before.values()})
    assert after.pop("train-sft") == ""  # it came from the other without a signature, and stays so
    assert after == {name: before[name] for name in after}
