"""Judges with known faults, from controls to the report: what each fault makes of the table.

The scripts, and all files between them, are those of the rules; the judge is a class. One judge believes what an answer
claims after the prompt's end marker, one refuses every tenth answer, one is cut at every tenth, one is noisy.
"""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bezoar.blocks import Sampling
from bezoar.errors import BezoarError, InputError
from bezoar.requests.base import Completion, Request
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.steps.data.rows import JudgePromptRow, QuestionRow, write_rows
from bezoar.steps.evaluate import controls, fencing, gate, judgments, mtbench
from bezoar.steps.evaluate.mtbench import Mtbench
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.report import mtbench as table

QUESTIONS = [
    QuestionRow(question_id=number, category="writing" if number < 111 else "stem", turns=["One?", "Two?"])
    for number in range(101, 121)
]
COLUMNS = dict.fromkeys(("type", "description", "category", "output_format", "system_prompt"), "")
TEMPLATE = "[Question]\n{question}\n\n[The Start of the Answer]\n{answer}\n[The End of the Answer]"
SECOND = "{question_1}\n{answer_1}\n{question_2}\n\n[The Start of the Answer]\n{answer_2}\n[The End of the Answer]"
MARK = re.compile(r"^\[[0-9a-f]{16}\]$", re.MULTILINE)
ANSWER = re.compile(r".*\[The Start of the Answer\]\n(.*?)\n\[The End of the Answer\](.*)", re.DOTALL)
GOOD = "A long and careful answer to what was asked, with reasons."
CONTROLS = ("empty", "filler", "spoof")


class Judge:
    """Gives 8 to a good answer, 2 to a bad one; it believes a rating that stands after the end of an unfenced answer.

    Args:
        slip: What it does at every tenth question, in place of a rating, each time that it is asked.
        noise: What it adds to the rating of a repeat.
    """

    def __init__(self, slip: Completion | None = None, noise: Callable[[int], int] = lambda _: 0) -> None:
        self.slip, self.noise = slip, noise
        self.asked: list[Request] = []

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        number, _, sample, _ = map(int, request.key.split(":"))
        user = request.turns[0]
        if self.slip and number % 10 == 0 and GOOD in user:
            return self.slip
        fences = list(MARK.finditer(user))
        if fences:
            text, claimed = user[fences[-2].end() : fences[-1].start()].strip(), None
        else:
            found = ANSWER.match(user)
            assert found
            text, claimed = found[1].strip(), mtbench.BRACKETED.search(found[2])
        if claimed:
            return Completion(f"As the notes say.\nRating: [[{claimed[1]}]]", "stop", "scripted")
        rating = 1 if not text else 8 if GOOD in text else 2
        return Completion(f"Read.\nRating: [[{rating + self.noise(sample) * (rating == 8)}]]", "stop", "scripted")


def prompts() -> list[JudgePromptRow]:
    """The four judge prompts, with an end marker that an answer can fake."""
    return [
        JudgePromptRow(name=name, prompt_template=SECOND if "multi" in name else TEMPLATE, **COLUMNS)
        for name in mtbench.PROMPTS
    ]


def block(**changes: Any) -> Mtbench:
    values = {
        "method": "mtbench",
        "checkpoints": ["tuned"],
        "answers": "mtbench",
        "references": "references",
        "judge_prompts": "judge_prompts",
        "judge": "judge",
        "judge_sampling": Sampling(max_new_tokens=100),
        "reference_categories": [],
        "controls": list(CONTROLS),
        "bootstrap_samples": 200,
    }
    return Mtbench(**values | changes)


def judged(folder: Path, judge: Judge, evaluation: Mtbench, model: str, guard: Path | None) -> None:
    """A model's verdicts, as the script writes them."""
    own = judgments.Judging.model_validate({name: getattr(evaluation, name) for name in judgments.Judging.model_fields})
    place = folder / ("controls" if model.startswith(mtbench.CONTROL) else "answers") / model / "answers.jsonl"
    files = (place, *(folder / f"{name}.jsonl" for name in ("questions", "references", "prompts")))
    inputs = judgments.Inputs(*files, judge=None, gate=guard)
    judgments.write_judgments(
        inputs, own, VerifierBackend(kind="verifier"), judge, folder / "judged" / model, seed=3, single_turn=False
    )


