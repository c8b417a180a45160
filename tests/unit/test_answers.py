"""Answers of checkpoints: any number of turns, made once for all evaluations, each with its tokens and likelihood."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from bezoar.blocks import Prompt, Sampling
from bezoar.problems import RecipeError
from bezoar.recipe.estimate import Estimator
from bezoar.recipe.load import load
from bezoar.requests.base import Completion, Request
from bezoar.steps.data.rows import AnswerRow, QuestionRow, TurnRow, read_rows, write_rows
from bezoar.steps.evaluate import answers, mtbench
from bezoar.steps.evaluate.controls import write_controls

QUESTIONS = [
    QuestionRow(question_id=1, category="a", turns=["One?"]),
    QuestionRow(question_id=2, category="a", turns=["One?", "Two?", "Three?"]),
    QuestionRow(question_id=3, category="b", turns=["One?", "Two?"]),
]
KEYS = {"temperatures": {"a": 0.0, "b": 0.5}, "top_p": 1.0, "max_new_tokens": 8}


@dataclass
class Parrot:
    """Says how many messages it was sent, and the last one."""

    asked: list[list[Request]] = field(default_factory=list)

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        self.asked.append(requests)
        return [
            Completion(f"{len(one.messages)} {one.turns[-1]}", "stop", "parrot", tokens=4, logprob=-1.5)
            for one in requests
        ]


def written(tmp_path: Path, model: Any, **changes: Any) -> tuple[dict[int, list[str]], list[TurnRow]]:
    """Answers by question, and how they ended."""
    write_rows(tmp_path / "questions.jsonl", QUESTIONS)
    out = tmp_path / "answers" / "student"
    answers.write_answers(tmp_path / "questions.jsonl", model, answers.Asking(**KEYS, **changes), out)
    rows = {row.question_id: row.choices[0].turns for row in read_rows(out / "answers.jsonl", AnswerRow)}
    return rows, list(read_rows(out / "turns.jsonl", TurnRow))


def test_a_turn_is_asked_after_the_models_own_answers_to_the_turns_before(tmp_path):
    parrot = Parrot()
    rows, ends = written(tmp_path, parrot, single_turn=False)
    assert rows == {1: ["1 One?"], 2: ["1 One?", "3 Two?", "5 Three?"], 3: ["1 One?", "3 Two?"]}
    last = parrot.asked[2][0]
    roles = ("user", "assistant", "user", "assistant", "user")
    assert last.messages == tuple(zip(roles, ("One?", "1 One?", "Two?", "3 Two?", "Three?"), strict=True))
    assert [one.sampling.temperature for one in parrot.asked[1]] == [0.0, 0.5]
    places = [(row.question_id, row.turn) for row in ends]
    assert places == [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (2, 3)]  # each turn of all questions together
    assert {(row.finish_reason, row.tokens, row.logprob) for row in ends} == {("stop", 4, -1.5)}


def test_in_the_single_turn_form_every_turn_is_a_question_of_its_own(tmp_path):
    parrot = Parrot()
    rows, _ = written(tmp_path, parrot, single_turn=True)
    assert rows == {1: ["1 One?"], 2: ["1 One?", "1 Two?", "1 Three?"], 3: ["1 One?", "1 Two?"]}
    keys = [one.key for requests in parrot.asked for one in requests]
    assert len(set(keys)) == len(keys) == 6  # draws of equal turns differ


def test_controls_answer_as_many_turns_as_a_question_has(tmp_path):
    write_rows(tmp_path / "questions.jsonl", QUESTIONS)
    columns = dict.fromkeys(("type", "description", "category", "output_format", "system_prompt"), "")
    rows = [columns | {"name": name, "prompt_template": "{answer} <end>"} for name in mtbench.PROMPTS]
    write_rows(tmp_path / "prompts.jsonl", rows)
    out = tmp_path / "control_empty"
    write_controls(tmp_path / "questions.jsonl", None, tmp_path / "prompts.jsonl", 0, out)
    assert [len(row.choices[0].turns) for row in read_rows(out / "answers.jsonl", AnswerRow)] == [1, 3, 2]


def test_mt_bench_asks_for_two_turns_and_names_the_question_that_has_another_number(tmp_path):
    write_rows(tmp_path / "questions.jsonl", QUESTIONS)
    with pytest.raises(ValueError, match="question 1 with 1, question 2 with 3; 2 of 3 questions have another number"):
        mtbench.read_questions(tmp_path / "questions.jsonl")
    write_rows(tmp_path / "questions.jsonl", QUESTIONS[2:])
    assert mtbench.read_questions(tmp_path / "questions.jsonl") == QUESTIONS[2:]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_likelihood_is_that_of_the_sampled_tokens_at_temperature_1(tmp_path, random_llama, temperature):
    import torch

    folder = random_llama(tmp_path / "student", ["One? Two? Three?"] * 9)
    keys = KEYS | {"temperatures": {"a": temperature, "b": temperature}, "top_p": 0.9, "single_turn": False}
    block = answers.Answering(**keys, batch_size=3, dtype="float32")
    model: Any = answers.loaded(folder, block, Prompt(system=None), 0, "student")
    requests = [Request(name, (("user", text),), Sampling(temperature=temperature, top_p=0.9, max_new_tokens=8))
                for name, text in (("x", "One?"), ("y", "One? Two? Three?"))]  # fmt: skip
    drawn: list[list[int]] = []
    completion = model._completion
    model._completion = lambda row, limit, logprobs: drawn.append(row[:limit]) or completion(row, limit, logprobs)
    found = model.complete(requests, "ask")
    by_length = sorted(zip(requests, found, strict=True), key=lambda one: len(model.tokens(one[0])))
    for (request, one), row in zip(by_length, drawn, strict=True):
        prompt = model.tokens(request)
        ids = torch.tensor([prompt + row[: one.tokens]], device=model.model.device)
        with torch.inference_mode():
            scores = model.model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        by_hand = scores.gather(1, ids[0, len(prompt) :, None]).sum().item()
        assert one.logprob == pytest.approx(by_hand, abs=1e-3)
        assert by_hand < -1
        assert one.tokens == len(ids[0]) - len(prompt)


def test_an_answer_that_ends_counts_the_token_that_ends_it(tmp_path, random_llama):
    folder = random_llama(tmp_path / "student", ["One?"] * 9)
    keys = KEYS | {"single_turn": False}
    model: Any = answers.loaded(folder, answers.Answering(**keys, batch_size=3, dtype="float32"), Prompt(), 0, "s")
    end = min(model.ends)
    found = model._completion([5, 6, end, 0, 0], 5, [-1.0, -0.5, -0.25, -9.0, -9.0])
    assert (found.tokens, found.logprob, found.finish_reason) == (3, -1.75, "stop")
    cut = model._completion([5, 6, 7, end], 3, [-1.0, -0.5, -0.25, -9.0])
    assert (cut.tokens, cut.logprob, cut.finish_reason) == (3, -1.75, "length")


# --- in a recipe -----------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_llama: Any) -> dict[str, Any]:
    """A recipe with a set of questions that two evaluations use."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        random_llama(tmp_path / name, ["One?"] * 9)
    write_rows(tmp_path / "questions.jsonl", QUESTIONS)
    return {
        "recipe": "asked",
        "sources": {"quiz": {"path": "questions.jsonl", "format": "questions"}},
        "models": {name: {"method": "local", "path": name} for name in ("one", "two")},
        "answers": {"quiz": {"questions": "quiz", "max_new_tokens": 7}},
        "evals": {
            "seen": {"method": "answers", "checkpoints": ["one"], "answers": "quiz"},
            "again": {"method": "answers", "checkpoints": ["two", "one"], "answers": "quiz"},
        },
    }


