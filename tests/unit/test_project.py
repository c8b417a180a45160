"""Commands find the project around them, and say what is wrong without a traceback."""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_cli import repository  # noqa: F401 - a fixture

from bezoar.cache import CacheError, locks, plan, stages
from bezoar.cache.form import shell_syntax
from bezoar.cache.graph import Elsewhere
from bezoar.cli import main, project
from bezoar.recipe.load import active, load, plain

NOWHERE = [
    ["plan"],
    ["costs"],
    ["verify"],
    ["dvc"],
    ["fingerprint"],
    ["accept", "a", "--reason", "b"],
    ["serve", "teacher"],
    ["responses"],
    ["recipe", "check"],
    ["recipe", "list"],
    ["recipe", "fallbacks"],
    ["recipe", "use", "tiny"],
]


@pytest.mark.parametrize("words", NOWHERE, ids=" ".join)
def test_in_an_empty_folder_every_command_says_where_to_go(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("no project here\n  found:    no Snakefile or params.yaml in ")
    assert list(tmp_path.iterdir()) == []


def test_a_subfolder_is_in_the_project_around_it(repository, monkeypatch, capsys):  # noqa: F811
    (repository / "docs").mkdir()
    monkeypatch.chdir(repository / "docs")
    assert main(["recipe", "check"]) == 0
    assert main(["recipe", "list"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("params.yaml: recipe tiny is sound")
    assert shown.err == f"in {repository}:\n"


def test_a_file_that_is_named_in_a_subfolder_is_that_one(repository, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(repository / "recipes")
    assert main(["recipe", "check", "openbezoar-3b.yaml"]) == 0
    assert capsys.readouterr().out.startswith("recipes/openbezoar-3b.yaml: recipe openbezoar-3b is sound")


def test_a_repository_of_something_else_around_is_not_the_project(repository, monkeypatch):  # noqa: F811
    (repository / "other" / ".git").mkdir(parents=True)
    monkeypatch.chdir(repository / "other")
    with pytest.raises(CacheError, match="no project here"):
        project.root()


def test_a_project_without_a_snakefile_has_no_plan(repository, capsys):  # noqa: F811
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith("no Snakefile here\n  found:    none in ")


@pytest.mark.parametrize("words", [["check"], ["fallbacks"]])
def test_a_byte_that_is_not_utf_8_is_found_at_its_line(repository, capsys, words):  # noqa: F811
    with open("params.yaml", "ab") as file:
        file.write(b"# caf\xe9\n")
    line = Path("params.yaml").read_bytes().count(b"\n")
    assert main(["recipe", *words]) == 1
    assert capsys.readouterr().err == (
        f"params.yaml:{line}: not UTF-8\n  found:    byte 0xe9\n  expected: text in UTF-8\n"
        "hint: save the file as UTF-8; it may be in Latin-1\n"
    )
    assert main(["recipe", "list"]) == 0


@pytest.mark.parametrize("words", [["check", "none.yaml"], ["fallbacks", "none.yaml"], ["check", "recipes"]])
def test_a_recipe_that_is_no_file_is_an_error(repository, capsys, words):  # noqa: F811
    assert main(["recipe", *words]) == 1
    assert f"{words[-1]}: no params file here\n" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "a: \x07", "[" * 100_000])
def test_what_is_not_yaml_is_an_error_of_the_recipe(repository, capsys, text):  # noqa: F811
    Path("params.yaml").write_text(text)
    assert main(["recipe", "check"]) == 1
    assert "not YAML\n  found:    " in capsys.readouterr().err
    assert main(["recipe", "fallbacks"]) == 1


def test_an_error_of_a_file_names_it_and_other_errors_keep_their_traceback(repository, monkeypatch, capsys):  # noqa: F811
    def fail(args):
        raise error

    monkeypatch.setattr("bezoar.cli.plan.run", fail)
    error = PermissionError(13, "Permission denied", "data/x")
    assert main(["plan"]) == 1
    expected = "a file or a directory that this user may read and write"
    assert capsys.readouterr().err == f"data/x can't be used\n  found:    Permission denied\n  expected: {expected}\n"
    error = KeyError("a fault of ours")
    with pytest.raises(KeyError):
        main(["plan"])


# --- a local file that isn't the pinned one -------------------------------------------------------------------------


def with_file(content, sha256):
    """The tiny recipe with a source of a local file."""
    Path("rows.jsonl").write_bytes(content)
    recipe = yaml.safe_load(Path("params.yaml").read_text())
    source = next(iter(recipe["sources"].values()))
    recipe["sources"]["mine"] = {**source, "origin": {"kind": "file", "path": "rows.jsonl", "sha256": sha256}}
    Path("params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def test_a_local_file_that_is_not_the_pinned_one_is_found_by_recipe_check(repository, capsys):  # noqa: F811
    row = b'{"text": "A text."}\n'  # the first rows are looked at, too
    with_file(row, hashlib.sha256(row).hexdigest())
    assert main(["recipe", "check"]) == 0
    Path("rows.jsonl").write_bytes(b"b")
    assert main(["recipe", "check"]) == 1
    assert "sources.mine.origin.sha256: rows.jsonl is not the pinned file\n  found:    sha256 3e23e81600" in (
        capsys.readouterr().err
    )
    load()  # a job has its own check of what it reads


# --- bezoar plan -S -------------------------------------------------------------------------------------------------


PARAMS = {"seed": 1, "stages": {"dpo_hh": {"beta": 0.1}}, "evals": {"mt": {"repeats": 2}}}


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("seeed=1", "did you mean `seed`?"),
        ("stages.dpo_hh.bta=1", "did you mean `stages.dpo_hh.beta`?"),
        ("stages.dpo.beta=1", "did you mean `stages.dpo_hh.beta`?"),
        ("beta=1", "did you mean `stages.dpo_hh.beta`?"),
        ("bta=1", "did you mean `stages.dpo_hh.beta`?"),
        ("seed", "-S seed=VALUE"),
        ("qqqq=1", "`bezoar recipe check` names the blocks"),
    ],
)
def test_a_misspelt_name_comes_with_the_nearest_one(tmp_path, monkeypatch, setting, hint):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    with pytest.raises(CacheError) as caught:
        plan._changed([setting])
    assert str(caught.value).endswith(f"\nhint: {hint}")


def test_a_value_that_does_not_fit_is_reported_of_the_setting_and_not_of_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEZOAR_PARAMS", "mine.yaml")
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))

    def read():
        with plan._set(["seed=abc", "stages.dpo_hh.beta=0x10"]):
            assert plain()["stages"]["dpo_hh"]["beta"] == 16
            raise CacheError(f"{active()}:2: seed: the value does not fit")

    with pytest.raises(CacheError) as caught:
        read()
    given = "params.yaml with -S seed=abc -S stages.dpo_hh.beta=0x10"
    assert str(caught.value) == f"{given}: seed: the value does not fit"
    assert str(active()) == "mine.yaml"


