"""What set-up installs is what constraints.txt pins, each file by its hash."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
CURE = "requirements/*.txt are behind constraints.txt\nhint: run `make lock` and commit the result"


def name_of(line):
    return re.sub(r"[-_.]+", "-", re.split(r"[=\[ ]", line)[0]).lower()


def pins(path):
    """Version by name, as a file pins them."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", " "))]
    return {name_of(line): line.split("==")[1].split()[0] for line in lines}


def test_set_up_installs_the_versions_that_constraints_pin():
    pinned = pins(ROOT / "constraints.txt")
    required = {name: version for path in FILES if path.name != "cuda.txt" for name, version in pins(path).items()}
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
