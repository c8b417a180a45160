"""The page's browsers of rows and of answers: samples that repeat, and texts that nothing runs."""

import json
import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hostile import CHECKPOINTS, LONG, QUESTIONS, TEXTS, dropped, generated, page, write_answers, write_steps
from scored import lines

from bezoar.page.block import PageEval
from bezoar.page.files import files
from bezoar.page.html import escaped_json, json_data
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.page import html_of
from bezoar.page.sampling import Sample
from bezoar.page.sections import answers, rows
from bezoar.page.sections.waterfall import LISTED
from bezoar.page.texts import REASON, STORED, text_of
from bezoar.text import CONTROLS, printable


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and answers with hostile texts, as the current folder."""
    write_answers(tmp_path)
    write_steps(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Parsed(HTMLParser):
    """The elements of a page, their attributes, and the content of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self.inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.data[self.inside] = json.loads(data)
            self.inside = None


def parsed(section: Callable[[Inputs], Any]) -> Parsed:
    made = section(Inputs(page()))
    assert made is not None
    return Parsed(str(made.body))


def row_data() -> dict[str, Any]:
    found: dict[str, Any] = parsed(rows.section).data["rows-data"]
    return found


def answer_data() -> dict[str, Any]:
    found: dict[str, Any] = parsed(answers.section).data["answers-data"]["sets"][0]
    return found


def test_a_sample_depends_on_the_rows_alone_and_larger_ones_contain_smaller_ones() -> None:
    keys = [f"row {number}" for number in range(200)]
    samples = []
    for seed, each in ((1, 5), (2, 5), (3, 20)):
        shuffled = random.Random(seed).sample(keys, len(keys))
        sample: Sample[str] = Sample(each)
        for key in shuffled:
            sample.add(("few" if key < "row 11" else "many",), key, "", key)
        assert sample.counts == {("few",): 13, ("many",): 187}  # row 0, 1, 10, 100 to 109
        samples.append(sample.take(10**6, lambda _, key: key))
    assert samples[0] == samples[1]
    assert {len(one) for one in samples[0].values()} == {5}
    for stratum, drawn in samples[0].items():
        assert samples[2][stratum][:5] == drawn


def test_a_budget_takes_one_row_of_each_stratum_before_a_second_one() -> None:
    sample: Sample[str] = Sample(10)
    for number in range(10):
        for stratum in "abc":
            sample.add((stratum,), str(number), "", str(number))
    # each is 3 bytes of JSON, such as "4", and a comma
    found = sample.take(17, lambda _, one: one)
    assert [len(one) for one in found.values()] == [2, 1, 1]
    assert sample.size() == 30


@pytest.mark.parametrize("letter", "<>&é4")
def test_a_budget_counts_the_bytes_of_the_page(letter: str) -> None:
    sample: Sample[str] = Sample(40)
    for number in range(40):
        sample.add(("a",), str(number), "", f"{number}{letter * 100}")
    found = sample.take(2000, lambda _, one: one)[("a",)]
    assert 2000 - 620 < len(json_data("", found)) - len(json_data("", [])) <= 2000


