"""Methods that grade every answer by itself, against scripted judges: what gate, file and log say of each failing."""

import inspect
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import scored
from conftest import ROOT

from bezoar.errors import BezoarError, InputError
from bezoar.requests.base import Completion, Request
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.steps.data.rows import QuestionRow, write_rows
from bezoar.steps.evaluate import checks, gradings, judgments, nulls
from bezoar.steps.evaluate.checklist import Checklist, ItemRow
from bezoar.steps.evaluate.gate import write_gate
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.evaluate.rubric import Rubric
from bezoar.steps.report import checklist as checklist_report
from bezoar.steps.report import rubric as rubric_report

JUDGING = ROOT / "recipes/prompts/judging"
BACKEND = VerifierBackend(kind="verifier")
ITEMS = 2
CONTROLS = ["empty", "filler", "spoof", "shuffled"]
QUESTIONS = [
    QuestionRow(question_id=n, category="ab"[n % 2], turns=["First?", "Second?"][: 1 + n % 2]) for n in range(20)
]
TURNS = sum(len(question.turns) for question in QUESTIONS)  # 30
METHODS = pytest.mark.parametrize("method", ["checklist", "rubric"])


@dataclass
class Judge:
    """Finds good answers good; with defects, in every tenth call.

    Attributes:
        fooled: Whether a faked verdict in the answer convinces it.
        generous: Whether it likes all answers with words.
        tenth: By last digit of a call's number, how it ends.
    """

    fooled: bool = False
    generous: bool = False
    tenth: dict[int, str] = field(default_factory=dict)
    calls: int = 0

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        return [self._said(request) for request in requests]

    def _said(self, request: Request) -> Completion:
        assert request.subject is not None
        response, number = request.subject.response, self.calls
        self.calls += 1
        if (ending := self.tenth.get(number % 10)) is not None:
            return Completion("", ending, "scripted")
        good = "good" in response or (self.generous and bool(response))
        good = good or (self.fooled and "End of the response." in response)
        if request.top_logprobs:
            likely, other = (0.9, 0.0999) if good else (0.0001, 0.9)
            return Completion(
                "", "length", "scripted", alternatives=(("Yes", math.log(likely)), ("No", math.log(other)))
            )
        return Completion(f"I see. [RESULT] {5 if good else 1}", "stop", "scripted")


@dataclass
class Desk:
    """A folder in which one evaluation runs, step by step."""

    root: Path
    method: str
    checkpoints: dict[str, str]  # the text of every answer
    changes: dict[str, Any]

    def __post_init__(self) -> None:
        (self.root / "source").mkdir()
        write_rows(self.root / "source/rows.jsonl", QUESTIONS)
        items = [
            ItemRow(question_id=one.question_id, turn=turn + 1, item=n, text=f"Is it {n}?", author="a")
            for one in QUESTIONS
            for turn in range(len(one.turns))
            for n in range(ITEMS)
        ]
        write_rows(self.root / "items.jsonl", items)
        for name, text in self.checkpoints.items():
            rows = [answer_row(name, one, [text] * len(one.turns)) for one in QUESTIONS]
            (self.root / "answers" / name).mkdir(parents=True)
            write_rows(self.root / "answers" / name / "answers.jsonl", rows)

    @property
    def prompts(self) -> Path:
        return JUDGING / f"{self.method}.yaml"

    @property
    def block(self) -> Any:
        common = {
            "checkpoints": list(self.checkpoints),
            "answers": "asked",
            "judge": "judge",
            "prompts": str(self.prompts),
            "controls": CONTROLS,
            "shuffled_from": next(iter(self.checkpoints)),
        } | self.changes
        if self.method == "checklist":
            return Checklist(method="checklist", author="author", **common)
        rubric = str(JUDGING / "helpfulness.yaml")
        return Rubric(method="rubric", rubric=rubric, **{"repeats": 2, "max_attempts": 1} | common)

    def grade(self, judge: Any, name: str, gate: Path | None) -> Path:
        """Grade a checkpoint or control."""
        block, questions = self.block, self.root / "source/rows.jsonl"
        answers, out = self.root / "answers" / name / "answers.jsonl", self.root / "grades" / name
        if self.method == "checklist":
            inputs = checks.Inputs(answers, questions, self.root / "items.jsonl", self.prompts, None, gate)
            keys = checks.Checking(max_failed_share=block.max_failed_share)
            checks.write_checks(inputs, keys, BACKEND, judge, out, seed=0, system=None, single_turn=False)
            return out / "checks.jsonl"
        rubric = JUDGING / "helpfulness.yaml"
        values = {key: getattr(block, key) for key in gradings.Grading.model_fields}
        graded = gradings.Inputs(answers, questions, None, self.prompts, rubric, None, gate)
        gradings.write_gradings(graded, gradings.Grading(**values), BACKEND, judge, out, single_turn=False)
        return out / "gradings.jsonl"

    def run(self, judge: Any) -> dict[str, Any]:
        """All steps in their order; the report."""
        questions, spoofed = self.root / "source/rows.jsonl", nulls.Spoofed(method=self.method)
        shuffled = self.root / "answers" / self.block.shuffled_from / "answers.jsonl"
        for name in self.block.control_names():
            source = shuffled if name.endswith("shuffled") else None
            nulls.write_nulls(questions, source, self.prompts, spoofed, 0, self.root / "answers" / name)
        paths = [self.grade(judge, name, None) for name in self.block.control_names()]
        gate = self.root / "gate.json"
        keys = nulls.GradedGate(method=self.method, allow_compromised=self.block.allow_compromised)
        write_gate(paths, questions, keys, 0, gate, nulls.METHODS[self.method])
        for name in self.checkpoints:
            self.grade(judge, name, gate)
        out = self.root / "report.json"
        if self.method == "checklist":
            made = checklist_report.Inputs(self.root / "grades", questions, self.prompts, self.root / "items.jsonl")
            checklist_report.write_report(made, self.block, 0, out, {})
        else:
            rubric = JUDGING / "helpfulness.yaml"
            graded = rubric_report.Inputs(self.root / "grades", questions, self.prompts, rubric, None)
            rubric_report.write_report(graded, self.block, 0, out, {})
        found: dict[str, Any] = json.loads(out.read_text())
        return found


