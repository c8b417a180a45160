"""What the README says of plain Snakemake and plain DVC, each without Bezoar, on one small step.

What Bezoar does in the same situations is in test_situations.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workspace

SNAKEFILE = """\
configfile: "params.yaml"

rule count:
    input: script="count.py", words="words.txt"
    output: "count.txt"
    params: low=config["low"]
    shell: "python {input.script} {input.words} {params.low} {output}"
"""
DVC = """\
stages:
  count:
    cmd: python count.py words.txt ${low} count.txt
    deps: [count.py, words.txt]
    params: [low]
    outs: [count.txt]
"""
COUNT = """\
import sys
from helper import longer
open("ran", "a").write("count\\n")
words, low, out = sys.argv[1:]
open(out, "w").write(str(longer(open(words).read().split(), int(low))))
"""
HELPER = "def longer(words, low):\n    return sum(len(word) >= low for word in words)\n"
FILES = {"params.yaml": "low: 3\n", "words.txt": "a an and", "count.py": COUNT, "helper.py": HELPER}
PLAIN = {
    "snakemake": ({"Snakefile": SNAKEFILE}, ("snakemake", "--cores", "1", "count.txt")),
    "dvc": ({"dvc.yaml": DVC}, ("dvc", "repro", "--quiet")),
}


class Plain(Workspace):
    """A small project of one of the two tools."""

    command: tuple[str, ...] = ()

    def ran(self) -> int:
        """How often the step ran in a build."""
        (self.root / "ran").write_text("")
        self.run(*self.command)
        return len((self.root / "ran").read_text().splitlines())

    def put(self, name: str, text: str) -> None:
        """Write a file."""
        (self.root / name).write_text(text)


@pytest.fixture(params=sorted(PLAIN))
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Plain:
    """A project that is built, in a repository."""
    files, command = PLAIN[request.param]
    root = tmp_path / "plain"
    root.mkdir()
    environment = {"PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.defpath]), "HOME": str(tmp_path)}
    made = Plain(root, environment | {"LANG": "C.UTF-8", "DVC_NO_ANALYTICS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    made.command = command
    for name, text in {**FILES, **files}.items():
        (root / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    if request.param == "dvc":
        made.run("dvc", "init", "--quiet")
    assert (made.ran(), made.ran()) == (1, 0)
    return made


def test_an_edit_of_a_module_that_the_script_imports_reruns_nothing(plain: Plain) -> None:
    plain.put("helper.py", HELPER.replace(">=", ">"))
    assert plain.ran() == 0  # count.txt is wrong now


def test_a_comment_in_the_script_reruns_its_step(plain: Plain) -> None:
    plain.put("count.py", f"# counts words\n{COUNT}")
    assert plain.ran() == 1


def test_a_value_that_is_changed_back_is_restored_by_dvc_and_made_again_by_snakemake(plain: Plain) -> None:
    plain.put("params.yaml", "low: 2\n")
    assert plain.ran() == 1
    plain.put("params.yaml", "low: 3\n")
    assert plain.ran() == {"dvc": 0, "snakemake": 1}[plain.command[0]]


def test_an_undeclared_file_is_read_and_its_edit_reruns_nothing(plain: Plain) -> None:
    plain.put("more.txt", "or")
    plain.put("count.py", COUNT + 'open("more.txt").read()\n')
    assert plain.ran() == 1
    plain.put("more.txt", "else")
    assert plain.ran() == 0


def test_a_clone_runs_all_with_snakemake_and_nothing_after_a_pull_with_dvc(plain: Plain, tmp_path: Path) -> None:
    dvc = plain.command[0] == "dvc"
    if dvc:
        plain.run("dvc", "remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
        plain.run("dvc", "push", "--quiet")
    unknown_to_git = shutil.ignore_patterns(".snakemake", "count.txt", "ran", "cache", "tmp")
    shutil.copytree(plain.root, tmp_path / "clone", ignore=unknown_to_git)
    plain.root = tmp_path / "clone"
    if dvc:
        plain.run("dvc", "pull", "--quiet")
    assert plain.ran() == (0 if dvc else 1)