def test_the_page_says_that_there_was_no_room(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, data, what in ((rows, row_data, "rows"), (answers, answer_data, "questions")):
        made = module.section(Inputs(page()))
        assert made is not None
        assert "no room" not in made.body
        before = len(data()[what])
        monkeypatch.setattr(module, "BUDGET", 20_000)
        small = module.section(Inputs(page()))
        assert small is not None
        cut = before - len(data()[what])
        assert cut > 0
        assert f"{cut} more of this sample have no room on the page" in small.body


def test_every_step_has_its_rows_by_outcome_with_their_texts(project: Path) -> None:
    data = row_data()
    each = len(TEXTS)
    assert {(one["step"], one["outcome"]): one["rows"] for one in data["counts"]} == {
        ("source seeds", "not JSON"): 1,
        ("generate evol", "equals its parent"): 2,
        ("filter evol", "judge: wrong"): 2 * each,
        ("filter evol", "kept"): 2 * each,
        ("mix all", "duplicate"): 1,
        ("certificate all", "evaluation item"): 1,
        ("certificate all", "kept"): each - 1,
    }
    by_step = {(row["step"], row["outcome"]): row for row in data["rows"]}
    duplicate = by_step["mix all", "duplicate"]  # whose step wrote down only its id
    assert duplicate["texts"] == [["instruction", "Seed?", 0], ["response", "Seed.", 0]]
    item = by_step["certificate all", "evaluation item"]
    assert item["texts"][0] == ["prompt", f"[user] {TEXTS['script']}", 0]
    assert item["facts"] == [["detail", "rated 1"], ["split", "train"]]
    kept = next(row for row in data["rows"] if row["id"] == "00010script" and row["outcome"] == "kept")
    assert (kept["file"], kept["line"]) == ("data/filtered/evol/0001/kept.jsonl", 1)
    assert kept["texts"] == [["instruction", TEXTS["script"], 0], ["response", f"Answer to {TEXTS['script']}", 0]]
    assert set(data["files"]) == {row["file"] for row in data["rows"]}


def test_many_rows_are_sampled_and_the_page_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_steps(project, repeat=20)
    made = rows.section(Inputs(page()))
    assert made is not None
    total = 2 * 2 * 20 * len(TEXTS) + len(TEXTS) + 4
    shown = 2 * rows.EACH + len(TEXTS) + 4
    assert f"{shown} of {total} rows are on this page" in made.body
    monkeypatch.setattr(rows, "BUDGET", 20_000)
    small = row_data()
    assert len(escaped_json(small["rows"])) <= 20_000 + len("[]")
    assert all(one["shown"] for one in small["counts"])


def test_rows_with_a_reason_each_are_counted_together(project: Path) -> None:
    reasons = [f"judge: {number} {LONG}" for number in range(2000)]
    rejected = [dropped("judge: wrong", "", generated("w", "text"))] * 2
    rejected += [dropped(reason, "", generated(reason[7:12], "text")) for reason in reasons]
    lines(project / "data/filtered/evol/0000/rejected.jsonl", rejected)
    data = row_data()
    counts = {one["outcome"]: one["rows"] for one in data["counts"] if one["step"] == "filter evol"}
    assert counts["judge: wrong"] == 2 + len(TEXTS)
    assert counts[f"{2001 - LISTED} other reasons"] == 2001 - LISTED
    assert sum(counts.values()) == 2002 + 3 * len(TEXTS)
    assert len(counts) == LISTED + 2  # with the kept ones
    assert max(map(len, counts)) == REASON + 1
    other = next(row for row in data["rows"] if row["outcome"].endswith(" other reasons"))
    label, reason = other["facts"][0]
    assert label == "left out for"
    assert reason.startswith(f"judge: {other['id']}")
    assert len(reason) == STORED


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts_are_data_and_nothing_else(project: Path, name: str) -> None:
    text = TEXTS[name]
    row = next(row for row in row_data()["rows"] if row["id"] == f"00000{name}")
    assert row["texts"][0][1:] == [printable(text[:STORED]), max(0, len(text) - STORED)]
    assert not any(CONTROLS.search(value) for _, value, _ in row["texts"])
    question = next(one for one in answer_data()["questions"] if one["turns"][0][0].startswith(f"{name}: "))
    answer = question["answers"]["base"][0]
    assert answer["text"][0] == printable(f"base {text}"[:STORED])
    said = [one["text"][0] for one in answer["judgments"] if one["eval"] == "rated"]
    assert said == [printable(f"judge: {text}"[:STORED])]


def test_no_element_and_no_handler_of_the_page_comes_from_a_text(project: Path) -> None:
    inputs = Inputs(page())
    made = [one for section in (rows.section, answers.section) if (one := section(inputs))]
    whole = html_of(page(), made, inputs)
    found = Parsed(whole)
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert [one.get("type") for one in scripts] == ["application/json", "application/json", None]
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"img", "svg", "iframe", "object", "embed", "base", "b"}
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert re.match(r"#|\.\./|$", attributes.get("href") or "")
    assert not CONTROLS.search(whole)


