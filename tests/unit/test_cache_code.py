"""A script's fingerprint changes with what it means and with all that it imports, and with nothing else."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml

from bezoar.cache import CacheError, code, meanings
from bezoar.cache.code import Closures, Code, earliest, fingerprint, rule_print
from bezoar.cache.hashing import Hasher

SCRIPT = '''"""What it does."""
import json
from helper import double


def main(values):
    """Print twice."""
    return [double(value) for value in values]  # all of them


class Box:
    """Holds."""

    size = 1
'''
SAME = {
    "comment": ("  # all of them", "  # each"),
    "no comment": ("  # all of them", ""),
    "docstring of the module": ("What it does.", "Something else."),
    "docstring of a function": ("Print twice.", "Say it two times."),
    "docstring of a class": ('    """Holds."""\n', '    """Holds one."""\n'),
    "no docstring": ('    """Print twice."""\n', ""),
    "blank lines": ("\n\n\ndef", "\n\n\n\n\ndef"),
    "layout": ("[double(value) for value in values]", "[\n        double( value )\n        for value in values\n    ]"),
    "line endings": ("\n", "\r\n"),
}
OTHER = {
    "value": ("size = 1", "size = 2"),
    "float": ("size = 1", "size = 1.0"),
    "bool": ("size = 1", "size = True"),
    "name": ("double(value)", "double(values)"),
    "call": ("double(value)", "double(double(value))"),
    "import": ("import json", "import csv"),
    "new statement": ("    size = 1\n", "    size = 1\n    more = 2\n"),
    "decorator": ("class Box", "@print\nclass Box"),
    "a text that is not a docstring": ("    size = 1\n", '    size = 1\n    text = "a"\n'),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("scripts/main.py", SCRIPT)
    write("scripts/helper.py", "def double(value):\n    return 2 * value\n")
    return tmp_path


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(text.encode())


def closure(script="scripts/main.py"):
    """Paths of all project files in a script's closure."""
    return sorted(Closures(Hasher(None)).files(script))


def parts(script="scripts/main.py"):
    return Closures(Hasher(None)).parts(script)


def print_(script="scripts/main.py"):
    return fingerprint(parts(script))


@pytest.mark.parametrize("name", SAME)
def test_an_edit_without_meaning_changes_nothing(name):
    before = print_()
    write("scripts/main.py", SCRIPT.replace(*SAME[name]))
    assert Path("scripts/main.py").read_bytes() != SCRIPT.encode()
    assert print_() == before


@pytest.mark.parametrize("name", OTHER)
def test_an_edit_with_meaning_changes_the_fingerprint(name):
    before = print_()
    write("scripts/main.py", SCRIPT.replace(*OTHER[name]))
    assert print_() != before


@pytest.mark.parametrize(
    ("text", "same"), [("# why\ndef double(value):\n    return 2 * value\n", True), ("x = 1", False)]
)
def test_an_import_counts_by_its_meaning(text, same):
    before = print_()
    write("scripts/helper.py", text)
    assert (print_() == before) is same


def test_a_script_in_scripts_has_the_name_of_its_path():
    write("scripts/train/dpo.py", "")
    assert code.script_name("scripts/train/dpo.py") == "scripts.train.dpo"
    assert list(parts("scripts/train/dpo.py")) == ["scripts.train.dpo"]


@pytest.mark.parametrize(
    "statement",
    [
        "import src_only",
        "import src_only as other",
        "from src_only import name",
        "from src_only import name as other",
        "from src_only import *",
        "def inside():\n    import src_only",
        "def inside():\n    from src_only import name",
        "class Inside:\n    import src_only",
        "if False:\n    import src_only",
        "try:\n    import src_only\nexcept ImportError:\n    pass",
        "import json, src_only",
    ],
)
def test_an_import_is_followed_wherever_it_stands(statement):
    write("src/src_only.py", "name = 1")
    write("scripts/main.py", statement)
    assert closure() == ["scripts/main.py", "src/src_only.py"]


