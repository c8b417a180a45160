"""Objects are stored and restored whole or not at all, and count only with the bytes that their name says."""

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from bezoar.cache import CacheError, foreign, remote
from bezoar.cache import objects as module
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.objects import Objects, all_missing, copy, remove

FILES = {"a": "Ann\n", "deep/er/b": "Bob\n", "empty": "", "ü": "Cid\n"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def objects():
    return Objects("cache", Hasher(None))


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def stored(objects, path):
    content = objects.hasher.content(path)
    objects.store(path, content)
    return content


def nested(path="d"):
    for name, text in FILES.items():
        write(f"{path}/{name}", text)


def held(path):
    """All files below a folder with their text."""
    return {str(one.relative_to(path)): one.read_text() for one in sorted(Path(path).rglob("*")) if one.is_file()}


def damage(objects, md5):
    path = objects.path(md5)
    os.chmod(path, 0o644)
    Path(path).write_bytes(bytes(byte ^ 1 for byte in Path(path).read_bytes()))


def partials():
    return [path for path in Path().rglob("*") if "partial" in path.name]


def test_a_file_comes_back_as_it_was(objects):
    write("a", "Ann\n")
    content = stored(objects, "a")
    os.unlink("a")
    objects.restore(content.md5, "new/folder/a")
    assert Path("new/folder/a").read_text() == "Ann\n"
    assert not partials()


def test_a_directory_comes_back_as_it_was(objects):
    nested()
    content = stored(objects, "d")
    assert content.files == 4
    objects.restore(content.md5, "e")
    assert held("e") == FILES
    assert objects.hasher.content("e") == content


def test_a_directory_without_files_comes_back(objects):
    os.mkdir("d")
    content = stored(objects, "d")
    os.rmdir("d")
    objects.restore(content.md5, "d")
    assert os.path.isdir("d")
    assert objects.hasher.content("d") == Content(content.md5, 0, 0)


def test_an_object_is_read_only_and_lies_where_dvc_looks(objects):
    write("a", "Ann\n")
    stored(objects, "a")
    md5 = hashlib.md5(b"Ann\n").hexdigest()
    path = Path("cache/files/md5", md5[:2], md5[2:])
    assert path.read_text() == "Ann\n"
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_is_restored_can_be_written_to_and_the_cache_stays(objects):
    write("a", "Ann\n")
    content = stored(objects, "a")
    objects.restore(content.md5, "b")
    with open("b", "a") as file:
        file.write("more")
    assert objects.sound(content.md5)


def test_a_file_takes_the_place_of_a_directory_and_the_reverse(objects):
    nested()
    write("a", "Ann\n")
    file, directory = stored(objects, "a"), stored(objects, "d")
    objects.restore(directory.md5, "a")
    objects.restore(file.md5, "d")
    assert held("a") == FILES
    assert Path("d").read_text() == "Ann\n"


def test_a_link_is_replaced_and_what_it_points_to_stays(objects):
    nested("elsewhere")
    content = stored(objects, "elsewhere")
    write("elsewhere/a", "edited\n")
    os.symlink("elsewhere", "d")
    objects.restore(content.md5, "d")
    assert not os.path.islink("d")
    assert held("d") == FILES
    assert Path("elsewhere/a").read_text() == "edited\n"


def test_an_object_with_other_bytes_is_missing(objects):
    write("a", "Ann\n")
    content = stored(objects, "a")
    damage(objects, content.md5)
    assert not objects.sound(content.md5)
    assert objects.missing(content.md5) == [content.md5]


def test_an_object_with_other_bytes_is_never_restored(objects):
    write("a", "Ann\n")
    content = stored(objects, "a")
    damage(objects, content.md5)
    with pytest.raises(CacheError, match=f"no sound object {content.md5} in cache"):
        objects.restore(content.md5, "b")
    assert not os.path.exists("b")


def test_a_directory_with_one_damaged_file_is_not_restored_in_part(objects):
    nested()
    content = stored(objects, "d")
    md5 = hashlib.md5(b"Bob\n").hexdigest()
    damage(objects, md5)
    assert objects.missing(content.md5) == [md5]
    with pytest.raises(CacheError, match=md5):
        objects.restore(content.md5, "e")
    assert not os.path.exists("e")
    assert not partials()


def test_a_directory_whose_list_is_damaged_lacks_the_list(objects):
    nested()
    content = stored(objects, "d")
    damage(objects, content.md5)
    assert objects.listing(content.md5) is None
    assert objects.missing(content.md5) == [content.md5]


def test_what_is_stored_again_takes_the_place_of_damaged_bytes(objects):
    nested()
    content = stored(objects, "d")
    for md5 in (content.md5, hashlib.md5(b"Ann\n").hexdigest()):
        damage(objects, md5)
    stored(objects, "d")
    assert objects.missing(content.md5) == []


def test_a_damaged_object_is_forgotten_and_a_sound_one_is_not(objects):
    write("a", "Ann\n")
    write("b", "Bob\n")
    one, other = stored(objects, "a"), stored(objects, "b")
    damage(objects, one.md5)
    for content in (one, other):
        objects.forget_unsound(content.md5)
    assert [os.path.exists(objects.path(content.md5)) for content in (one, other)] == [False, True]


def test_each_missing_object_is_named_once(objects):
    one, other = "0" * 32, "1" * 32
    assert all_missing(objects, [one, other, one]) == [one, other]


def test_an_error_while_an_object_is_copied_leaves_nothing(objects, monkeypatch):
    write("a", "Ann\n")

    def half(source, target):
        write(target, "An")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "copy", half)
    with pytest.raises(CacheError, match="No space left on device in cache") as error:
        stored(objects, "a")
    assert "hint: free some space there" in str(error.value)
    assert not [path for path in Path("cache").rglob("*") if path.is_file()]


