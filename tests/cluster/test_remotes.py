"""Guarantees for every kind of DVC remote, on real servers, also if they disconnect, fill up or send wrong data."""

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from graph import Graph
from remotes import LARGE, SERVED, WRITTEN, Lab, Remote, broken_off, remote_of, unsound, wait_until

from bezoar.cache.hashing import md5_of

pytestmark = pytest.mark.cluster
SCORE = "results/score.json"
HEAVY = "data/adapters/sft"
each = pytest.mark.parametrize("remote", WRITTEN, indirect=True)
each_server = pytest.mark.parametrize("remote", SERVED, indirect=True)
# rclone, as it serves WebDAV, leaves parts of what it couldn't write whole under the final name
each_whole = pytest.mark.parametrize("remote", [kind for kind in WRITTEN if kind != "rclone"], indirect=True)
each_server_whole = pytest.mark.parametrize("remote", [kind for kind in SERVED if kind != "rclone"], indirect=True)


def stated(said: str, what: str) -> None:
    """Check that an error says what, what was found, what was expected, and the way out, and shows no insides."""
    assert "Traceback" not in said, said[-4000:]
    lines = [line.strip() for line in said.splitlines()]
    start = next((n for n, line in enumerate(lines) if what in line), None)
    assert start is not None, f"{what!r} in\n{said[-4000:]}"
    assert [line.partition(":")[0] for line in lines[start + 1 : start + 4]] == ["found", "expected", "hint"], said


def cached(graph: Graph) -> list[Path]:
    """Files of the object store."""
    return [path for path in (graph.root / ".dvc/cache/files").rglob("*") if path.is_file()]


def size(path: Path) -> int:
    """Bytes of a file that may be renamed at any time; 0 if it is gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def md5_in_lock(graph: Graph, path: str) -> str:
    """What dvc.lock says that an output contains."""
    stages = yaml.safe_load((graph.root / "dvc.lock").read_text())["stages"].values()
    return next(out["md5"] for stage in stages for out in stage["outs"] if out["path"] == path)


def artifact(graph: Graph, name: str) -> dict[str, str]:
    """The MD5 of an artifact's files by path."""
    root = graph.root / name
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
    kept = [path for path in files if path.name != ".snakemake_timestamp"]
    return {str(path.relative_to(graph.root)): md5_of(str(path)) for path in kept}


def shared(graph: Graph, remote: Remote) -> Graph:
    """The graph, pushed to the remote and committed."""
    remote.add(graph)
    graph.run("dvc", "push")
    return graph


# --- push here, clone there ------------------------------------------------------------------------------------------


@each
def test_a_clone_fetches_the_target_and_computes_nothing(built: Graph, remote: Remote, tmp_path: Path) -> None:
    shared(built, remote)
    clone = remote.clone(built, tmp_path / "clone")
    assert "Nothing to be done" in clone.build(SCORE)
    assert clone.ran() == []
    assert clone.contents() == {SCORE: built.contents()[SCORE]}
    assert [path.stat().st_size for path in cached(clone) if path.suffix != ".dir"] == [len(built.contents()[SCORE])]
    assert "Nothing to be done" in clone.build()


@each
def test_dvc_pull_brings_all_and_leaves_nothing_to_do(built: Graph, remote: Remote, tmp_path: Path) -> None:
    shared(built, remote)
    clone = remote.clone(built, tmp_path / "clone")
    clone.run("dvc", "pull")
    assert clone.contents() == built.contents()
    assert "Nothing to be done" in clone.build()
    assert "up to date" in clone.repro()
    assert clone.ran() == []


@each
def test_no_commit_holds_a_credential(built: Graph, remote: Remote) -> None:
    shared(built, remote)
    history = built.run("git", "log", "--patch", "--all")
    assert remote.url in history
    assert not [secret for secret in remote.secrets if secret in history and secret != "labaccess"]


def test_whoever_may_only_read_takes_an_http_mirror(built: Graph, servers: Lab, tmp_path: Path) -> None:
    remote = remote_of(servers, "webdav", tmp_path.name)
    servers.up("http")
    built.run(
        "dvc", "remote", "add", "--quiet", "mirror", f"http://127.0.0.1:{servers.port_of('http')}/{tmp_path.name}"
    )
    shared(built, remote)
    clone = built.clone(tmp_path / "clone")
    clone.run("dvc", "remote", "default", "--quiet", "--local", "mirror")
    assert "Nothing to be done" in clone.build(SCORE)
    assert clone.contents() == {SCORE: built.contents()[SCORE]}
    clone.run("dvc", "pull")
    assert clone.contents() == built.contents()

    clone.set("stages.dpo.rate", 0.3)
    clone.build()
    said = clone.refused("dvc", "push")
    assert "403, message='Forbidden'" in said
    assert "files failed to upload" in said
    assert "Traceback" not in said