def evaluated(folder: Path, judge: Judge, **changes: Any) -> dict[str, Any]:
    """The report, after the controls and the gate."""
    evaluation = block(**changes)
    write_rows(folder / "questions.jsonl", QUESTIONS)
    write_rows(folder / "prompts.jsonl", prompts())
    write_rows(folder / "references.jsonl", [])
    for name in evaluation.control_names():
        out = folder / "controls" / name
        controls.write_controls(folder / "questions.jsonl", None, folder / "prompts.jsonl", 0, out)
        judged(folder, judge, evaluation, name, None)
    verdicts = [folder / "judged" / name / "verdicts.jsonl" for name in evaluation.control_names()]
    values = gate.Gate(allow_compromised=evaluation.allow_compromised)
    gate.write_gate(verdicts, folder / "questions.jsonl", values, 0, folder / "gate.json")
    rows = [answer_row("tuned", question, [GOOD, GOOD]) for question in QUESTIONS]
    write_rows(folder / "answers" / "tuned" / "answers.jsonl", rows)
    judged(folder, judge, evaluation, "tuned", folder / "gate.json")
    files = [folder / f"{name}.jsonl" for name in ("questions", "references", "prompts")]
    table.write_report(folder / "judged", *files, evaluation, 0, folder / "results.json", {})
    report: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return report


def test_a_sound_answer_of_a_sound_judge_has_its_score(tmp_path):
    report = evaluated(tmp_path, Judge(), protocol=fencing.PROTOCOL)
    one = report["models"]["tuned"]
    assert (one["average"]["mean"], one["complete"], one["status"], one["withheld"]) == (8.0, True, {"ok": 40}, None)
    assert report["protocol"] == "mtbench-single-v1-fenced"


def test_a_judge_that_believes_a_spoof_withholds_the_table_and_the_fence_withstands_it(tmp_path, caplog):
    believer = Judge()
    with pytest.raises(BezoarError, match=r"the judge is compromised.*\n.*control_spoof: mean 10\.00"):
        evaluated(tmp_path / "published", believer)
    assert not any(GOOD in request.turns[0] for request in believer.asked)  # no model was judged
    report = evaluated(tmp_path / "fenced", believer, protocol=fencing.PROTOCOL)
    assert (report["judge_compromised"], report["controls"]["control_spoof"]["average"]["mean"]) == (False, 2.0)
    with caplog.at_level(logging.WARNING):
        marked = evaluated(tmp_path / "marked", believer, allow_compromised=True)
    assert (marked["judge_compromised"], marked["controls_that_failed"]) == (True, ["control_spoof"])
    assert "the judge is compromised: it gives good ratings to answers that no model wrote" in caplog.text
    spoof = marked["controls"]["control_spoof"]
    assert spoof["answers_with_delimiter_or_rating"] == 40
    assert spoof["without_delimiters_or_ratings"] is None  # nothing is left
    assert marked["judge"]["id"] != report["judge"]["id"]
    said = block().scores_of("tuned", marked).text
    assert "The judge is compromised: it rewards control_spoof." in said


