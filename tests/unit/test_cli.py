"""The command line: recipes are checked, listed and switched, and commands of rules are run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.cache import running
from bezoar.cli import main
from bezoar.errors import InputError
from bezoar.script import Flags

ROOT = Path(__file__).parents[2]
BEZOAR = (sys.executable, "-c", "import sys; from bezoar.cli import main; sys.exit(main())")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with the recipes, and with tiny as the active one; the current one."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copyfile(ROOT / "recipes" / "tiny.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_says_what_a_sound_recipe_holds(repository, capsys):
    assert main(["recipe", "check"]) == 0
    assert capsys.readouterr().out.startswith("params.yaml: recipe tiny is sound: ")


def test_check_counts_one_as_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("question,answer\na,b\nc,d\n")
    text = "recipe: mine\nsources: {mine: {path: mine.csv}}\nmixes: {all: {parts: [mine], eval_rows: 1}}"
    (tmp_path / "params.yaml").write_text(text)
    assert main(["recipe", "check"]) == 0
    assert "is sound: 1 source, 0 schemes, 1 mix, 0 stages, 0 evals\n" in capsys.readouterr().out


RECIPES = sorted(path for where in ("*.yaml", "gallery/*.yaml") for path in (ROOT / "recipes").glob(where))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound(repository, path, capsys):
    assert main(["recipe", "check", str(path.relative_to(ROOT))]) == 0
    assert f"recipe {path.stem} is sound" in capsys.readouterr().out


def test_check_names_the_line_of_a_problem(repository, capsys):
    lines = (repository / "params.yaml").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("seed:"))
    lines[place] = "seed: minus one"
    (repository / "params.yaml").write_text("\n".join(lines))
    assert main(["recipe", "check"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"params.yaml:{place + 1}: seed: ")
    assert "found:    'minus one'" in shown


@pytest.mark.parametrize(
    ("rows", "keys", "said"),
    [
        ("query,reply\na,b\n", "", "source mine: its rows are of no known format\n  found:    query, reply\n"),
        ("question,answer\na,b\n", "columns: {prompt: qestion}", "sources.mine.columns.prompt: no such column in its"),
        (
            "question,answer\n",
            "format: question_answer",
            "source mine: it has no rows\n  found:    nothing, or a header",
        ),
        ("", "", "source mine: it has no rows\n"),
    ],
)
def test_check_looks_at_the_first_rows_of_local_files(rows, keys, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(rows)
    (tmp_path / "good.csv").write_text("question,answer\na,b\n")
    text = "recipe: mine\nsources:\n  good: {path: good.csv}\n"
    (tmp_path / "params.yaml").write_text(text)
    assert main(["recipe", "check"]) == 0
    (tmp_path / "params.yaml").write_text(f"{text}  mine: {{path: mine.csv, {keys}}}\n")
    capsys.readouterr()
    assert main(["recipe", "check"]) == 1
    assert f"params.yaml:4: {said}" in capsys.readouterr().err


def test_check_looks_for_columns_that_a_loss_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "No", "rate": 0.8, "lost": 0.2}
    lines = [json.dumps(pair | {"prompt": f"Hi {number}"}) + "\n" for number in range(2)]
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / "base" / name).write_text("{}")
    named = "columns: {win_rate_chosen: rate, win_rate_rejected: lost}"
    text = """recipe: pairs
models: {base: {method: local, path: base, chat_template: template.jinja}}
sources:
  mine: {path: pairs.jsonl, NAMED}
mixes: {pairs: {format: preference, parts: [mine], eval_rows: 1}}
stages:
  plain: {method: dpo, init_from: base, mix: pairs}
  sppo: {method: sppo, init_from: base, mix: pairs}
"""
    (tmp_path / "template.jinja").write_text("{{ messages }}")
    (tmp_path / "params.yaml").write_text(text.replace("NAMED", named))
    assert main(["recipe", "check"]) == 0
    (tmp_path / "params.yaml").write_text(text.replace(", NAMED", ""))
    capsys.readouterr()
    assert main(["recipe", "check"]) == 1
    said = capsys.readouterr().err
    assert "params.yaml:4: sources.mine: stages.sppo needs win_rate_chosen and win_rate_rejected of each row" in said
    assert "found:    first rows with chosen, lost, prompt, rate, rejected" in said
    assert "hint: name the columns with win rates in the source's `columns`, or win_rates: hard" in said


def test_check_without_a_recipe_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["recipe", "check"]) == 1
    assert "hint: run `bezoar recipe use tiny`" in capsys.readouterr().err


def test_list_marks_the_active_recipe(repository, capsys):
    names = sorted(path.stem for path in RECIPES)
    assert main(["recipe", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{'*' if name == 'tiny' else ' '} {name}" for name in names]


def test_use_makes_a_recipe_the_active_one(repository, capsys):
    assert main(["recipe", "use", "openbezoar-3b"]) == 0
    active, recipe = repository / "params.yaml", repository / "recipes" / "openbezoar-3b.yaml"
    assert active.read_bytes() == recipe.read_bytes()
    assert capsys.readouterr().out == "params.yaml is now recipes/openbezoar-3b.yaml\n"


def test_use_takes_a_recipe_of_the_gallery_with_the_files_that_it_names(repository, monkeypatch, capsys):
    project = repository / "project"
    project.mkdir()
    shutil.copyfile(ROOT / "recipes" / "tiny.yaml", project / "params.yaml")
    monkeypatch.chdir(project)
    assert main(["recipe", "use", "sppo"]) == 0
    assert capsys.readouterr().out == "params.yaml is now recipes/gallery/sppo.yaml\n"
    assert (project / "recipes/prompts/gallery/rating.yaml").exists()
    assert main(["recipe", "check"]) == 0


def test_use_works_without_an_active_recipe(repository):
    (repository / "params.yaml").unlink()
    assert main(["recipe", "use", "tiny"]) == 0
    assert (repository / "params.yaml").exists()


def test_use_of_an_unknown_recipe_lists_the_known_ones(repository, capsys):
    assert main(["recipe", "use", "tini"]) == 1
    shown = capsys.readouterr().err
    assert "found:    tini\n" in shown
    assert "tiny" in shown


def test_edited_params_are_not_replaced_unless_forced(repository, capsys):
    (repository / "params.yaml").write_text("recipe: mine\n")
    assert main(["recipe", "use", "tiny"]) == 1
    assert (repository / "params.yaml").read_text() == "recipe: mine\n"
    assert "hint: keep it as recipes/<name>.yaml, or add --force" in capsys.readouterr().err
    assert main(["recipe", "use", "tiny", "--force"]) == 0
    assert (repository / "params.yaml").read_bytes() == (repository / "recipes" / "tiny.yaml").read_bytes()


# --- exec -----------------------------------------------------------------------------------------------------------


def run(folder, *words):
    """`bezoar exec` in its own process, since it handles the process's signals."""
    return subprocess.run([*BEZOAR, "exec", *words], cwd=folder, capture_output=True, text=True, check=False)