def test_an_interrupt_while_an_object_is_copied_leaves_nothing(objects, monkeypatch):
    write("a", "Ann\n")

    def half(source, target):
        write(target, "An")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "copy", half)
    with pytest.raises(KeyboardInterrupt):
        stored(objects, "a")
    assert not [path for path in Path("cache").rglob("*") if path.is_file()]


def test_an_error_while_an_artifact_is_restored_leaves_the_old_one(objects, monkeypatch):
    nested()
    content = stored(objects, "d")
    write("d/a", "edited\n")
    before = held("d")
    copied = []

    def second_fails(source, target):
        if copied:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(target)
        copy(source, target)

    monkeypatch.setattr(module, "copy", second_fails)
    with pytest.raises(CacheError, match="d can't be restored\n  found:    No space left on device"):
        objects.restore(content.md5, "d")
    assert held("d") == before
    assert not partials()


def test_a_file_that_changes_while_it_is_stored_is_refused(objects, monkeypatch):
    write("a", "Ann\n")
    content = objects.hasher.content("a")

    def late(source, target):
        copy(source, target)
        write(source, "Ann and Bob\n")

    monkeypatch.setattr(module, "copy", late)
    with pytest.raises(CacheError, match="a changed while it was stored"):
        objects.store("a", content)
    assert not os.path.exists(objects.path(content.md5))


def test_a_directory_that_changed_since_it_was_looked_at_is_refused(objects):
    nested()
    content = objects.hasher.content("d")
    write("d/a", "Ann and Bob\n")
    with pytest.raises(CacheError, match="d changed while it was stored"):
        objects.store("d", content)
    assert not os.path.exists(objects.path(content.md5))


def test_a_cache_below_a_file_is_an_error_that_names_it(objects):
    write("cache", "a file")
    write("a", "Ann\n")
    with pytest.raises(CacheError, match=r"the cache can't be written to\n  found:    (File exists|Not a directory)"):
        stored(objects, "a")


def test_an_unreadable_artifact_is_not_blamed_on_the_cache(objects, monkeypatch):
    write("a", "Ann\n")
    content = objects.hasher.content("a")
    os.unlink("a")
    with pytest.raises((CacheError, OSError)) as error:
        objects.store("a", content)
    assert not re.search("cache can't be written", str(error.value))


def test_bytes_are_copied_where_the_kernel_can_not(monkeypatch):
    def unsupported(*arguments):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", unsupported)
    Path("a").write_bytes(bytes(range(256)) * 9000)  # more than two chunks of 1 MiB
    copy("a", "b")
    assert Path("b").read_bytes() == Path("a").read_bytes()


def test_removing_a_link_to_a_directory_leaves_the_directory():
    nested()
    os.symlink("d", "link")
    remove("link")
    remove("absent")
    assert not os.path.lexists("link")
    assert held("d") == FILES


def test_a_list_of_a_directory_that_is_far_too_large_is_not_fetched(tmp_path):
    class Far:
        fs = protocol = None

        def oid_to_path(self, md5):
            return md5

        def info(self, path):
            return {"size": foreign.MOST_BYTES + 1}

        def get_file(self, *words, **options):
            raise AssertionError("fetched")

    far = Far()
    far.fs = far
    assert remote._bring(far, "0" * 32 + ".dir", str(tmp_path / "x"), False, None) is None