def test_imports_are_followed_through_each_other_and_in_circles():
    write("scripts/main.py", "import a")
    write("scripts/a.py", "import b")
    write("scripts/b.py", "import a, c")
    write("scripts/c.py", "")
    assert closure() == ["scripts/a.py", "scripts/b.py", "scripts/c.py", "scripts/main.py"]


@pytest.mark.parametrize(
    "statement",
    ["import p.q.m", "import p.q.m as c", "from p.q import m", "from p.q.m import name", "from p.q.m import *"],
)
def test_the_packages_around_a_module_count(statement):
    for name in ("p/__init__", "p/q/__init__", "p/q/m", "p/other"):
        write(f"src/{name}.py", "name = 1")
    write("scripts/main.py", statement)
    assert closure() == ["scripts/main.py", "src/p/__init__.py", "src/p/q/__init__.py", "src/p/q/m.py"]


def test_what_a_package_imports_counts():
    write("src/p/__init__.py", "from .inner import name")
    write("src/p/inner.py", "from .. import p")
    write("scripts/main.py", "import p")
    assert closure() == ["scripts/main.py", "src/p/__init__.py", "src/p/inner.py"]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("from . import b", "p/q/b"),
        ("from .b import name", "p/q/b"),
        ("from .. import c", "p/c"),
        ("from ..c import name", "p/c"),
        ("from ..r import d", "p/r/d"),
        ("from .b import *", "p/q/b"),
    ],
)
def test_relative_imports_are_seen_from_the_module(statement, found):
    for name in ("p/__init__", "p/q/__init__", "p/q/b", "p/c", "p/r/__init__", "p/r/d", "b", "c", "r"):
        write(f"src/{name}.py", "name = 1")
    write("src/p/q/m.py", statement)
    write("scripts/main.py", "import p.q.m")
    around = {"p/__init__", "p/q/__init__", "p/q/m", found} | ({"p/r/__init__"} if "r" in found else set())
    assert closure() == sorted(["scripts/main.py", *(f"src/{name}.py" for name in around)])


def test_a_star_brings_the_modules_that_a_package_names():
    write("src/p/__init__.py", '__all__ = ["m"]')
    write("src/p/m.py", "name = 1")
    write("scripts/main.py", "from p import *")
    assert closure() == ["scripts/main.py", "src/p/__init__.py", "src/p/m.py"]


def test_a_folder_without_init_is_a_package_too():
    write("src/p/m.py", "name = 1")
    write("scripts/main.py", "from p import m")
    assert closure() == ["scripts/main.py", "src/p/m.py"]


def test_a_module_beside_the_script_comes_before_one_in_src_as_for_python():
    write("src/helper.py", "")
    assert closure() == ["scripts/helper.py", "scripts/main.py"]


def test_a_module_beside_the_script_hides_one_of_the_standard_library():
    write("scripts/json.py", "")
    assert closure() == ["scripts/helper.py", "scripts/json.py", "scripts/main.py"]


def test_the_package_counts_where_it_is_installed():
    write("scripts/main.py", "from bezoar.steps.evaluate.stats import Estimate")
    found = parts()
    assert {"bezoar", "bezoar.steps.evaluate.stats"} <= set(found)
    assert "numpy (package)" in found  # bezoar.steps.evaluate.stats imports it


def test_another_distribution_counts_by_its_version(monkeypatch):
    write("scripts/main.py", "import numpy.linalg")
    monkeypatch.setattr(code, "version", lambda name: "1.2.3+cu130")
    code.version_of.cache_clear()
    assert parts()["numpy (package)"] == "numpy==1.2.3"  # what it was built for says nothing
    code.version_of.cache_clear()


def test_a_distribution_with_another_name_than_its_module_is_found():
    write("scripts/main.py", "import yaml")
    assert parts()["yaml (package)"] == f"pyyaml=={yaml.__version__}"