MODELS = {"weak": "bad", "strong": "good", "mute": ""}


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Desk]:
    """A function that makes a desk."""
    return lambda method, models=MODELS, **changes: Desk(tmp_path, method, dict(models), changes)


@METHODS
def test_an_honest_judge_passes_and_its_scores_have_intervals_and_paired_differences(desk, method, caplog):
    with caplog.at_level(logging.INFO):
        found = desk(method).run(Judge())
    high = found["scale"][1]
    assert (found["judge_compromised"], found["controls_that_failed"], found["no_score"]) == (False, [], None)
    means = {name: one["average"]["mean"] for name, one in (found["models"] | found["controls"]).items()}
    assert means["weak"] == pytest.approx(1, abs=0.01)
    assert means["strong"] == pytest.approx(high, abs=1)
    assert means["mute"] == means["control_empty"] == 1  # silence isn't rewarded
    assert found["models"]["strong"]["difference_to_first"]["to"] == "weak"
    assert found["models"]["strong"]["difference_to_first"]["low"] > 0
    assert found["models"]["mute"]["difference_to_previous"]["to"] == "strong"
    assert found["not_above_controls"] == ["weak", "mute"]
    strong = found["models"]["strong"]
    assert strong["gradings"] == 2 * TURNS  # two items, or two repeats
    assert (strong["complete"], strong["missing"]["gradings"]) == (True, 0)
    assert strong["average"]["low"] <= strong["average"]["mean"] <= strong["average"]["high"] <= high
    assert list(strong["turns"]) == ["1", "2"]
    assert (found["models"]["mute"]["empty_answers"], found["questions"]["count"]) == (TURNS, 20)
    assert "p" not in found["controls"]["control_empty"]["difference_to_first"]  # no comparison of the report
    assert f"strong: {means['strong']:.2f} [" in caplog.text
    assert "not clearly above every control: weak, mute" in caplog.text


@METHODS
def test_a_judge_that_rates_no_empty_answer_passes(desk, method):
    class Strict(Judge):
        def _said(self, request: Request) -> Completion:
            if request.subject and request.subject.response:
                return super()._said(request)
            return Completion("", "refusal", "scripted")

    found = desk(method).run(Strict())
    assert (found["judge_compromised"], found["no_score"]) == (False, None)
    assert found["controls"]["control_empty"]["average"]["mean"] == found["models"]["mute"]["average"]["mean"] == 1


