"""Which run a process belongs to, and what of earlier runs is removed."""

import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.cache import runs
from bezoar.cache.build import _clear_but

TELL = f"{sys.executable} -c 'from bezoar.cache.runs import of_dvc; print(of_dvc())'"
STARTER = f"""
import os, subprocess
print(os.getpid(), flush=True)
for _ in range(2):
    subprocess.run(["sh", "-c", {TELL!r} + "; true"], check=True)
"""
linux = pytest.mark.skipif(not runs.PROCESSES.is_dir(), reason="processes above are found by /proc")


def said(*command: str) -> list[str]:
    """What a command says, line by line."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


@linux
def test_all_that_one_dvc_starts_is_one_run_and_the_next_dvc_another(tmp_path):
    script = tmp_path / "dvc"
    script.write_text(STARTER)
    found = []
    for _ in range(2):
        process, one, other = said(sys.executable, str(script), "repro")
        assert one == other
        assert one.startswith(f"{process}-")
        found.append(one)
    assert found[0] != found[1]


@linux
def test_without_dvc_above_it_a_run_is_one_of_its_own(tmp_path, monkeypatch):
    script = tmp_path / "dvc.py"
    script.write_text(STARTER)
    assert said(sys.executable, str(script), "dvc")[-2:] == ["None", "None"]
    monkeypatch.delenv(runs.RUN_VARIABLE, raising=False)
    assert runs.identity() != runs.identity()
    monkeypatch.setenv(runs.RUN_VARIABLE, "this-one")
    assert runs.identity() == "this-one"


@pytest.mark.parametrize(
    ("command", "is_dvc"),
    [
        ("/bin/dvc repro", True),
        ("/bin/python3.11 /bin/dvc repro", True),
        ("python -m dvc repro", True),
        ("python -I /bin/dvc exp run", True),
        ("sh -c dvc", False),
        ("vim dvc", False),
        ("bezoar dvc", False),
        ("python /bin/bezoar dvc", False),
        ("", False),
    ],
)
def test_a_command_that_is_dvc(command, is_dvc):
    assert runs._is_dvc(command.split(" ")) is is_dvc


def test_a_new_run_removes_all_but_what_its_own_earlier_stages_spent(tmp_path):
    kept = tmp_path / "spent/this"
    for name in ("spent/this/a.json", "spent/this/halted", "spent/last/a.json", "jobs/a.json", "run.json", "spent/b"):
        path = Path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    _clear_but(tmp_path, kept)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.json", "halted"]
    _clear_but(tmp_path, tmp_path / "spent/next")
    assert [path.name for path in tmp_path.rglob("*")] == ["spent"]
    _clear_but(tmp_path / "nothing", kept)