def test_the_standard_library_has_no_version_of_its_own():
    write("scripts/main.py", "import os.path, csv\nfrom collections import abc\nimport cgi, distutils.core")
    assert set(parts()) == {"scripts.main"}  # also of what 3.12 and 3.13 have removed


def test_a_distribution_that_brings_back_a_removed_module_counts(monkeypatch):
    write("scripts/main.py", "import cgi, crypt, os")
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset({"os"}))
    monkeypatch.setattr(code, "version_of", lambda name: {"cgi": "legacy-cgi==2.6"}.get(name, f"{name}, not installed"))
    code.in_standard_library.cache_clear()
    assert set(parts()) == {"scripts.main", "cgi (package)"}
    code.in_standard_library.cache_clear()


def test_an_unknown_distribution_is_named():
    write("scripts/main.py", "import nowhere_to_be_found.part")
    assert parts()["nowhere_to_be_found (package)"] == "nowhere_to_be_found, not installed"


@pytest.mark.parametrize("content", [b"def f(:\n", b"x = 1\x00", b"x = '\xff'\n"])
def test_what_is_not_python_is_an_error_with_its_place(content):
    Path("scripts/helper.py").write_bytes(content)
    message = rf"scripts/helper\.py:1: not Python {meanings.VERSION}\n  found:    .*\n  expected: .*\nhint: "
    with pytest.raises(CacheError, match=message):
        print_()


def test_a_module_for_a_newer_python_is_an_error_under_an_older_one():
    before = print_()
    write("scripts/helper.py", "type Number = int\n")
    if sys.version_info >= (3, 12):
        assert print_() != before
    else:
        with pytest.raises(CacheError, match=r"helper\.py:1: not Python 3\.11\n(.*\n)+hint: .* newer Python"):
            print_()


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfx = 1\n", b"# -*- coding: latin-1 -*-\nx = '\xe9'\n"])
def test_what_python_reads_is_python(content):
    Path("scripts/helper.py").write_bytes(content)
    assert print_()


def test_modules_are_remembered_by_content(monkeypatch):
    closures = Closures(Hasher(None))
    before = closures.parts("scripts/main.py")
    closures.save()
    monkeypatch.setattr(meanings, "meaning", lambda *arguments, **options: pytest.fail("read again"))
    assert parts() == before


@pytest.mark.parametrize("reads", ["helper.double.__doc__", "inspect.getsource(helper.double)"])
def test_docstrings_of_all_modules_count_if_one_of_them_reads_those_of_others(reads):
    write("scripts/main.py", f"import helper, inspect\nprint({reads})\n")
    before = print_()
    write("scripts/helper.py", 'def double(value):\n    """Twice."""\n    return 2 * value\n')
    assert print_() != before


def test_the_version_of_a_distribution_in_development_counts_whole(monkeypatch):
    monkeypatch.setattr(code, "version", lambda name: "0.1.dev3+gaaa")
    code.version_of.cache_clear()
    assert code.version_of("torch") == "torch==0.1.dev3+gaaa"
    code.version_of.cache_clear()


@pytest.mark.parametrize("garbage", ["", "garbage", "[]", "1", "null", '{"a": 1}'])
def test_a_memory_that_is_garbage_is_ignored(garbage):
    before = parts()
    write(meanings.MEMORY, garbage)
    closures = Closures(Hasher(None))
    assert closures.parts("scripts/main.py") == before
    closures.save()
    assert len(json.loads(Path(meanings.MEMORY).read_text())) == 2  # main and helper


def test_a_rules_command_counts_without_its_layout():
    assert rule_print("a  {input}\n   --out b\n") == rule_print("a {input} --out b")
    assert rule_print("a {input}") != rule_print("a {output}")


def test_an_acceptance_stands_for_all_earlier_ones():
    known = {("s", "3"): {"was": "2"}, ("s", "2"): {"was": "1"}, ("t", "1"): {"was": "0"}}
    assert [earliest("s", name, known) for name in "0123"] == ["0", "1", "1", "1"]
    assert earliest("t", "3", known) == "3"  # acceptances of one script say nothing of another