# --- a server that breaks off ----------------------------------------------------------------------------------------


@each_server_whole
def test_a_push_goes_on_after_the_server_was_killed(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    remote.add(heavy)
    said = broken_off(remote, heavy, "dvc", "push")
    assert "failed to" in said or "ERROR" in said
    assert remote.unsound() == []
    heavy.run("dvc", "push")
    assert remote.unsound() == []
    clone = remote.clone(heavy, tmp_path / "clone")
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)


@pytest.mark.parametrize("remote", ["rclone"], indirect=True)
def test_what_a_broken_push_left_of_an_object_is_never_delivered(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    remote.add(heavy)
    broken_off(remote, heavy, "dvc", "push")
    assert len(remote.unsound()) == 1
    heavy.run("dvc", "push")
    assert len(remote.unsound()) == 1  # DVC believes a name
    clone = remote.clone(heavy, tmp_path / "clone")
    stated(clone.build(HEAVY), "is damaged and isn't used")
    assert HEAVY in clone.ran()
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)


@each_server
def test_a_fetch_goes_on_after_the_server_was_killed(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    clone = remote.clone(shared(heavy, remote), tmp_path / "clone")
    said = broken_off(remote, clone, "snakemake", HEAVY)
    stated(said, "the DVC remote can't be read")
    assert clone.ran() == []
    assert not (clone.root / HEAVY).exists()
    assert [path for path in cached(clone) if path.stat().st_size > LARGE / 2 or "partial" in path.name] == []
    assert unsound(clone.root / ".dvc/cache/files/md5") == []
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)


@each_server
def test_what_a_broken_dvc_pull_leaves_is_never_delivered(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    clone = remote.clone(shared(heavy, remote), tmp_path / "clone")
    broken_off(remote, clone, "dvc", "pull", HEAVY)
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)
    assert unsound(clone.root / ".dvc/cache/files/md5") == []


def test_a_fetch_over_http_goes_on_after_the_server_was_killed(heavy: Graph, servers: Lab, tmp_path: Path) -> None:
    shared(heavy, remote_of(servers, "webdav", tmp_path.name))
    servers.up("http")
    mirror = Remote("http", servers, f"http://127.0.0.1:{servers.port_of('http')}/{tmp_path.name}")
    clone = heavy.clone(tmp_path / "clone")
    mirror.add(clone)
    stated(broken_off(mirror, clone, "snakemake", HEAVY), "the DVC remote can't be read")
    assert unsound(clone.root / ".dvc/cache/files/md5") == []
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)


@pytest.mark.parametrize("remote", ["ssh"], indirect=True)
def test_a_fetch_that_is_killed_itself_leaves_nothing_that_counts(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    clone = remote.clone(shared(heavy, remote), tmp_path / "clone")
    process = clone.start("snakemake", HEAVY, log=tmp_path / "log")
    wait_until(lambda: any("partial" in path.name and size(path) > 10**6 for path in cached(clone)))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert unsound(clone.root / ".dvc/cache/files/md5") == []
    assert not (clone.root / HEAVY).exists()
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)


@pytest.mark.parametrize("kind", [*SERVED, "http"])
def test_a_server_that_is_away_is_said_and_nothing_is_computed(
    built: Graph, servers: Lab, kind: str, tmp_path: Path
) -> None:
    remote = remote_of(servers, "webdav" if kind == "http" else kind, tmp_path.name)
    shared(built, remote)
    clone = remote.clone(built, tmp_path / "clone")
    if kind == "http":
        servers.up("http")
        remote = Remote("http", servers, f"http://127.0.0.1:{servers.port_of('http')}/{tmp_path.name}")
        remote.add(clone)
    servers.kill(kind)
    try:
        said = clone.refused("snakemake", SCORE)
    finally:
        servers.up(kind)
    stated(said, "the DVC remote can't be read")
    assert f"a server that answers at {remote.url}" in said
    assert clone.ran() == []
    assert "Nothing to be done" in clone.build(SCORE)


# --- damaged objects -------------------------------------------------------------------------------------------------


@each
def test_a_damaged_object_is_named_and_made_again(built: Graph, remote: Remote, tmp_path: Path) -> None:
    shared(built, remote)
    md5 = md5_in_lock(built, SCORE)
    remote.damage(md5)
    clone = remote.clone(built, tmp_path / "clone")
    said = clone.build(SCORE)
    stated(said, f"the remote's object {md5} is damaged and isn't used")
    assert clone.ran() == [SCORE]
    assert clone.contents()[SCORE] == built.contents()[SCORE]
    assert unsound(clone.root / ".dvc/cache/files/md5") == []