@METHODS
def test_differences_are_compared_with_chance_among_all_of_the_report(desk, method):
    models = {"weak": "bad", "poor": "bad too", "strong": "good", "mute": ""}
    found = desk(method, models, compare_to=["strong"]).run(Judge())
    # weak with poor, strong, mute; poor with strong; strong with mute; each pair once, in whichever direction
    assert (found["comparisons"]["count"], found["comparisons"]["method"]) == (5, "Holm 1979")
    weak, poor, strong, mute = (found["models"][name] for name in models)
    assert (weak["difference_to_first"], weak["difference_to_previous"]) == (None, None)
    assert (weak["compared_to"]["strong"]["to"], weak["compared_to"]["strong"]["significant"]) == ("strong", True)
    assert strong["difference_to_first"]["p"] < 0.05 / 5
    assert strong["difference_to_first"]["p"] <= strong["difference_to_first"]["p_holm"] < 0.05
    same = poor["difference_to_first"]
    assert (same["mean"], same["p"], same["p_holm"], same["significant"]) == (0, 1, 1, False)
    assert strong["compared_to"] == {}
    assert mute["difference_to_previous"]["mean"] == -strong["average"]["mean"] + mute["average"]["mean"]
    assert found["separability"] is not None
    assert 0 < found["separability"] < 1  # weak and poor overlap


@METHODS
def test_a_judge_that_falls_for_the_spoof_stops_before_any_checkpoint_is_graded(desk, method):
    place = desk(method)
    with pytest.raises(BezoarError, match="the judge is compromised") as error:
        place.run(Judge(fooled=True))
    assert "control_spoof: mean" in str(error.value)
    assert "control_filler" not in str(error.value)
    assert not (place.root / "grades/strong").exists()  # nothing is spent on it
    assert not (place.root / "gate.json").exists()


@METHODS
def test_a_compromised_table_says_so_in_file_and_log(desk, method, caplog):
    place = desk(method, allow_compromised=True)
    found = place.run(Judge(fooled=True))
    assert (found["judge_compromised"], found["controls_that_failed"]) == (True, ["control_spoof"])
    assert found["why_compromised"]["control_spoof"].startswith("mean ")
    assert "the judge is compromised: control_spoof: mean" in caplog.text
    card = place.block.scores_of("strong", found).text
    assert card.endswith("The judge is compromised: it rewards control_spoof.")
    spoofed = found["controls"]["control_spoof"]
    assert spoofed["answers_with_delimiter_or_rating"] == TURNS
    assert spoofed["without_delimiters_or_ratings"] is None


@METHODS
def test_a_generous_judge_fails_all_controls_that_have_words(desk, method):
    with pytest.raises(BezoarError) as error:
        desk(method, {"weak": "bad"}).run(Judge(generous=True))
    named = [name for name in CONTROLS if f"control_{name}: mean" in str(error.value)]
    assert named == ["filler", "spoof", "shuffled"]


TENTHS = {3: "refusal", 7: "length"}


@METHODS
def test_a_judge_that_refuses_and_cuts_one_in_ten_is_refused_by_the_share_of_failures(desk, method):
    # its controls: missing scores count as the highest; two of ten lift the mean above the ceiling of 3 of 10
    with pytest.raises(BezoarError, match="control_filler: mean"):
        desk(method).run(Judge(tenth=TENTHS))


@METHODS
def test_a_model_with_too_many_failures_has_no_table(desk, method):
    place = desk(method, controls=[], shuffled_from=None)
    with pytest.raises(InputError) as error:
        place.grade(Judge(tenth=TENTHS), "strong", None)
    said = f"found: 12 of {2 * TURNS} gradings without a score: 6 refused, 6 truncated"
    assert said in " ".join(str(error.value).split())
    assert "expected: at most a share of 0.05" in " ".join(str(error.value).split())
    assert not (place.root / "grades/strong").exists()


@METHODS
def test_allowed_failures_are_counted_and_bound_the_score(desk, method, caplog):
    place = desk(method, {"strong": "good"}, allow_compromised=True, max_failed_share=0.2, shuffled_from="strong")
    found = place.run(Judge(tenth=TENTHS))
    low, high = found["scale"]
    strong = found["models"]["strong"]
    assert strong["status"] == {"ok": 48, "refused": 6, "truncated": 6}
    assert strong["complete"] is False
    gaps, mean = strong["missing"], strong["average"]["mean"]
    assert gaps["gradings"] == 12
    assert gaps["mean_if_lowest"] < mean <= gaps["mean_if_highest"]
    assert gaps["mean_if_lowest"] == pytest.approx(0.8 * mean + 0.2 * low, abs=0.02)
    assert gaps["mean_if_highest"] == pytest.approx(0.8 * mean + 0.2 * high, abs=0.02)
    text = "12 of 60 gradings without a score (6 refused, 6 truncated): "
    assert text + f"{gaps['mean_if_lowest']:.2f} to {gaps['mean_if_highest']:.2f}" in caplog.text


