"""An output comes back as it was made, or is refused when it is made."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bezoar.cache import CacheError
from bezoar.cache import storable as module
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cache.storable import check_paths, check_storable, is_exact

OUT = "data/model"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(f"{OUT}/a")
    write(f"{OUT}/deep/b")
    return tmp_path


def write(path: str, text: str = "Ann\n") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def pipe(path: str) -> None:
    os.mkfifo(path)


def bound(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


LOSSES: dict[str, tuple[str, Callable[[str], object]]] = {
    "empty": ("an empty folder", os.mkdir),
    "empty in empty": ("an empty folder", lambda path: os.makedirs(f"{path}/deeper")),
    "link to a file": ("a link to 'a'", lambda path: os.symlink("a", path)),
    "link to a folder": ("a link to 'deep'", lambda path: os.symlink("deep", path)),
    "broken link": ("a link to 'nowhere'", lambda path: os.symlink("nowhere", path)),
    "link around": ("a link to '.'", lambda path: os.symlink(".", path)),
    "named pipe": ("a named pipe", pipe),
    "socket": ("a socket", bound),
    "executable": ("a file with the mode 0755", lambda path: write(path).chmod(0o755)),
    "for its group": ("a file with the mode 0610", lambda path: write(path).chmod(0o610)),
    "setuid": ("a file with the mode 4644", lambda path: write(path).chmod(0o4644)),
    "not UTF-8": (r"the name 'x\udcff', which isn't UTF-8", lambda path: write(f"{path}\udcff")),
}
LOST_NAMES = (".git", ".git/HEAD", ".Git/HEAD", ".hg/store", ".dvc/config", "__pycache__/a.pyc", ".dvcignore")


def refused(outs: dict[str, str] | None = None, folder: str | None = None) -> str:
    with pytest.raises(CacheError) as error:
        check_storable(outs or {OUT: OUT}, folder)
    return str(error.value)


def came_back(path: str) -> bool:
    """Whether a directory is the same after it was stored and restored: paths, kinds, executable bits, bytes."""
    objects = Objects("cache", Hasher(None))
    content = objects.hasher.content(path)
    assert content
    objects.store(path, content)
    objects.restore(content.md5, "again")
    return seen(path) == seen("again")


def seen(path: str) -> dict[str, tuple[int, bytes]]:
    found = {}
    for one in Path(path).rglob("*"):
        mode = one.lstat().st_mode
        data = one.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(one.relative_to(path))] = (stat.S_IFMT(mode) | mode & 0o111 * stat.S_ISREG(mode), data)
    return found


def test_regular_files_and_folders_with_files_are_stored_and_come_back() -> None:
    write(f"{OUT}/ü ö/.hidden/c", "")
    write(f"{OUT}/a:b\\c\nd")
    write(f"{OUT}/A")  # beside a
    write(f"{OUT}/private").chmod(0o600)
    check_storable({OUT: OUT})
    assert is_exact(OUT)
    assert came_back(OUT)


@pytest.mark.parametrize("name", ["empty", "link to a file", "link to a folder", "executable"])
def test_what_is_refused_would_not_come_back(name: str) -> None:
    LOSSES[name][1](f"{OUT}/x")
    assert not came_back(OUT)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("inner", [OUT, f"{OUT}/deep"])
def test_each_loss_is_refused_with_its_path_and_what_to_do(name: str, inner: str) -> None:
    found, make = LOSSES[name]
    make(f"{inner}/x")
    said = refused()
    assert said.startswith(f"{inner}/x")
    assert "can't be stored as it is, so nothing is recorded\n" in said
    assert f"  found:    {found}" in said
    assert "\nhint: " in said


@pytest.mark.parametrize("name", LOST_NAMES)
def test_names_that_dvc_never_stores_are_refused(name: str) -> None:
    write(f"{OUT}/deep/{name}")
    assert f"the name {name.split('/')[0]!r}, which DVC never stores" in refused()


def test_an_output_that_is_a_link_is_refused_and_a_folder_around_it_may_be_one() -> None:
    os.rename("data", "elsewhere")
    os.symlink("elsewhere", "data")
    check_storable({OUT: OUT})
    check_storable({f"{OUT}/a": OUT}, OUT)
    os.symlink("model", "elsewhere/other")
    assert refused({"data/other": "data/other"}).startswith("data/other can't be stored")
    check_storable({"data/other/a": "data/other"}, "data/other")  # which a person made: no rule makes it


def test_a_single_file_is_checked_too() -> None:
    check_storable({f"{OUT}/a": f"{OUT}/a"})
    os.chmod(f"{OUT}/a", 0o755)
    assert refused({f"{OUT}/a": f"{OUT}/a"}).startswith(f"{OUT}/a can't be stored")


def test_all_in_a_jobs_own_folder_is_checked() -> None:
    check_storable({f"{OUT}/a": OUT}, OUT)
    os.mkdir(f"{OUT}/more")
    assert refused({f"{OUT}/a": OUT}, OUT).startswith(f"{OUT}/more can't be stored")


def test_an_output_without_files_is_stored_only_as_a_whole() -> None:
    os.mkdir("data/empty")
    check_storable({"data/empty": "data/empty"})
    assert "an empty folder" in refused({"data/empty": "data"})
    assert "an empty folder" in refused({"data/empty": "data"}, "data/empty")


def test_where_every_file_is_executable_no_bit_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    true = os.fstat
    monkeypatch.setattr(module.os, "fstat", lambda file: os.stat_result([true(file).st_mode | 0o111, *true(file)[1:]]))
    os.chmod(f"{OUT}/a", 0o755)
    check_storable({OUT: OUT})
    assert sorted(os.listdir(OUT)) == ["a", "deep"]  # and nothing else is left there


def test_snakemakes_mark_is_no_part_of_an_output() -> None:
    write(f"{OUT}/.snakemake_timestamp")
    check_storable({OUT: OUT})
    assert is_exact(OUT)


RULES = {  # lines of .dvcignore, and of data/.dvcignore
    "names": ("*.tmp\n# note\n\n", None),
    "anchored": ("/data/model/*/deep/*.tmp", None),
    "folders only": ("deep/", None),
    "negated": ("*.tmp\n!keep.tmp", None),
    "negated in an ignored folder": ("deep/\n!deep/keep.tmp", None),
    "contents": ("**/deep/**", None),
    "any depth": ("**/deep/x?", None),
    "around": ("data/", None),
    "of a deeper folder": (None, "/model/*/*.tmp"),
    "deeper wins": ("*.tmp", "!*.tmp"),
    "deeper adds": ("!x", "x"),
    "known": (".snakemake_timestamp\n__pycache__/", None),
}
NAMES = ("x", "x.tmp", "keep.tmp", "deep/x1", "deep/keep.tmp", "deep/deeper/x.tmp", "other/x", "x.tmp/inside")


@pytest.mark.parametrize("rules", RULES)
def test_a_name_is_refused_exactly_if_dvc_ignores_it(rules: str, folder: Path) -> None:
    from dvc.fs import LocalFileSystem
    from dvc.ignore import DvcIgnoreFilter

    for where, lines in zip((".dvcignore", "data/.dvcignore"), RULES[rules], strict=True):
        if lines is not None:
            write(where, lines)
    files, dvc = LocalFileSystem(), DvcIgnoreFilter(LocalFileSystem(), str(folder))
    refused, ignored = [], []
    for number, name in enumerate(NAMES):
        out = f"data/model/{number}"  # an output for each name
        write(f"{out}/{name}")
        if dvc.is_ignored_dir(str(folder / out)) or not list(dvc.find(files, str(folder / out))):
            ignored.append(name)
        try:
            check_storable({out: out})
        except CacheError:
            refused.append(name)
    assert refused == ignored
    assert bool(refused) == (rules not in ("deeper wins", "known"))


def test_an_output_that_dvc_ignores_is_refused_before_it_is_made() -> None:
    write(".dvcignore", "*.tmp\n/data/secret/\n")
    check_paths([OUT, "data/new", "results/score.json"])
    for path in ("data/new.tmp", "data/secret/a", "data/x.tmp/a"):
        with pytest.raises(CacheError, match=f"{path} is an output that DVC ignores"):
            check_paths([path])


@pytest.mark.parametrize("name", ["empty", "link to a file", "link to a folder"])
def test_a_directory_with_more_than_its_files_reads_the_same_and_is_not_what_would_be_restored(name: str) -> None:
    hasher = Hasher(None)
    content = hasher.content(OUT)
    assert content
    assert hasher.holds(OUT, content.md5)
    if name == "empty":
        os.mkdir(f"{OUT}/x")
    else:
        moved = "a" if name == "link to a file" else "deep"
        os.rename(f"{OUT}/{moved}", "moved")
        os.symlink(os.path.abspath("moved"), f"{OUT}/{moved}")
    assert hasher.reads(OUT, content.md5)
    assert not hasher.holds(OUT, content.md5)


def test_a_named_pipe_on_disk_is_an_error_and_nobody_waits_for_it() -> None:
    pipe(f"{OUT}/x")
    with pytest.raises(CacheError, match="x can't be read\n  found:    not a regular file"):
        Hasher(None).content(OUT)
