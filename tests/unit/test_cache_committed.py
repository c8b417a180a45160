"""What a commit brings into folders that only builds write, or as a link where an artifact belongs, is refused."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_cache_decide import A

from bezoar.cache import CacheError, git
from bezoar.cache.build import Build
from bezoar.cache.committed import check_links, check_own
from bezoar.cache.config import settings
from bezoar.cache.execute import clear
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cache.resolved import Resolved
from bezoar.files import whole

SFT = replace(A, outputs=("data/adapters/sft/weights", "data/adapters/sft/log"), outs=("data/adapters/sft",) * 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder inside a git repository."""
    monkeypatch.setenv("HOME", str(tmp_path))
    inside = tmp_path / "repository/inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    subprocess.run(["git", "init", "--quiet", ".."], check=True)
    return inside


def add(path: str, *, link: str | None = None) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if link is None:
        Path(path).write_text("{}")
    else:
        os.symlink(link, path)
    subprocess.run(["git", "add", "--force", path], check=True)


def check(cache: str = ".dvc/cache") -> None:
    check_own(git.tracked(), cache)
    check_links(git.tracked(), [SFT])


def refused(cache: str = ".dvc/cache") -> str:
    with pytest.raises(CacheError, match=r"\n  found: (.|\n)*\n  expected: (.|\n)*\nhint: ") as error:
        check(cache)
    return str(error.value)


@pytest.mark.parametrize(
    "path",
    [".dvc/cache/proofs/ab/x.json", ".dvc/tmp/bezoar.sqlite", ".snakemake/bezoar/run.json", "responses/x", "responses"],
)
def test_a_committed_file_where_only_builds_write_is_refused(path: str) -> None:
    add(path)
    assert f"found:    {path}\n" in refused()
    with pytest.raises(CacheError, match="git tracks files in"):
        Build(Resolved("params.yaml"))  # what every command that reads proofs begins with


def test_the_cache_may_lie_elsewhere(folder: Path) -> None:
    add("forged/proofs/ab/x.json")
    check_own(git.tracked(), ".dvc/cache")
    assert "git tracks files in forged" in refused("forged")
    check_own(git.tracked(), "../outside")
    assert "git tracks files in .," in refused(".")
    add("store", link="forged")
    assert "store was committed as a link" in refused("store/cache")


def test_what_dvc_and_people_commit_is_not_refused() -> None:
    for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "responses.dvc", "data/README.md", ".snakemake.md"):
        add(path)
    add("notes", link="../elsewhere")
    add("data/adapters/mine", link="/elsewhere")
    check_own(git.tracked(), ".dvc/cache")
    check_links(git.tracked(), [SFT])


ARTIFACTS = (
    "data",
    "data/adapters",
    "data/adapters/sft",
    "data/adapters/sft/weights",
    "data/adapters/sft/.log.partial",
)


@pytest.mark.parametrize(
    "path",
    [*ARTIFACTS, ".dvc", ".dvc/cache", ".snakemake", "responses", "logs", "logs/a/x.log", "scratch", "scratch/altered"],
)
def test_a_committed_link_where_builds_write_is_refused(folder: Path, path: str) -> None:
    add(path, link=str(folder.parents[1]))
    assert path in refused().splitlines()[0] or f"found:    {path}" in refused()


@pytest.mark.parametrize("path", [*ARTIFACTS, ".dvc", ".dvc/cache", ".snakemake/x", "responses/x", "logs/a", "scratch"])
def test_a_submodule_where_builds_write_is_refused(path: str) -> None:
    Path(path).mkdir(parents=True)
    entry = f"160000,{'0' * 39}1,inside/{path}"
    subprocess.run(["git", "update-index", "--add", "--cacheinfo", entry], check=True)
    assert path in refused()


def test_a_submodule_elsewhere_is_not_refused() -> None:
    Path("tools").mkdir()
    subprocess.run(["git", "update-index", "--add", "--cacheinfo", f"160000,{'0' * 39}1,inside/tools"], check=True)
    check()


def test_a_repository_that_git_refuses_to_read_is_not_one_that_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try it
    with pytest.raises(CacheError, match=r"found: .*dubious ownership(.|\n)*expected: (.|\n)*hint: "):
        git.tracked()
    Path(".dvc").mkdir()
    Path(".dvc/config.local").write_text("[core]\n    remote = r\n")
    with pytest.raises(CacheError, match="dubious ownership"):
        settings()


def test_a_repository_needs_git(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(CacheError, match="hint: install git"):
        git.tracked()
    monkeypatch.chdir(tmp_path)
    assert git.tracked() == {}


def test_a_name_with_a_newline_is_shown_on_one_line() -> None:
    add("responses/x\nhint: all is well")
    assert "\nhint: all" not in refused()


def test_a_link_of_ones_own_may_stand_there(folder: Path) -> None:
    os.symlink(folder.parents[1], "data")
    check_links(git.tracked(), [SFT])
    Path("data").unlink()
    add("data", link=str(folder.parents[1]))
    Path("data").unlink()  # git holds it, but a folder stands there now
    Path("data/adapters").mkdir(parents=True)
    check_links(git.tracked(), [SFT])


def test_without_a_repository_nothing_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apart").mkdir()
    monkeypatch.chdir(tmp_path / "apart")
    assert git.tracked() == {}


def test_names_of_any_letters_are_known() -> None:
    add("responses/ü\n'")
    assert git.tracked() == {"responses/ü\n'": "100644"}


def test_a_link_in_the_place_of_an_unfinished_file_is_not_followed(folder: Path) -> None:
    victim = folder.parent / "victim"
    victim.write_text("a thesis")
    add(".dvc.lock.partial", link=str(victim))
    with whole("dvc.lock") as partial:
        partial.write_text("stages: {}")
    assert victim.read_text() == "a thesis"
    assert Path("dvc.lock").read_text() == "stages: {}"


def test_a_file_behind_a_link_in_an_artifacts_folder_is_not_removed(folder: Path) -> None:
    hasher = Hasher(None)
    objects = Objects(".dvc/cache", hasher)
    theirs = folder.parent / "theirs"
    theirs.mkdir()
    (theirs / "rows").write_text("rows")
    (theirs / ".x.partial").write_text("rows")
    objects.store(str(theirs / "rows"), hasher.file(str(theirs / "rows")))  # so the cache holds it
    Path("data/mixes/all").mkdir(parents=True)
    os.symlink(theirs, "data/mixes/all/more")
    os.symlink(theirs, "data/mixes/few")
    for path, out in (("all/more/rows", "all"), ("all/more/.x.partial", "all"), ("few/rows", "few")):
        with pytest.raises(CacheError, match="found:    a file behind the link data/mixes/"):
            clear(f"data/mixes/{path}", f"data/mixes/{out}", hasher, objects, "mix")
    assert sorted(path.name for path in theirs.iterdir()) == [".x.partial", "rows"]


def test_a_name_like_that_of_an_unfinished_file_above_an_artifact_makes_nothing_unfinished() -> None:
    hasher = Hasher(None)
    Path(".old.partial/mix").mkdir(parents=True)
    Path(".old.partial/mix/notes").write_text("mine")
    with pytest.raises(CacheError, match="a file that isn't in the cache"):
        clear(".old.partial/mix/notes", ".old.partial/mix", hasher, Objects(".dvc/cache", hasher), "mix")