def test_acceptances_in_a_circle_end():
    known = {("s", "1"): {"was": "2"}, ("s", "2"): {"was": "1"}}
    assert earliest("s", "1", known) in ("1", "2")


def accept(was, now):
    write(code.ACCEPTED, yaml.safe_dump([{"code": "scripts.main", "was": was, "now": now, "reason": "renamed"}]))


def test_an_accepted_edit_keeps_the_fingerprint_and_an_edit_after_it_does_not():
    before = Code({}, Hasher(None)).prints["scripts.main"]
    write("scripts/main.py", SCRIPT.replace("values", "rows"))
    found = Code({}, Hasher(None))
    assert found.prints["scripts.main"] != before
    accept(before, found.found["scripts.main"])
    assert Code({}, Hasher(None)).prints["scripts.main"] == before
    assert code.accepted_fingerprint("scripts.main", Closures(Hasher(None))) == before
    write("scripts/main.py", SCRIPT.replace("values", "lines"))
    write("scripts/main.py", Path("scripts/main.py").read_text() + "\nmore = 1\n")
    assert Code({}, Hasher(None)).prints["scripts.main"] != before


@pytest.mark.parametrize("text", ["[", "1", "- a", "- {code: a}", "a: b", "- {code: [], now: b, was: c, reason: d}"])
def test_acceptances_that_are_garbage_are_an_error(text):
    write(code.ACCEPTED, text)
    with pytest.raises(CacheError, match=r"code.accepted.yaml can't be read\n  found:    (.|\n)*hint: restore it"):
        Code({}, Hasher(None))


def test_acceptances_in_bytes_that_are_no_text_are_an_error():
    Path(code.ACCEPTED).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CacheError, match=r"code\.accepted\.yaml can't be read"):
        Code({}, Hasher(None))


def test_code_lock_holds_rules_and_scripts_by_name():
    found = Code({"mix": "bezoar exec a -- b"}, Hasher(None))
    held = yaml.safe_load(found.text)
    assert set(held) == {"rules", "scripts"}
    assert held["rules"] == {"mix": rule_print("bezoar exec a -- b")}
    assert set(held["scripts"]) == {"main", "helper"}


def test_code_lock_is_written_only_if_it_changed():
    found = Code({}, Hasher(None))
    found.write("cache")
    os.utime(code.CODE_LOCK, ns=(1, 1))
    found.write("cache")
    assert os.stat(code.CODE_LOCK).st_mtime_ns == 1


@pytest.mark.parametrize("garbage", [b"", b"<<<<<<< HEAD\n", b"\xff\xfe\x00"])
def test_a_code_lock_that_is_garbage_is_written_anew(garbage):
    Path(code.CODE_LOCK).write_bytes(garbage)
    found = Code({}, Hasher(None))
    found.write("cache")
    assert Path(code.CODE_LOCK).read_text() == found.text


def test_a_cache_that_can_not_be_written_is_an_error_with_the_way_out():
    write("cache", "a file")
    with pytest.raises(CacheError, match=r"the cache can't be written to\n(.|\n)*hint: "):
        Code({}, Hasher(None)).write("cache")


def test_what_a_fingerprint_was_made_of_is_kept():
    found = Code({}, Hasher(None))
    found.write("cache")
    assert code.parts_of(found.found["scripts.main"], "cache") == parts()
    assert code.parts_of("0" * 32, "cache") is None


def test_a_fingerprint_that_looks_like_a_number_stays_a_text():
    looks = "1" * 20 + "e" + "2" * 11
    made = Code({}, Hasher(None))
    made.prints = {"rules.mix": looks, "scripts.main": "0" * 32}
    assert parse_yaml(made.text, "code.lock") == {"rules": {"mix": looks}, "scripts": {"main": "0" * 32}}