def python(code):
    """The words of a command that runs some Python."""
    return ("--", sys.executable, "-c", code)


def test_exec_runs_a_command_that_makes_its_outputs(tmp_path):
    done = run(tmp_path, "a.txt", "b.txt", *python("open('a.txt', 'w'), open('b.txt', 'w'); print('made')"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "made\n", "")


def test_exec_passes_the_commands_own_dashes_on(tmp_path):
    done = run(tmp_path, "a", *python("import sys; open('a', 'w'); print(sys.argv[1:])"), "--", "--out", "-x")
    assert done.stdout == "['--', '--out', '-x']\n"


@pytest.mark.parametrize("status", [1, 3, 137])
def test_exec_passes_the_exit_status_on(tmp_path, status):
    assert run(tmp_path, "a.txt", *python(f"raise SystemExit({status})")).returncode == status


def test_a_command_that_is_killed_ends_as_a_shell_reports_it(tmp_path):
    # 128 + 9
    assert run(tmp_path, "a.txt", *python("import os; os.kill(os.getpid(), 9)")).returncode == 137


def test_a_command_without_its_output_has_failed(tmp_path):
    done = run(tmp_path, "a.txt", "b.txt", *python("open('a.txt', 'w')"))
    assert done.returncode == 1
    assert "didn't make b.txt: " in done.stderr


@pytest.mark.parametrize("words", [(), ("a.txt",), ("a.txt", "--"), ("--", "true"), ("true", "a.txt")])
def test_exec_without_outputs_or_command_is_wrong_usage(tmp_path, words):
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert "needs at least one output, `--` and a command" in done.stderr


def test_the_command_runs_with_telemetry_off_and_sets_in_one_order(tmp_path):
    names = "DO_NOT_TRACK", "DVC_NO_ANALYTICS", "HF_HUB_DISABLE_TELEMETRY", "PYTHONHASHSEED", "OMP_WAIT_POLICY"
    done = run(tmp_path, "a", *python(f"import os; open('a', 'w'); print([os.environ[name] for name in {names}])"))
    assert done.stdout == "['1', '1', '1', '0', 'passive']\n"


def interrupted(process):
    """Ctrl-C at a terminal: the whole process group gets the signal."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGTERM, subprocess.Popen.terminate), (signal.SIGINT, interrupted)]
)
def test_a_command_that_is_asked_to_stop_can_save_its_state(tmp_path, number, send):
    code = (
        "import signal, sys, time\n"
        "def save(*_):\n    open('state', 'w').write('saved')\n    sys.exit(5)\n"
        f"signal.signal({int(number)}, save)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [*BEZOAR, "exec", "a.txt", *python(code)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"ready\n"
        send(process)
        assert process.wait(timeout=30) == 5
    assert (tmp_path / "state").read_text() == "saved"


@pytest.mark.parametrize(
    ("given", "paths"), [([], []), (["--data"], []), (["--data", "a", "b"], [Path("a"), Path("b")])]
)
def test_a_flag_of_many_paths_is_a_list_also_without_any(repository, given, paths):
    flags = Flags("A script.")
    flags.path("data", "files", many=True)
    args, seed = flags.start(["--params", "seed", "--log", str(repository / "log.txt"), *given], seed=int)
    assert (args.data, seed) == (paths, 0)


def test_a_script_refuses_a_folder_that_holds_files_before_it_starts(repository):
    def start():
        flags = Flags("A script.")
        flags.folder("out", "folder to write to")
        return flags.start(["--params", "seed", "--out", "made", "--log", "log.txt"], seed=int)

    args, _ = start()
    assert args.out == Path("made")
    (repository / "log.txt").unlink()
    (repository / "made").mkdir()
    (repository / "made" / "rows.jsonl").touch()
    with pytest.raises(InputError, match=r"^made is not empty and would be replaced\n  found:    rows\.jsonl\n"):
        start()
    assert not (repository / "log.txt").exists()


def test_a_signal_that_comes_while_the_command_starts_is_passed_on(tmp_path, monkeypatch):
    class Interrupted(subprocess.Popen):
        """A command that has started, and a SIGTERM before anybody knows of it."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running.subprocess, "Popen", Interrupted)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = running.run([sys.executable, "-c", "import time; time.sleep(60)"], ["a"], [])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert status == 128 + signal.SIGTERM
