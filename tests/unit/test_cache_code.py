"""A script's fingerprint changes with what it means and with all that it imports, and with nothing else."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from bezoar.cache import CacheError, code, meanings
from bezoar.cache.code import Closures, fingerprint
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