@each
def test_a_damaged_file_of_a_directory_is_never_delivered(built: Graph, remote: Remote, tmp_path: Path) -> None:
    shared(built, remote)
    listing = md5_in_lock(built, HEAVY)
    files = json.loads((built.root / ".dvc/cache/files/md5" / listing[:2] / listing[2:]).read_text())
    remote.damage(files[0]["md5"])
    clone = remote.clone(built, tmp_path / "clone")
    clone.build(HEAVY)
    assert artifact(clone, HEAVY) == artifact(built, HEAVY)
    assert HEAVY in clone.ran()
    assert unsound(clone.root / ".dvc/cache/files/md5") == []


@each
def test_dvc_pull_refuses_a_damaged_object_if_it_is_told_to_verify(
    built: Graph, remote: Remote, tmp_path: Path
) -> None:
    remote.add(built)
    built.run("dvc", "remote", "modify", "shared", "verify", "true")
    built.commit()
    built.run("dvc", "push")
    remote.damage(md5_in_lock(built, SCORE))
    clone = remote.clone(built, tmp_path / "clone")
    assert SCORE in clone.refused("dvc", "pull")
    assert not (clone.root / SCORE).exists()


@each
def test_what_an_unverified_dvc_pull_brought_is_set_right_by_the_next_build(
    built: Graph, remote: Remote, tmp_path: Path
) -> None:
    shared(built, remote)
    remote.damage(md5_in_lock(built, SCORE))
    clone = remote.clone(built, tmp_path / "clone")
    clone.run("dvc", "pull")
    assert clone.contents()[SCORE] == b"other bytes"  # DVC believes a name
    clone.build(SCORE)
    assert clone.contents()[SCORE] == built.contents()[SCORE]
    assert unsound(clone.root / ".dvc/cache/files/md5") == []


# --- credentials -----------------------------------------------------------------------------------------------------


@each_server
def test_wrong_credentials_are_refused_before_any_job_and_never_shown(
    built: Graph, remote: Remote, tmp_path: Path
) -> None:
    shared(built, remote)
    clone = built.clone(tmp_path / "clone")
    remote.log_in_wrongly(clone)
    said = clone.refused("snakemake", SCORE)
    stated(said, "the DVC remote can't be read")
    assert f"credentials that {remote.url} accepts" in said
    assert clone.ran() == []
    assert not [secret for secret in remote.secrets if secret in said and secret != "labaccess"]
    push = clone.refused("dvc", "push")
    assert not [secret for secret in remote.secrets if secret in push and secret != "labaccess"]
    remote.log_in(clone)
    assert "Nothing to be done" in clone.build(SCORE)


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_refused(built: Graph, remote: Remote, tmp_path: Path) -> None:
    shared(built, remote)
    clone = remote.clone(built, tmp_path / "clone")
    clone.run("dvc", "remote", "modify", "shared", "url", "s3://no-such-bucket/x")
    said = clone.refused("snakemake", SCORE)
    stated(said, "the DVC remote can't be read")
    assert "no bucket for s3://no-such-bucket/x" in said
    assert clone.ran() == []


@pytest.mark.parametrize(
    ("option", "value"), [("password", "plain-secret"), ("url", "webdav://somebody:plain-secret@127.0.0.1/x")]
)
def test_a_secret_in_the_committed_configuration_is_refused(built: Graph, option: str, value: str) -> None:
    built.run("dvc", "remote", "modify", "shared", "url", "webdav://127.0.0.1/x")
    built.run("dvc", "remote", "modify", "shared", option, value)
    said = built.refused("snakemake")
    stated(said, ".dvc/config has a secret of remote shared")
    assert "dvc remote modify --local shared password" in said
    assert "plain-secret" not in said
    assert built.ran() == []


# --- a remote that is full -------------------------------------------------------------------------------------------


@each_whole
def test_a_push_to_a_full_remote_goes_on_when_there_is_room(heavy: Graph, remote: Remote, tmp_path: Path) -> None:
    remote.add(heavy)
    with remote.with_room_for(LARGE // 4):
        said = heavy.refused("dvc", "push")
        assert "failed to upload" in said or "ERROR" in said
        assert remote.unsound() == []
        clone = remote.clone(heavy, tmp_path / "clone")
        clone.build(SCORE)  # by what could be pushed, and jobs for the rest
        assert artifact(clone, SCORE) == artifact(heavy, SCORE)
        clone.ran()
    heavy.run("dvc", "push")
    assert remote.unsound() == []
    shutil.rmtree(clone.root)
    clone = remote.clone(heavy, tmp_path / "clone")
    clone.build(HEAVY)
    assert clone.ran() == []
    assert artifact(clone, HEAVY) == artifact(heavy, HEAVY)