def test_what_the_script_writes_is_text() -> None:
    script = Path(rows.__file__).parents[1].joinpath("static/browse.js").read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert word not in script


def test_secrets_are_not_on_the_page_even_at_the_cut() -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    for before in (0, STORED - 20):
        shown = text_of("x" * max(0, before - 1) + f" {secret}" + " y" * STORED)
        assert "ghp_" not in shown.text
    assert text_of(LONG).more == len(LONG) - STORED


def test_answers_have_all_judgments_and_say_how_they_end(project: Path) -> None:
    data = answer_data()
    assert (data["name"], data["checkpoints"], data["total"]) == ("asked", CHECKPOINTS, len(QUESTIONS))
    assert data["counts"] == [["math", len(TEXTS) // 2], ["writing", len(TEXTS) // 2]]
    first = data["questions"][0]["answers"]["sft"][0]
    assert first["ending"] == "length"
    assert [(one["eval"], one["score"]) for one in first["judgments"]] == [
        ("rated", 6.0),
        ("graded", 2.0),
        ("graded", 3.0),
        ("checked", 6.0),
        ("checked", 6.0),
        ("paired", 1.0),
        ("paired", 1.0),
    ]
    refused = data["questions"][1]["answers"]["base"][0]["judgments"][0]
    assert (refused["status"], refused["score"]) == ("refused", None)


def test_questions_are_sampled_by_category(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "EACH", 1)
    made = answers.section(Inputs(page()))
    assert made is not None
    assert f"2 of {len(TEXTS)} questions of" in made.body
    assert sorted(one["category"] for one in answer_data()["questions"]) == ["math", "writing"]


def test_the_job_declares_every_file_that_is_read(project: Path) -> None:
    inputs, declared = Inputs(page()), set(files(page()))
    for section in (rows.section, answers.section):
        assert section(inputs)
    assert set(inputs.used) <= declared
    assert {path for step in rows.steps_of(page()) for path in step.before} <= declared
    there = {str(path.relative_to(project)) for path in (project / "data").rglob("*.jsonl")}
    unread = {path for path in there - set(inputs.used) if path not in declared}
    assert unread == set()


def test_recipes_without_rows_or_answers_have_no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    empty = page().model_copy(update={"filters": {}, "mixes": {}, "evals": {}})
    assert rows.section(Inputs(empty)) is None
    assert answers.section(Inputs(empty)) is None


def test_the_same_files_give_the_same_bytes(project: Path) -> None:
    for section in (rows.section, answers.section):
        assert section(Inputs(page())) == section(Inputs(page()))
    path = project / "data/filtered/evol/0000/kept.jsonl"
    before = {row["id"] for row in row_data()["rows"]}
    lines(path, reversed([json.loads(line) for line in path.read_text().split("\n") if line]))
    assert {row["id"] for row in row_data()["rows"]} == before


def test_judgments_that_the_page_is_not_made_from_are_not_read(project: Path) -> None:
    one = PageEval(method="mtbench", checkpoints=["base"], models=["base"], answers="asked", questions="questions")
    both = {"a": one.model_copy(update={"checkpoints": ["base", "sft"], "models": ["base", "sft"]}), "b": one}
    made = Inputs(page().model_copy(update={"evals": both}))
    seen: dict[str, Artifact] = {}
    left = project / "data/judgments/b/sft/verdicts.jsonl"  # of an earlier recipe
    left.parent.mkdir(parents=True)
    left.write_text("{}\n")
    assert answers._reader(made, seen)(str(left.relative_to(project))) is None
    assert seen == {}
