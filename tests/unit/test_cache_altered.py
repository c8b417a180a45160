"""Own work in the place of an artifact is moved to scratch/altered and named, unless records or the cache know it."""

import logging
import os
from pathlib import Path

import pytest

from bezoar.cache.altered import set_aside
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects

SFT = "data/adapters/sft"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str = "mine") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def spare(path: str, *recorded: str, made: bool = False) -> None:
    hasher = Hasher(None)
    set_aside(path, hasher, Objects("cache", hasher), recorded, made=made)


def kept() -> dict[str, str]:
    """Texts of what was set aside."""
    found = Path("scratch/altered")
    return {str(path.relative_to(found)): path.read_text() for path in found.rglob("*") if path.is_file()}


def test_a_file_without_a_record_is_kept_and_named(caplog: pytest.LogCaptureFixture) -> None:
    write("data/mixes/all/rows.txt")
    spare("data/mixes/all/rows.txt")
    ((name, text),) = kept().items()
    assert text == "mine"
    assert not Path("data/mixes/all/rows.txt").exists()
    assert caplog.messages == [
        f"data/mixes/all/rows.txt is in no record and is replaced; it was moved to scratch/altered/{name}"
    ]


def test_a_directory_is_kept_as_a_whole(caplog: pytest.LogCaptureFixture) -> None:
    write(f"{SFT}/model.safetensors", "weights")
    write(f"{SFT}/.git/config", "[core]")
    spare(SFT, made=True)
    assert sorted(kept().values()) == ["[core]", "weights"]
    assert "was changed after it was made" in caplog.text


def test_what_the_cache_holds_or_a_record_says_stays(caplog: pytest.LogCaptureFixture) -> None:
    write(f"{SFT}/rows")
    hasher = Hasher(None)
    content = hasher.content(SFT)
    assert content
    spare(SFT, content.md5)
    assert not Objects("cache", Hasher(None)).missing(content.md5)  # stored first: a job overwrites what is there
    spare(SFT)
    spare("data/absent")
    os.makedirs("data/empty")
    spare("data/empty")
    assert kept() == {}
    assert caplog.records == []
    assert Path(SFT, "rows").exists()


@pytest.mark.parametrize("hidden", [".git/objects/x", "deep/.dvc/config", ".hg/store"])
def test_work_that_a_directorys_content_leaves_out_is_kept(hidden: str) -> None:
    write(f"{SFT}/rows")
    hasher = Hasher(None)
    content = hasher.content(SFT)
    assert content
    Objects("cache", hasher).store(SFT, content)
    write(f"{SFT}/{hidden}", "unpushed work")
    assert Hasher(None).holds(SFT, content.md5)
    spare(SFT, content.md5)
    assert "unpushed work" in kept().values()


def test_what_was_set_aside_before_is_not_overwritten() -> None:
    for number in range(3):
        write("data/rows")
        spare("data/rows")
        (last,) = (path for path in Path("scratch/altered/data").iterdir() if path.read_text() == "mine")
        last.write_text(f"worked on, {number}")
    assert sorted(kept().values()) == ["worked on, 0", "worked on, 1", "worked on, 2"]


def test_a_link_is_moved_and_what_it_points_to_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    write("elsewhere/rows", "anybody's")
    os.makedirs("data")
    os.symlink(tmp_path / "elsewhere", "data/sft")
    spare("data/sft")
    assert not os.path.lexists("data/sft")
    assert Path("elsewhere/rows").read_text() == "anybody's"