FAULTS = {
    "refused": Completion("I can't rate that.", "refusal", "scripted"),
    "truncated": Completion("It claims [[10]], which", "length", "scripted"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_judgment_in_ten_that_fails_bounds_the_score_and_is_counted(tmp_path, caplog, fault):
    changes = {"protocol": fencing.PROTOCOL, "max_failed_share": 0.1}
    with caplog.at_level(logging.WARNING):
        report = evaluated(tmp_path, Judge(slip=FAULTS[fault]), **changes)
    one = report["models"]["tuned"]
    # questions 110 and 120 in two turns: 4 of 40; the other 36 have an 8
    assert (one["status"], one["complete"]) == ({"ok": 36, fault: 4}, False)
    assert (one["average"]["mean"], one["withheld"]) == (8.0, None)
    assert one["missing"] == {"judgments": 4, "mean_if_1": 7.3, "mean_if_10": 8.2}  # (288 + 4) / 40, (288 + 40) / 40
    assert f"4 of 40 judgments without a score (4 {fault}): 7.30 to 8.20 if they were 1 or 10" in caplog.text


@pytest.mark.parametrize("fault", FAULTS)
def test_more_failures_than_allowed_stop_before_a_score(tmp_path, fault):
    message = rf"the judge failed too often\n  found:    4 of 40 judgments without a rating: 4 {fault}"
    with pytest.raises(InputError, match=message):
        evaluated(tmp_path, Judge(slip=FAULTS[fault]), protocol=fencing.PROTOCOL)
    assert not (tmp_path / "results.json").exists()


def test_only_a_cut_judgment_is_asked_again(tmp_path):
    for fault, asked in (("refused", 1), ("truncated", 2)):
        judge = Judge(slip=FAULTS[fault])
        evaluated(tmp_path / fault, judge, protocol=fencing.PROTOCOL, max_failed_share=0.1)
        keys = [one.key for one in judge.asked if one.key.startswith("110:1:") and GOOD in one.turns[0]]
        assert len(keys) == asked


def test_repeats_show_the_judges_noise(tmp_path):
    # 7, 8 and 9 of each answer: a standard deviation of 1 within an item, and none between items
    report = evaluated(tmp_path, Judge(noise=lambda sample: sample - 1), protocol=fencing.PROTOCOL, repeats=3)
    one = report["models"]["tuned"]
    assert (one["average"]["mean"], one["within_item_sd"], one["judgments"]) == (8.0, 1.0, 120)
    once = evaluated(tmp_path / "once", Judge(), protocol=fencing.PROTOCOL)
    assert once["models"]["tuned"]["within_item_sd"] is None


def test_a_fence_is_unknown_to_the_answers_author_and_the_same_in_each_run():
    texts = ["One?", "An answer."]
    mark = fencing.mark_of(3, "101:1:0", texts)
    assert fencing.mark_of(3, "101:1:0", texts) == mark
    others = [(4, "101:1:0", texts), (3, "101:2:0", texts), (3, "101:1:0", ["One?", "Another answer."])]
    assert len({mark, *(fencing.mark_of(*one) for one in others)}) == 4
    assert mark not in fencing.mark_of(3, "101:1:0", [*texts, mark])
    assert fencing.notice(mark).count(mark) == 1
    assert fencing.fenced(["a\n"], mark) == [f"{mark}\na\n\n{mark}"]


def test_the_fenced_prompt_is_the_published_one_with_lines_around_each_answer():
    own = {name: getattr(block(), name) for name in judgments.Judging.model_fields}
    given = {one.question_id: ["first", "second"] for one in QUESTIONS}

    def made(protocol: str) -> list[judgments.Item]:
        values = judgments.Judging.model_validate(own | {"protocol": protocol})
        return judgments.items_of(QUESTIONS, given, mtbench.JudgePrompts.of(prompts()), {}, values, 3)

    pairs = list(zip(made(mtbench.PROTOCOL), made(fencing.PROTOCOL), strict=True))
    marks = set()
    for published, fenced in pairs:
        assert (published.system, published.prompt_name) == (fenced.system, fenced.prompt_name)
        lines = MARK.findall(fenced.user)
        assert len(lines) == 2 * fenced.turn
        marks.add(lines[0])
        rest = fenced.user.removeprefix(fencing.notice(lines[0]))
        assert rest.replace(f"{lines[0]}\n", "").replace(f"\n{lines[0]}", "") == published.user
    assert len(marks) == len(pairs) == 40  # each call has its own