def test_a_setting_that_is_not_yaml_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    with pytest.raises(CacheError, match=r"-S seed=\[: not YAML"):
        plan._changed(["seed=["])


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("bezoar exec {output} -- python a.py > {log}", "> {log}"),
        ("bezoar exec {output} -- python a.py 2> {log:q}", "2> {log:q}"),
        ("bezoar exec {output} -- python a.py | tee x", "| tee x"),
        ("bezoar exec {output} -- python a.py && touch b", "&& touch b"),
        ("\n  bezoar exec {output} -- \\\n    python a.py\n  touch b\n", "\n  touch b"),
        ("bezoar exec {output} -- python a.py $HOME", "$HOME"),
        ("bezoar exec {output} -- python a.py `date`", "`date`"),
        ("bezoar exec {output} -- bash -c 'a > b | c'", ""),
        ('bezoar exec {output} -- python a.py --text "a > b; \\" c"', ""),
        ("\n  bezoar exec {output} -- \\\n    python a.py --n {wildcards.n} \n", ""),
        (r"bezoar exec {output} -- grep -c a\>b {input}", ""),
    ],
)
def test_what_a_shell_would_act_on_is_found_in_a_command(command, found):
    assert shell_syntax(command).strip() == found.strip().split("\n")[0]


def test_a_stage_of_a_target_that_results_do_not_need_may_be_missing_in_dvc_yaml():
    class Stage:
        name, complete = "plot-x", True

    assert stages.check({"plot-x": Stage()}, {"train-a": {}}, whole=False) == ["plot-x"]


