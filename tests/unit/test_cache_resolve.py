"""`bezoar dvc --resolve` in its parts: what git knows of a conflict, and whose record is taken."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bezoar.cache import CacheError, dvc, git
from bezoar.cache.action import Action, typed_digest
from bezoar.cache.decide import Decision
from bezoar.cache.hashing import Content, digest_of
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.records import ALL, Record, Records
from bezoar.cache.resolve import Side, _check_others, _keep, _sides, _taken, resolve
from bezoar.cache.stages import DvcStage
from bezoar.cache.trace import Module, Trace

ACTION = Action("mix", digest_of("mix"), {"words": "1" * 32}, typed_digest({"seed": 0}), {}, ["mix"], {"seed": 0})
OTHER = replace(ACTION, values=typed_digest({"seed": 1}), params={"seed": 1})
TRACE = Trace(modules={"s.py": Module("a" * 32)})
LOCK = "schema: '2.0'\nstages:\n  mix:\n    cmd: {}\n"
CONFLICT = "seed: 0\n<<<<<<< HEAD\nrate: 1\n=======\nrate: 2\n>>>>>>> other\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder inside a git repository."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@localhost")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "repository/inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repository/inside")
    run("git", "init", "--quiet", "--initial-branch=main", "..")
    return tmp_path


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def committed(**texts: str | None) -> None:
    """Commit files by name, without those that are None."""
    for name, text in texts.items():
        path = Path(name.replace("_", "."))
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", "--message", "state")


def in_conflict(name: str, base: str | None, ours: str | None, theirs: str | None) -> None:
    """Merge two branches that differ in a file."""
    committed(**{name: base})
    run("git", "checkout", "--quiet", "-b", "other")
    committed(**{name: theirs})
    run("git", "checkout", "--quiet", "main")
    committed(**{name: ours})
    assert subprocess.run(["git", "merge", "--quiet", "other"], check=False).returncode == 1


def proof(made: str, action: Action = ACTION, **cost: float) -> Proof:
    return Proof(action, {"mix": Content(made * 32, 4)}, TRACE, cost)


def found(proofs: Proofs, action: Action = ACTION) -> Proof | None:
    """The proof of an action with a trace that holds."""
    return proofs.find(action, lambda trace: True)


def traces_lock(entry: str, trace: Trace = TRACE) -> str:
    """traces.lock with the record of one entry, by a mark that the entry has."""
    record = Record(entry * 64, {ALL: ACTION.form}, {ALL: trace.digest})
    return Records({"mix": record}, {trace.digest: trace}).text


def test_files_in_conflict_are_named_from_here_with_the_versions_of_both_sides() -> None:
    in_conflict("dvc_lock", LOCK.format("a"), LOCK.format("b"), LOCK.format("c"))
    found = git.unmerged()
    assert list(found) == ["dvc.lock"]
    texts = {side: git.content(blob).decode() for side, blob in found["dvc.lock"].items()}
    assert texts == {"base": LOCK.format("a"), "ours": LOCK.format("b"), "theirs": LOCK.format("c")}


def test_a_name_with_any_letters_is_found() -> None:
    Path("a b\tc").mkdir()
    in_conflict("a b\tc/ä\n", "1\n", "2\n", "3\n")
    assert list(git.unmerged()) == ["a b\tc/ä\n"]


def test_without_a_conflict_there_is_none_and_a_build_may_go_on() -> None:
    committed(dvc_lock=LOCK.format("a"))
    assert git.unmerged() == {}
    git.check_merged(dvc.LOCK)


def test_without_a_repository_that_is_said_and_a_build_may_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(
        CacheError, match=r"be asked about this folder\n  found:    fatal: not a git repository(.|\n)*hint: "
    ):
        resolve()
    git.check_merged(dvc.LOCK)


def test_without_git_a_repository_can_not_be_asked_and_no_build_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(CacheError, match=r"found:    .*No such file or directory: 'git'|found:    .*Not a directory"):
        resolve()
    with pytest.raises(CacheError, match="hint: install git"):
        git.check_merged(dvc.LOCK)


def test_a_build_waits_for_a_file_in_conflict() -> None:
    in_conflict("dvc_lock", LOCK.format("a"), LOCK.format("b"), LOCK.format("c"))
    with pytest.raises(CacheError, match=r"dvc\.lock is in conflict(.|\n)*found: .*base, ours, theirs\n(.|\n)*hint: "):
        git.check_merged(dvc.LOCK)


def test_the_sides_of_dvc_lock_are_whole_versions_and_ours_comes_last() -> None:
    in_conflict("dvc_lock", LOCK.format("a"), LOCK.format("b"), LOCK.format("c"))
    sides = _sides(git.unmerged())
    assert list(sides) == ["base", "theirs", "ours"]
    commands = {side: one.entries["mix"]["cmd"] for side, one in sides.items()}
    assert commands == {"base": "a", "theirs": "c", "ours": "b"}


def test_the_sides_of_traces_lock_are_whole_versions_too() -> None:
    in_conflict("traces_lock", traces_lock("a"), traces_lock("b"), traces_lock("c"))
    sides = _sides(git.unmerged())
    entries = {side: one.records.stages["mix"].entry[0] for side, one in sides.items()}
    assert entries == {"base": "a", "theirs": "c", "ours": "b"}
    assert all(one.records.traces == {TRACE.digest: TRACE} and one.entries == {} for one in sides.values())


def test_records_of_both_sides_are_taken_together_and_one_goes_first() -> None:
    other = Trace(modules={"s.py": Module("b" * 32)})
    one = Side({"mix": {"cmd": "a"}}, Records({"mix": Record("a" * 64, {}, {})}, {TRACE.digest: TRACE}))
    two = Side({"mix": {"cmd": "b"}, "more": {}}, Records({"mix": Record("b" * 64, {}, {})}, {other.digest: other}))
    both = one.over(two)
    assert (both.entries["mix"], both.records.stages["mix"].entry[0]) == ({"cmd": "a"}, "a")
    assert set(both.entries) == {"mix", "more"}
    assert set(both.records.traces) == {TRACE.digest, other.digest}


def test_a_side_that_has_deleted_dvc_lock_says_nothing() -> None:
    in_conflict("dvc_lock", LOCK.format("a"), LOCK.format("b"), None)
    sides = _sides(git.unmerged())
    assert sides["theirs"].entries == {}
    assert sides["ours"].entries["mix"] == {"cmd": "b"}


def test_a_dvc_lock_that_is_not_in_conflict_is_that_of_both_sides() -> None:
    committed(dvc_lock=LOCK.format("a"))
    entries = {side: one.entries for side, one in _sides({}).items()}
    assert entries == {"base": {}, "theirs": {"mix": {"cmd": "a"}}, "ours": {"mix": {"cmd": "a"}}}


def test_a_version_that_was_committed_with_its_markers_is_named() -> None:
    in_conflict("dvc_lock", LOCK.format("a"), LOCK.format("b"), CONFLICT)
    with pytest.raises(CacheError, match=r"dvc\.lock of theirs can't be read\n  found:    dvc\.lock:2: (.|\n)*hint: "):
        _sides(git.unmerged())


@pytest.mark.parametrize("name", ["dvc.lock", "traces.lock"])
def test_markers_that_git_takes_for_resolved_are_named(name: str) -> None:
    committed(**{name: CONFLICT})
    with pytest.raises(CacheError, match=rf"{name}:2: a merge conflict that is marked as resolved\n(.|\n)*hint: "):
        resolve()


@pytest.mark.parametrize("path", ["params.yaml", "code.accepted.yaml"])
def test_what_people_write_is_named_also_if_git_takes_it_for_resolved(path: str) -> None:
    Path(path).write_text(CONFLICT)
    with pytest.raises(CacheError, match=rf"^{path}:2: a merge conflict\n  found: (.|\n)*hint: "):
        _check_others(set())


def test_any_other_file_in_conflict_is_named() -> None:
    in_conflict("notes_md", "Notes\n=====\n", "Notes\n=====\nold\n", "Notes\n=====\nnew\n")
    with pytest.raises(CacheError, match=r"^notes\.md:3: "):
        _check_others(set(git.unmerged()))
    Path("notes.md").write_text("Notes\n=======\nnew\n")  # merged by hand: a headline's line is no marker
    _check_others(set(git.unmerged()))


def test_a_file_in_conflict_that_was_removed_needs_no_hand() -> None:
    in_conflict("notes_md", "1\n", "2\n", None)
    Path("notes.md").unlink()
    _check_others(set(git.unmerged()))


def test_a_conflict_in_what_is_generated_names_the_command() -> None:
    for path in (dvc.LOCK, dvc.PIPELINE):
        Path(path).write_text(CONFLICT)
        with pytest.raises(CacheError, match=rf"{path}:2: can't be read(.|\n)*hint: run `bezoar dvc --resolve`$"):
            dvc.read(path)


def test_what_a_side_recorded_becomes_a_proof_and_goes_before_what_was_not_shared() -> None:
    committed(dvc_lock=LOCK)
    commit = git.heads()[git.OURS]
    proofs = Proofs("cache")
    proofs.add(proof("a", seconds=5))
    _keep({"mix": proof("b"), "more": proof("c", OTHER)}, proofs, commit)
    assert found(proofs) == replace(proof("b"), origin=commit)
    assert found(proofs, OTHER) == replace(proof("c", OTHER), origin=commit)
    assert list(proofs.made_here(ACTION)) == [proof("a", seconds=5)]


def test_what_a_branch_recorded_counts_while_it_is_merged_and_no_longer_once_it_is_given_up() -> None:
    in_conflict("dvc_lock", LOCK, LOCK + "    a: 1\n", LOCK + "    a: 2\n")
    theirs = git.heads()[git.THEIRS]
    _keep({"mix": proof("b")}, Proofs("cache"), theirs)
    assert found(Proofs("cache")) == replace(proof("b"), origin=theirs)
    run("git", "merge", "--abort")
    assert found(Proofs("cache")) is None
    run("git", "checkout", "--quiet", "other")
    assert found(Proofs("cache")) is not None


def test_a_proof_that_says_the_same_keeps_what_it_cost() -> None:
    proofs = Proofs("cache")
    proofs.add(proof("a", seconds=5))
    _keep({"mix": proof("a")}, proofs, "1" * 40)
    assert found(proofs) == proof("a", seconds=5)


@pytest.mark.parametrize(
    ("base", "theirs", "ours", "taken"),
    [
        ("a", "a", "a", "ours"),
        ("b", "a", "b", "theirs"),
        ("a", "b", "b", "base"),
        ("b", "b", "b", None),
        (None, None, None, None),
    ],
)
def test_the_side_is_taken_whose_record_is_the_proof(
    base: str | None, theirs: str | None, ours: str | None, taken: str | None
) -> None:
    class Step:
        name = "mix"

    sides = {"base": base, "theirs": theirs, "ours": ours}
    recorded = {side: {"mix": proof(made)} if made else {} for side, made in sides.items()}
    stage = DvcStage("mix", [Step()], [])  # type: ignore[list-item]
    assert _taken(stage, recorded, Decision(proofs={"mix": proof("a")})) == taken
    assert _taken(stage, recorded, Decision()) is None
    changed = proof("a", OTHER)
    assert _taken(stage, recorded, Decision(proofs={"mix": changed})) is None
