"""`bezoar answers`: answers side by side, with what every method's judges said; nothing harms a terminal."""

import json
import subprocess
from pathlib import Path

import pytest
from hostile import LONG, QUESTIONS, TEXTS, write_answers

from bezoar.cli import main
from bezoar.cli.answers import asked_by
from bezoar.errors import InputError
from bezoar.recipe.load import load
from bezoar.steps.evaluate.answered import Question, questions_of
from bezoar.text import CONTROLS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with answers, in a git repository, as the current folder."""
    write_answers(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "Snakefile").touch()
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


def read(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).exists() else None


def found(name: str | None = None) -> list[Question]:
    return list(questions_of(asked_by(name, [], load()), read))


def test_every_answer_has_the_judgments_of_all_methods_with_the_judges_words(project: Path) -> None:
    questions = found()
    assert [one.number for one in questions] == [one.question_id for one in QUESTIONS]
    assert [one.turns for one in questions] == [tuple(one.turns) for one in QUESTIONS]
    answer = questions[0].answers["sft"][0]
    assert (answer.text, answer.ending) == (f"sft {TEXTS['script']}", "length")
    said = f"judge: {TEXTS['script']}"
    known = [(one.evaluation, one.part, one.score, one.text) for one in answer.judgments]
    assert known == [
        ("rated", "", 6.0, said),
        ("graded", "repeat 1", 2.0, f"0 {said}"),
        ("graded", "repeat 2", 3.0, f"1 {said}"),
        ("checked", f"Item 0? {TEXTS['script']}", 6.0, ""),
        ("checked", f"Item 1? {TEXTS['script']}", 6.0, ""),
        ("paired", "baseline first", 1.0, f"g1 {said}"),
        ("paired", "baseline second", 1.0, "g2 1"),
    ]
    assert (answer.score("graded"), answer.score("unknown")) == (2.5, None)
    refused = questions[1].answers["base"][0].judgments[0]
    assert (refused.status, refused.score) == ("refused", None)
    assert [one.answers["sft"][1].text for one in questions][-1] == ""


def test_files_of_two_builds_are_refused(project: Path) -> None:
    path = Path("data/judgments/rated/sft/judgments.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match=r"rated/sft: verdicts\.jsonl and judgments\.jsonl aren't of one build"):
        found()


def test_a_line_of_another_form_is_named(project: Path) -> None:
    path = Path("data/answers/asked/sft/answers.jsonl")
    path.write_bytes(path.read_bytes() + b'{"question_id": "\xff"}\n')
    with pytest.raises(InputError, match=rf"{path}:{len(QUESTIONS) + 1}: the line doesn't fit"):
        found()


def test_the_overview_has_a_line_for_each_question_and_fits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answers"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert [name for name in ("rated", "graded", "checked", "paired") if f"\n{name} (" in shown] == [
        "rated",
        "graded",
        "checked",
        "paired",
    ]
    first, second = shown.splitlines()[4:6]
    assert first.split()[:5] == ["1", "writing", "4.00", "6.00", "script:"]
    # the rating of the first turn was refused, so the mean is the other turn's
    assert second.split()[:4] == ["2", "math", "4.00", "6.00"]
    assert main(["answers", "graded", "--category", "math"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[4:-2]] == ["2", "4", "6", "8"]
    assert "rated" not in shown


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_question_shows_answers_side_by_side(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["answers", "--question", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    together = [line for line in lines if "[base]" in line and "[sft]" in line]
    assert len(together) == (0 if width == 40 else 2)  # one for each turn
    columns = "\n".join(line for line in lines if not line.startswith("turn "))
    assert max(map(len, columns.splitlines())) <= width
    assert "(cut by the token limit)" in columns
    assert "no score, refused" not in columns
    assert main(["answers", "--question", "2", "--checkpoint", "base"]) == 0
    shown = capsys.readouterr().out
    assert "- rated: no score, refused" in shown
    assert "[sft]" not in shown


def test_no_text_controls_the_terminal_and_long_ones_are_cut(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = [word for one in QUESTIONS for word in ("--question", str(one.question_id))]
    assert main(["answers", *every]) == 0
    shown = capsys.readouterr().out
    assert not CONTROLS.search(shown)
    assert "\\x1b[31mred" in shown
    assert "\\u202e99" in shown
    assert f"[{len('base ' + LONG) - 1200:,} more characters]" in " ".join(shown.split())
    assert "(empty answer)" in shown


def test_programs_get_whole_texts_without_secrets(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("data/answers/asked/base/answers.jsonl")
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    path.write_text(path.read_text().replace("base <script>", f"key {secret} <script>"))
    assert main(["answers", "paired", "--json"]) == 0
    printed = capsys.readouterr().out
    assert secret not in printed
    shown = json.loads(printed)
    assert shown["answers"] == "asked"
    last = shown["questions"][-1]["answers"]["base"][0]
    assert last["text"] == f"base {LONG}"
    assert {one["evaluation"] for each in shown["questions"] for one in each["answers"]["sft"][0]["judgments"]} == {
        "paired"
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["other"], "found:    other\n  expected: one of asked, rated, graded, checked, paired"),
        (["--question", "99"], "expected: one of 1 to 8"),
        (["--category", "law"], "expected: math, writing"),
        (["--checkpoint", "dpo"], "expected: base, sft"),
    ],
)
def test_unknown_names_are_errors(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["answers", *words]) == 1
    assert message in capsys.readouterr().err


def test_answers_that_are_not_built_are_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/source/questions/rows.jsonl").unlink()
    assert main(["answers"]) == 1
    assert "`snakemake` makes them" in capsys.readouterr().err
