"""What set-up installs is what constraints.txt pins, each file by its hash."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
APART = ("cuda.txt", "smollm2.txt")  # for builds of torch with CUDA; a model, for `make smollm2`
CURE = "requirements/*.txt are behind constraints.txt\nhint: run `make lock` and commit the result"


def name_of(line):
    return re.sub(r"[-_.]+", "-", re.split(r"[=\[ ]", line)[0]).lower()


def pins(path):
    """Version by name, as a file pins them."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", " "))]
    return {name_of(line): line.split("==")[1].split()[0] for line in lines}


def test_set_up_installs_the_versions_that_constraints_pin():
    pinned = pins(ROOT / "constraints.txt")
    required = {name: version for path in FILES if path.name not in APART for name, version in pins(path).items()}
    assert {name: required.get(name) for name in pinned} == pinned, CURE
    # besides them, only what other platforms need
    assert set(required) - set(pinned) <= {"httpx2-jsfetch", "pyreadline3", "pywin32", "tzdata"}, CURE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_package_has_the_hashes_of_its_files(path):
    for block in re.split(r"\n(?=[a-z])", path.read_text())[1:]:
        assert re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}", block), block


def test_set_up_installs_nothing_without_a_hash_but_the_project_and_a_torch_that_is_asked_for():
    lines = (ROOT / "Makefile").read_text().splitlines()
    calls = [
        line.strip() for line in lines if "pip install" in line or line.strip().startswith(("$(PIP)", "$(HASHED)"))
    ]
    open_ = [line for line in calls if "HASHED" not in line and not line.startswith("PIP :=")]
    assert open_ == [
        "$(PIP) --constraint constraints.txt torch",  # make setup TORCH=unchecked
        "$(PIP) --no-deps --no-build-isolation --editable .",
        ".venv/lock/bin/pip install --quiet --disable-pip-version-check uv",  # for those who renew versions
    ]


@pytest.mark.parametrize(
    ("runs", "arguments", "chosen"),
    [
        (["python3.12", "python3"], [], "python3.12"),
        (["python3.11", "python3.12"], [], "python3.11"),
        (["python3"], [], "python3"),
        (["python3.11", ".venv/bin/python"], [], ".venv/bin/python"),  # an environment keeps its own
        (["python3.11", "python3.13"], ["PYTHON=python3.13"], "python3.13"),
    ],
)
def test_set_up_takes_the_first_python_that_runs(tmp_path, runs, arguments, chosen):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("python3.11", "python3.12", "python3.13", "python3", ".venv/bin/python"):
        path = tmp_path / name if "/" in name else tmp_path / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n' if name in runs else "#!/bin/sh\nexit 127\n")
        path.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PYTHON")}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    command = ["make", "--no-print-directory", "--dry-run", "lock", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"{chosen} -m venv")


def test_actions_of_workflows_are_pinned_by_commit_with_their_version():
    used = [
        line.partition("uses:")[2].strip()
        for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", one)] == []
