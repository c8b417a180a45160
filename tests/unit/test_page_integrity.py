"""The page says of each judge whether it can be trusted, and of each withheld score why."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from scored import CHECKPOINTS, NAMES, WRITERS, rating, write_mtbench

from bezoar.page.block import Page, PageEval
from bezoar.page.inputs import Inputs
from bezoar.page.sections.integrity import judge_of, section
from bezoar.steps.results.any import REPORTS, read_report


def fooled(model: str, number: int, turn: int) -> float | None:
    """Ratings of a judge that rewards empty answers."""
    return 9.0 if model.startswith("control_") else rating(model, number, turn)


def torn(model: str, number: int, turn: int) -> float | None:
    """Ratings of a judge that refuses one checkpoint's answers."""
    return None if model == "sft" else rating(model, number, turn)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of every method, and of two judges that aren't sound."""
    root = tmp_path_factory.mktemp("made")
    for write in WRITERS.values():
        write(root)
    write_mtbench(root, "fooled", rate=fooled, allow=True)
    write_mtbench(root, "torn", rate=torn)
    write_mtbench(root, "silent", rate=lambda *_: None, allow=True)
    return root


def page(**methods: str) -> Page:
    """A recipe with these evaluations."""
    evals = {
        name: PageEval(method=method, checkpoints=CHECKPOINTS, models=[], answers=None, questions=None)
        for name, method in methods.items()
    }
    empty = {"models": {}, "schemes": {}, "filters": {}, "mixes": {}, "stages": {}}
    return Page(recipe="scored", shards=1, evals=evals, **empty)


def text_of(made: Path, monkeypatch: pytest.MonkeyPatch, **methods: str) -> str:
    """What the section says, in words."""
    monkeypatch.chdir(made)
    found = section(Inputs(page(**methods)))
    assert found is not None
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found.body)).split())


def test_every_method_with_a_judge_has_its_controls(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = {"mtbench", "checklist", "rubric", "pairwise"}
    for method, name in NAMES.items():
        report = read_report(made / f"results/{name}.json")
        found = judge_of(report)
        assert (found is not None) == (method in judged)
        if found:
            assert list(found.controls) == ["control_empty"]
            assert found.controls["control_empty"].judgments > 0
    assert {one.method for one in REPORTS} == set(NAMES)
    said = text_of(made, monkeypatch, **{name: method for method, name in NAMES.items()})
    assert said.count("passes 1 of 1 control") == len(judged)
    assert "Judge: parrot, backend judge , id j ; mtbench, rating from 1 to 10, of 24 questions." in said
    # an empty answer may reach 1.5 of 10, and the same share of the scale from 1 to 5: 1 + 4 * 0.5 / 9
    assert [said.count(f"ceiling {one} ") for one in ("1.50", "1.22", "0.10")] == [2, 1, 1]
    assert "The seat of an answer: the first one gets" in said
    assert "look base rating no judge: these answers are to be read, and they are not rated" in said


def test_a_judge_that_rewards_a_control_is_named_with_its_score(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = text_of(made, monkeypatch, fooled="mtbench")
    assert "fooled judge compromised" in said
    assert "control_empty failed 9.00" in said
    assert "Not clearly above every control: base, sft, dpo." in said
    assert "passes" not in said.replace("it passes a control", "")


def test_judgments_without_a_score_are_counted_by_status_with_bounds(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = text_of(made, monkeypatch, torn="mtbench")
    assert "48 48 refused 1.00, 10.00" in said  # all judgments of sft, and its score if they were lowest or highest
    assert "Scores that are withheld" in said
    report = json.loads((made / "results/torn.json").read_text())
    assert f"torn sft average {report['models']['sft']['withheld'] or 'no readable rating'}" in said


def test_a_judge_that_says_nothing_has_no_score(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = text_of(made, monkeypatch, silent="mtbench")
    assert "silent no score" in said
    assert "There are no scores: the judge gave no readable rating: 192 refused" in said
    assert said.count("the judge gave no readable rating: 192 refused") == 1 + len(CHECKPOINTS)


def test_a_recipe_without_judges_has_no_such_section(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    assert section(Inputs(page(harness="harness", held="likelihood"))) is None