def loaded(data: dict[str, Any]) -> Any:
    """The recipe, checked."""
    Path("params.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return load()


def test_evaluations_share_the_answers_that_they_name(recipe):
    found = loaded(recipe)
    assert found.checkpoints_of(found.answers["quiz"]) == ["one", "two"]
    made = [name for name in found.stage_names() if name.startswith("answers-")]
    assert made == ["answers-quiz-one", "answers-quiz-two"]  # each once
    assert found.targets() == ["data/targets/seen/questions.jsonl", "data/targets/again/questions.jsonl"]
    assert found.resources_of("answers-quiz-one") == found.resources_of("default")


def test_an_unknown_block_of_answers_is_named_with_its_line(recipe):
    recipe["evals"]["seen"]["answers"] = "quizz"
    with pytest.raises(RecipeError, match=r"evals.seen.answers: no such answers\n  found:    quizz\n  expected: quiz"):
        loaded(recipe)


@pytest.mark.parametrize("key", ["questions", "temperatures", "max_new_tokens", "dtype", "served_by"])
def test_an_evaluation_has_no_key_of_its_answers(recipe, key):
    recipe["evals"]["seen"][key] = "quiz"
    with pytest.raises(RecipeError, match=f"evals.seen.{key}: no such key"):
        loaded(recipe)


def test_the_calls_of_a_server_are_the_turns_of_its_questions(recipe):
    found = loaded(recipe)
    known = Estimator(found)
    block = found.answers["quiz"]
    assert block.demand([], known, "served_by").calls is None  # nobody knows the turns before the questions are there
    Path("data/source/quiz").mkdir(parents=True)
    write_rows(Path("data/source/quiz/rows.jsonl"), QUESTIONS)
    demand = block.demand([], known, "served_by")
    assert (demand.calls, demand.sampling.max_new_tokens) == (6, 7)
    assert known.most_tokens("quiz") == 7
    assert known.questions("quiz") == 3


def test_mt_bench_says_how_many_turns_its_questions_have_before_they_are_there():
    found = load(ROOT / "recipes/tiny.yaml")
    assert found.turns_of("mtbench") == 2
    assert found.answers["mtbench"].single_turn is False
