"""`bezoar init` makes a project that builds; docs/how-to/own-rules-example.md works in it, word by word."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import GUARD, ROOT, Workspace

GUIDE = (ROOT / "docs/how-to/own-rules-example.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STAGES = {
    "base-base",
    "certificate-instructions",
    "certified-instructions",
    "clearance-instructions",
    "merge-sft",
    "mix-instructions",
    "page",
    "source-instructions",
    "source-text",
    "train-sft",
    "words-instructions",
}


def shell(folder: Path) -> Workspace:
    """An empty folder, and a shell in it."""
    (folder / "home").mkdir()
    bin_folder = str(Path(sys.executable).parent)
    environment = {"PATH": os.pathsep.join([bin_folder, os.defpath]), "HOME": str(folder / "home"), "LANG": "C.UTF-8"}
    return Workspace(folder, environment | {"PYTHONPATH": str(GUARD), "HF_HUB_OFFLINE": "1"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A new project, to be copied."""
    outside = shell(tmp_path_factory.mktemp("init"))
    said = outside.run("bezoar", "init", "mine")
    assert "next: `cd mine`" in said
    return replace(outside, root=outside.root / "mine")


@pytest.fixture
def project(made: Workspace, tmp_path: Path) -> Workspace:
    """A new project of a test's own."""
    shutil.copytree(made.root, tmp_path / "mine")
    return replace(made, root=tmp_path / "mine")


def stages(project: Workspace) -> dict:
    return yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]


def test_a_new_project_is_planned_whole_by_both_front_ends(project):
    plan = json.loads(project.run("bezoar", "plan", "--json"))
    assert {one["stage"] for one in plan["stages"]} == STAGES
    assert stages(project).keys() == STAGES | {"code"}
    assert stages(project)["code"]["always_changed"] is True  # no file of the project shows an upgrade of the package


def test_what_is_generated_names_packaged_scripts_as_a_checkout_does(project):
    code = yaml.safe_load((project.root / "code.lock").read_text())
    assert code["stages"].keys() == STAGES
    for name in ("code.lock", "dvc.yaml", "params.resolved.yaml"):
        assert str(ROOT) not in (project.root / name).read_text()
    assert not (project.root / "scripts/train").exists()


def test_git_takes_all_of_a_new_project(project):
    project.run("git", "add", "--all")
    tracked = project.run("git", "ls-files").split()
    assert {"data/instructions.jsonl", "dvc.yaml", "params.resolved.yaml", "rules/own.smk"} <= {*tracked}
    assert not [path for path in tracked if path.startswith((".snakemake/", ".dvc/tmp/"))]


def test_a_project_may_start_from_a_recipe_that_comes_with_bezoar(tmp_path):
    outside = shell(tmp_path)
    outside.run("bezoar", "init", "big", "--recipe", "tiny")
    project = replace(outside, root=tmp_path / "big")
    assert (project.root / "params.yaml").read_bytes() == (ROOT / "recipes/tiny.yaml").read_bytes()
    assert "* tiny" in project.run("bezoar", "recipe", "list").splitlines()
    own = {name for name in stages(project) if name.startswith("words-")}
    assert own
    assert stages(project).keys() - own == yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].keys()


def test_the_example_of_the_guide_builds_and_an_edit_reruns_what_reads_it(project):
    files = dict(FILE.findall(GUIDE))
    with (project.root / "params.yaml").open("a") as file:
        file.write(files.pop("params.yaml"))
    for path, text in files.items():
        (project.root / path).write_text(text)
    snakefile = project.root / "Snakefile"
    [line] = [line for line in snakefile.read_text().splitlines() if "results/words/{mix}.json" in line]
    snakefile.write_text(snakefile.read_text().replace(line, '        "results/texts.json",'))
    (project.root / "data/alice.txt").write_text("The cat sat. Yes. A dog ran away. The cat ran.")
    (project.root / "data/bruno.txt").write_text("A cat sat down. The dog slept.")
    project.run("snakemake", "results/texts.json")
    report = json.loads((project.root / "results/texts.json").read_text())
    # alice: the cat sat a dog ran away; bruno: a cat sat down the dog slept; shared: the cat sat a dog
    assert (report["words"], report["shared"]) == ({"alice": 7, "bruno": 7}, 5)
    assert [len(rows) for rows in report["samples"].values()] == [2, 2]
    before, _, after = (project.root / "params.yaml").read_text().partition("sample: 2")
    (project.root / "params.yaml").write_text(f"{before}sample: 1{after}")
    plan = json.loads(project.run("bezoar", "plan", "results/texts.json", "--json"))
    assert [one["stage"] for one in plan["stages"]] == ["sample-alice", "compare"]


# --- the wheel --------------------------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path: Path) -> Workspace:
    """An environment with the wheel, and no editable install; other packages are those of this environment."""
    source, environment = tmp_path / "source", tmp_path / "environment"
    source.mkdir()
    for name in ("src", "rules", "scripts", "recipes", "profiles", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    subprocess.run((*pip, "wheel", source, "--no-deps", "--no-build-isolation", "-w", tmp_path), check=True)
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", environment), check=True)
    python = environment / "bin" / "python"
    [packages] = environment.glob("lib/python*/site-packages")
    [others] = Path(sys.prefix).glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(f"{others}\n")
    [built] = tmp_path.glob("*.whl")
    install = ("install", "--no-deps", "--no-index", "--force-reinstall", built)
    subprocess.run((*pip, "--python", python, *install), check=True)
    for name in ("dvc", "snakemake"):
        text = (Path(sys.executable).parent / name).read_text().partition("\n")[2]
        (environment / "bin" / name).write_text(f"#!{python}\n{text}")
        (environment / "bin" / name).chmod(0o755)
    shutil.rmtree(source)
    outside = shell(tmp_path)
    path = os.pathsep.join([str(environment / "bin"), os.defpath])
    return Wheel(outside.root, outside.environment | {"PATH": path})


class Wheel(Workspace):
    """A shell in which nothing starts warm: what does is this environment's."""

    WARM = False


@pytest.mark.long
def test_a_project_of_the_wheel_builds_by_both_front_ends(wheel):
    assert wheel.run("bezoar", "--version").startswith("bezoar ")
    assert "init" in wheel.run("bezoar", "completion", "bash")
    wheel.run("bezoar", "init", "mine")
    project = replace(wheel, root=wheel.root / "mine")
    generated = {name: (project.root / name).read_text() for name in ("code.lock", "dvc.yaml", "params.resolved.yaml")}
    assert not [name for name, text in generated.items() if "site-packages" in text or str(wheel.root) in text]
    project.run("dvc", "repro")
    assert json.loads((project.root / "results/words/instructions.json").read_text())["rows"] == 10  # of 12, 2 held out
    assert "Nothing to be done" in project.run("snakemake")
    assert {name: (project.root / name).read_text() for name in generated} == generated
    own = project.root / "scripts/data/source.py"  # of ours, a script of the project's own takes the place
    own.parent.mkdir()
    own.write_text("print('own')\n")
    project.run("bezoar", "dvc")
    changed = yaml.safe_load((project.root / "code.lock").read_text())
    before = yaml.safe_load(generated["code.lock"])
    assert changed["scripts"]["data"].pop("source") != before["scripts"]["data"].pop("source")
    assert changed == before


@pytest.mark.long
def test_the_wheel_gives_code_the_fingerprints_that_the_checkout_gives_it(wheel, made):
    wheel.run("bezoar", "init", "mine")
    assert (wheel.root / "mine/code.lock").read_bytes() == (made.root / "code.lock").read_bytes()
