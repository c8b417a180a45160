"""Who may read and write what is stored, whatever the umask of the process."""

import os
import stat
from pathlib import Path

import pytest
from test_cache_proofs import PROOF

from bezoar.cache import modes, remote
from bezoar.cache.build import Build
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proofs
from bezoar.cache.resolved import Resolved
from bezoar.requests.store import Store

GROUP = "[cache]\n    shared = group\n"


@pytest.fixture(autouse=True, params=[0o077, 0o022, 0o000], ids=oct)
def folder(tmp_path, monkeypatch, request):
    """An empty folder as the current one, under different umasks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    Path(".dvc").mkdir()
    before = os.umask(request.param)
    yield tmp_path
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def everything(path):
    """Modes of all folders and of all files below a path."""
    found = sorted(Path(path).rglob("*"))
    return {mode(one) for one in found if one.is_dir()}, {mode(one) for one in found if one.is_file()}


def answer():
    """Store an answer, as a job does."""
    store = Store("generate-a", "0000")
    store.answers.add({"key": "0" * 64})
    store.ledger.add({"outcome": "ok"})


def test_responses_are_their_owners():
    answer()
    assert mode("responses") == 0o700
    assert everything("responses") == ({0o700}, {0o600})


def test_responses_are_the_groups_where_dvc_shares_its_cache_with_one():
    Path(".dvc/config.local").write_text(GROUP)
    answer()
    assert mode("responses") == 0o2770
    assert everything("responses") == ({0o2770}, {0o660})


def test_a_committed_file_does_not_open_responses_to_a_group():
    Path(".dvc/config").write_text(GROUP)
    answer()
    assert everything("responses") == ({0o700}, {0o600})


def test_a_folder_with_something_else_in_it_is_not_opened_to_a_group():
    Path("home").mkdir(mode=0o700)
    os.chmod("home", 0o700)
    Path("home/thesis").write_text("mine")
    modes.share("home")
    assert mode("home") == 0o700
    Path("home/files/md5").mkdir(parents=True)  # a cache in which somebody keeps notes, too
    modes.share("home")
    assert mode("home") == 0o2775


def test_an_older_folder_of_responses_that_others_could_read_is_closed():
    Path("responses").mkdir()
    os.chmod("responses", 0o755)
    answer()
    assert mode("responses") == 0o700


def stored():
    """A cache with an object, a proof and its trace."""
    hasher = Hasher(None)
    Path("a").write_text("a")
    Objects("cache", hasher).store("a", hasher.content("a"))
    Proofs("cache").add(PROOF)


def test_a_cache_of_a_group_has_folders_and_files_that_the_group_can_write():
    modes.share("cache")
    stored()
    folders, files = everything("cache")
    assert folders == {0o2775}
    assert files == {0o444, 0o664}  # objects never change


def test_a_cache_of_ones_own_follows_the_umask(request):
    stored()
    umask = os.umask(0)
    os.umask(umask)
    folders, files = everything("cache")
    assert folders == {0o777 & ~umask}
    assert files == {0o444, 0o666 & ~umask}


def test_a_build_makes_the_cache_its_groups_if_dvc_says_so(monkeypatch):
    Path(".dvc/config").write_text(GROUP)
    build = Build(Resolved("params.yaml"))
    build._check_writable()
    assert mode(".dvc/cache") == 0o2775
    assert mode(".dvc/cache/proofs") == 0o2775


def test_what_dvc_remembers_of_a_repository_is_its_owners():
    with remote._site_cache() as folder:
        assert folder == os.path.abspath(".dvc/tmp/bezoar-site")
        assert {mode(folder), mode(f"{folder}/repo")} == {0o700}


def test_what_dvc_remembers_lies_elsewhere_if_the_tree_can_not_be_written(monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(remote.os, "makedirs", refuse)
    with remote._site_cache() as folder:
        assert not folder.startswith(os.getcwd())
        assert mode(folder) == 0o700
