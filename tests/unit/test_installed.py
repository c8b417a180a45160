"""What comes with the package is found by its name, a project's own file first; `bezoar init` leaves files alone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from test_cache_dvc import step

from bezoar import installed
from bezoar.cache import code, remote
from bezoar.cache.hashing import Hasher
from bezoar.cache.prints import Code
from bezoar.cache.records import Records
from bezoar.cache.stages import code_stage, stages_of
from bezoar.cache.trace import Verifier
from bezoar.cli import init, main

SAME = {  # what a new project has as this repository has it
    ".dvc/.gitignore": "dot-dvc/dot-gitignore",
    ".dvc/config": "dot-dvc/config",
    ".dvcignore": "dot-dvcignore",
    ".gitattributes": "dot-gitattributes",
}
SHIPPED = [path.stem for where in ("*.yaml", "gallery/*.yaml") for path in (ROOT / "recipes").glob(where)]
MERGE = "scripts/train/merge.py"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder; the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def test_a_packaged_file_is_found_by_the_name_that_a_checkout_gives_it(folder):
    assert installed.find(MERGE) == str(ROOT / MERGE)
    assert installed.name_of(installed.find(MERGE)) == MERGE
    assert code.script_name(installed.find(MERGE)) == "scripts.train.merge"


def test_a_projects_own_file_comes_first(folder):
    write(MERGE, "x = 1\n")
    assert installed.find(MERGE) == MERGE


def test_what_is_nowhere_keeps_its_name(folder):
    assert installed.find("scripts/none.py") == "scripts/none.py"


def of_script(name, *, packaged=True):
    """The code of a stage with a script of the package, or the project's own in its place."""
    hasher = Hasher(None)
    stages = stages_of([replace(step("merge", outputs=("m",)), script=installed.find(name))])
    return Code(stages, {}, Records(), hasher, Verifier(hasher), packaged=packaged)


def test_a_packaged_script_counts_and_a_projects_own_in_its_place(folder):
    packaged = of_script(MERGE)
    assert packaged.more == []  # no file of the project shows it
    write(MERGE, "x = 1\n")
    own = of_script(MERGE)
    assert own.prints["merge"] != packaged.prints["merge"]
    assert own.more == [MERGE]


def test_a_packaged_script_means_what_it_means_in_the_checkout(folder, monkeypatch):
    packaged = of_script(MERGE).prints
    monkeypatch.chdir(ROOT)
    checkout = of_script(MERGE)
    assert checkout.prints == packaged
    assert not checkout.elsewhere


def test_dvc_looks_at_the_code_each_time_where_no_file_of_the_project_shows_it(folder):
    assert of_script(MERGE).elsewhere
    assert not of_script(MERGE, packaged=False).elsewhere
    assert code_stage(elsewhere=True)["always_changed"] is True
    assert "always_changed" not in code_stage()


@pytest.mark.parametrize("name", SAME)
def test_a_new_project_is_set_up_as_this_repository(name):
    cure = f"hint: bring src/bezoar/template/{SAME[name]} into step with {name}"
    assert (init.TEMPLATE / SAME[name]).read_bytes() == (ROOT / name).read_bytes(), cure


@pytest.mark.parametrize("name", [".venv", ".git"])
def test_an_environment_or_a_repository_may_be_there_before(folder, name):
    (folder / name).mkdir()
    init._check_empty(folder)


@pytest.mark.parametrize("there", ["mine/params.yaml", "mine"])
def test_a_folder_that_holds_files_is_refused_and_left_alone(folder, capsys, there):
    write(there, "mine\n")
    assert main(["init", "mine"]) == 1
    assert capsys.readouterr().err.startswith("mine is not empty\n")
    assert Path(there).read_text() == "mine\n"
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / there]


def test_a_message_names_a_page_where_it_is(folder):
    text = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py") if "steps" not in path.parts)
    named = set(re.findall(r"""find\(['"](docs/[\w/-]+\.md)""", text)) | {remote.PAGE}
    assert len(named) == 3
    for name in named:
        assert installed.find(name) == str(ROOT / name)
        assert Path(installed.find(name)).is_file()


def test_an_unknown_recipe_is_refused_before_anything_is_made(folder, capsys):
    assert main(["init", "mine", "--recipe", "tini"]) == 1
    expected = ", ".join(sorted(SHIPPED))
    assert f"no such recipe\n  found:    tini\n  expected: {expected}" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_packaged_recipe_comes_with_what_it_names(folder, capsys):
    write("params.yaml", "recipe: mine\n")
    write("recipes/prompts/openbezoar-3b/orca.yaml", "own: true\n")
    assert main(["recipe", "use", "openbezoar-3b", "--force"]) == 0
    assert capsys.readouterr().out == "params.yaml is now recipes/openbezoar-3b.yaml\n"
    assert main(["recipe", "check"]) == 0
    named = {path.name for path in Path("recipes/prompts/openbezoar-3b").iterdir()}
    assert named == {path.name for path in (ROOT / "recipes/prompts/openbezoar-3b").iterdir()}
    assert Path("recipes/prompts/openbezoar-3b/orca.yaml").read_text() == "own: true\n"


def test_recipes_of_the_package_are_listed_beside_a_projects_own(folder, capsys):
    write("params.yaml", "recipe: mine\n")
    write("recipes/mine.yaml", "recipe: mine\n")
    assert main(["recipe", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{'*' if name == 'mine' else ' '} {name}" for name in sorted(["mine", *SHIPPED])
    ]