# --- a tree that can't be written ------------------------------------------------------------------------------------


def test_questions_need_no_lock_where_none_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".snakemake").write_text("")  # no folder can be made there
    with locks.forget_killed_runs() as file:
        assert file.name == os.devnull


def test_questions_keep_snakemakes_records_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = Elsewhere(nolock=True)
    kept.drop_iocache()
    assert not str(kept.path).startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


# --- version, completion, start -------------------------------------------------------------------------------------


def test_the_version_is_reported(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("bezoar ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_can_complete_commands(capsys, shell):
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert "bezoar" in shown
    assert "fallbacks" in shown


def test_a_shell_completes_files_folders_and_the_arguments_of_actions(capsys):
    assert main(["completion", "bash"]) == 0
    shown = capsys.readouterr().out
    assert "_shtab_bezoar_init_pos_0_COMPGEN=_shtab_compgen_dirs" in shown
    assert "_shtab_bezoar_plan_pos_0_COMPGEN=_shtab_compgen_files" in shown
    assert "_shtab_bezoar_recipe_check_pos_0_COMPGEN=_shtab_compgen_files" in shown


def test_the_start_of_a_job_imports_nothing_slow():
    slow = {
        "pydantic",
        "yaml",
        "snakemake",
        "dvc",
        "numpy",
        "torch",
        "shtab",
        "bezoar.recipe",
        "bezoar.steps",
        "asyncio",
    }
    code = (
        "import sys; import bezoar.cli; from bezoar.cache import execute; bezoar.cli.parser();"
        f"print(sorted({slow} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_project_of_somebody_else_is_not_found_from_inside(tmp_path, monkeypatch, capsys):
    (tmp_path / "Snakefile").write_text("raise SystemExit('planted')\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(project.os, "getuid", lambda: os.lstat(tmp_path).st_uid + 1)
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith(
        f"{tmp_path} belongs to another user, so it isn't used from a folder inside\n"
    )


@pytest.mark.parametrize("mark", ["recipes", "params.yaml"])
def test_half_of_a_recipe_around_is_no_project(tmp_path, monkeypatch, mark):
    (tmp_path / "work").mkdir()
    (tmp_path / mark).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(CacheError, match="no project here"):
        project.root()


def test_a_recipe_replaces_a_link_and_is_not_written_through_it(repository, tmp_path_factory):  # noqa: F811
    outside = tmp_path_factory.mktemp("outside") / "planted"
    Path("params.yaml").unlink()
    Path("params.yaml").symlink_to(outside)
    assert main(["recipe", "use", "tiny"]) == 0
    assert not outside.exists()
    assert Path("params.yaml").read_bytes() == Path("recipes/tiny.yaml").read_bytes()


def test_a_rule_stays_a_rule_where_a_file_has_its_name(repository, monkeypatch):  # noqa: F811
    Path("Snakefile").write_text("rule all:\n    input: []\n")
    Path("data/all").mkdir(parents=True)
    Path("data/rows").touch()
    monkeypatch.chdir("data")
    args = argparse.Namespace(targets=["all", "rows", "./all", "gone"])
    project.enter(args)
    assert args.targets == ["all", "data/rows", "data/all", "gone"]


def test_a_setting_that_holds_itself_is_refused():
    with pytest.raises(CacheError, match="-S seed"):
        plan._read("-S seed", b"&a [*a]")
