"""Code of a process that isn't traced counts by its imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.cache import trace
from bezoar.cache.hashing import Hasher

CODE = [
    "scripts/main.py",
    "scripts/helper.py",
    "scripts/unused.py",
]  # the text of main.py imports both, and it loads one


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scripts").mkdir()
    Path("scripts/main.py").write_text("import helper\nif not helper.RATE:\n    import unused\n")
    Path("scripts/helper.py").write_text("RATE = 1\n")
    Path("scripts/unused.py").write_text("RATE = 2\n")


def used(*flags: str) -> trace.Trace:
    """The trace of a run of main.py."""
    variables = trace.variables("log.jsonl", {})
    subprocess.run([sys.executable, *flags, CODE[0]], env={**os.environ, **variables}, check=True)
    return trace.read("log.jsonl", Hasher(), [], code=CODE).trace


def test_a_traced_script_depends_on_what_it_loads() -> None:
    assert set(used().modules) == set(CODE[:2])


@pytest.mark.parametrize("flag", ["-E", "-S"])
def test_a_script_that_is_not_traced_depends_on_all_that_its_text_imports(flag: str) -> None:
    found = used(flag)
    assert set(found.modules) == set(CODE)
    assert trace.Verifier(Hasher()).changes(found) == []
    Path("scripts/unused.py").write_text("RATE = 3\n")
    assert [one.name for one in trace.Verifier(Hasher()).changes(found)] == ["scripts/unused.py"]