@METHODS
def test_a_judge_that_says_nothing_gives_no_score_and_everything_says_why(desk, method, caplog):
    silent = Judge(tenth=dict.fromkeys(range(10), "refusal"))
    with pytest.raises(BezoarError, match="the judge gave no readable rating"):
        desk(method).run(silent)


@METHODS
def test_a_withheld_score_says_why_in_file_log_and_card(desk, method, caplog):
    place = desk(method, allow_compromised=True, max_failed_share=1.0)
    found = place.run(Judge(tenth=dict.fromkeys(range(10), "refusal")))
    calls = 2 * TURNS * (len(MODELS) + len(CONTROLS))
    assert found["no_score"] == f"the judge gave no readable rating: {calls:,} refused"
    strong = found["models"]["strong"]
    assert strong["average"] is None
    assert strong["withheld"] == f"the judge gave no readable rating: {2 * TURNS} refused"
    assert (strong["missing"]["mean_if_lowest"], strong["missing"]["mean_if_highest"]) == tuple(found["scale"])
    assert f"no score: {found['no_score']}" in caplog.text
    assert f"strong: no score: {strong['withheld']}" in caplog.text
    assert f"no score: {strong['withheld']}" in place.block.scores_of("strong", found).text
    assert found["judge_compromised"] is False  # nothing is known of it


@METHODS
def test_another_judge_than_the_gates_grades_nothing(desk, method):
    place = desk(method)
    gate = place.root / "gate.json"
    gate.write_text(json.dumps({"judge": "another", "compromised": False}))
    with pytest.raises(InputError, match="another judge graded the controls"):
        place.grade(Judge(), "strong", gate)


def test_repeats_that_differ_have_a_spread_and_several_results_are_counted(desk):
    class Unsure(Judge):
        def _said(self, request: Request) -> Completion:
            self.calls += 1
            if "good" not in (request.subject.response if request.subject else ""):
                return Completion("No. [RESULT] 1", "stop", "scripted")
            return Completion(f"It quotes [RESULT] 1. [RESULT] {3 + 2 * (self.calls % 2)}", "stop", "scripted")

    found = desk("rubric").run(Unsure())
    strong, weak = found["models"]["strong"], found["models"]["weak"]
    assert (strong["within_item_sd"], weak["within_item_sd"]) == (pytest.approx(2**0.5, abs=1e-4), 0)
    assert (strong["several_scores"], weak["several_scores"]) == (2 * TURNS, 0)
    assert strong["average"]["mean"] == 4
    assert found["rubric"]["version"] == 1


def test_a_ceiling_is_the_same_share_of_both_scales():
    assert nulls.METHODS["checklist"].ceiling("filler") == pytest.approx(3.0)
    assert nulls.METHODS["rubric"].ceiling("filler") == pytest.approx(1 + 4 * 2 / 9)


def test_a_fence_needs_a_seed():
    # with a default that is forgotten, authors of answers could compute the fence
    for function in (judgments.items_of, judgments.write_judgments, checks.write_checks):
        assert inspect.signature(function).parameters["seed"].default is inspect.Parameter.empty


def test_mt_bench_and_a_checklist_make_the_same_scores_of_the_same_ratings(tmp_path: Path):
    scored.write_mtbench(tmp_path)
    scored.write_checklist(tmp_path)
    judged, checked = (json.loads((tmp_path / f"results/{name}.json").read_text()) for name in ("judged", "checked"))
    alone = {"scale", "why_compromised", "checklists"}  # a checklist's
    assert judged.keys() - checked.keys() == {"note"}
    assert checked.keys() - judged.keys() == alone
    assert {key for key in judged.keys() & checked.keys() if judged[key] != checked[key]} == {
        "protocol",
        "judge",
        "models",  # which count judgments, or gradings
        "controls",
    }
    for part in ("models", "controls"):
        for name, one in judged[part].items():
            shared = one.keys() & checked[part][name].keys() - {"missing", "status"}
            assert {"average", "turns", "categories", "difference_to_first", "withheld", "complete"} <= shared
            assert {key: one[key] for key in shared} == {key: checked[part][name][key] for key in shared}
