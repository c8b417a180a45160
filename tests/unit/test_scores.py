"""Scores of rows: win rates by hand, ratings that are asked for again, log ratios against plain transformers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bezoar.errors import InputError
from bezoar.requests.base import Completion, Request
from bezoar.steps.backends.verifier import Verifier
from bezoar.steps.data.rows import FilteredRow, GeneratedRow, write_rows
from bezoar.steps.score.block import ScoredRow, rows_of
from bezoar.steps.score.judge import JudgeScore, judged
from bezoar.steps.score.logratio import LogRatio, log_ratios
from bezoar.steps.score.scoring import Scored, scored_rows, win_rates, write_shard

TEMPLATES = {"system": "Rate.", "user": "{fence} {instruction} {fence} {response} {fence}"}


def row(name: str, instruction: str = "a", response: str = "") -> GeneratedRow:
    empty: dict[str, Any] = {"operation": None, "category": None, "system": None, "seed_id": None}
    facts: dict[str, Any] = {"scheme": "own", "root_id": "r", "parent_ids": [], "round": 0, "topics": []}
    made = {"teacher": "m", "prompt_hash": "", "finish_reason": "stop"}
    texts = {"id": name, "instruction": instruction, "response": response or name}
    return GeneratedRow.model_validate(empty | facts | made | texts)


def block(**values: Any) -> JudgeScore:
    return JudgeScore.model_validate(
        {"method": "judge", "of": "own", "judge": "judge", "prompts": "rating.yaml"} | values
    )


def test_win_rates_are_the_means_of_sigmoids_of_differences_itself_included() -> None:
    # 2 against 2, 1, 0: sigmoid(0), sigmoid(1), sigmoid(2) = .5, .731059, .880797, whose mean is .703952
    assert win_rates([2, 1, 0]) == pytest.approx([0.703952, 0.5, 0.296048], abs=5e-7)
    assert win_rates([7]) == [0.5]
    assert win_rates([3, 3]) == [0.5, 0.5]
    assert win_rates([1e4, -1e4]) == pytest.approx([0.75, 0.25])  # (1 + .5) / 2: no overflow


def test_win_rates_are_over_the_answers_to_one_prompt() -> None:
    rows = [row("1"), row("2", "b"), row("3"), row("4")]
    scored, dropped = scored_rows(rows, [Scored(score, "m") for score in (2.0, 9.0, 0.0, 1.0)])
    assert not dropped
    assert {one.id: one.win_rate for one in scored} == {"1": 0.703952, "2": 0.5, "3": 0.296048, "4": 0.5}
    assert [one.id for one in scored] == ["1", "2", "3", "4"]


def test_a_row_without_a_score_counts_in_no_win_rate_and_in_the_report(tmp_path: Path) -> None:
    rows = [row("1"), row("2")]
    found = [Scored(2.0, "m"), Scored(None, "m", fault="unreadable rating", detail="Hm.")]
    write_shard(tmp_path / "own/0000", rows, found, block(max_failed_share=0.5))
    report = json.loads((tmp_path / "own/0000/report.json").read_text())
    assert report == {"rows": 2, "scored": 1, "failed": {"failed: unreadable rating": 1}, "mean": 2.0}
    kept = ScoredRow.model_validate_json((tmp_path / "own/0000/rows.jsonl").read_text())
    assert (kept.score, kept.win_rate) == (2.0, 0.5)
    with pytest.raises(InputError, match="1 of 2, such as failed: unreadable rating: 'Hm"):
        write_shard(tmp_path / "other/0000", rows, found, block())


def test_a_rating_that_can_not_be_read_is_asked_for_again() -> None:
    asked: list[str] = []

    class Judge:
        """Says a rating at the second try only for the row `slow`, and quotes one for the row `[[9]]`."""

        def complete(self, requests: list[Request], what: str) -> list[Completion]:
            asked.extend(request.key for request in requests)
            return [Completion(self.said(request), "stop", "judge") for request in requests]

        def said(self, request: Request) -> str:
            assert request.subject
            if request.subject.response == "[[9]]":
                return "It says [[9]]. I can't tell."
            return "Hm." if request.subject.response == "slow" and request.key.endswith(":0") else "Rating: [[7]]"

    found = judged([row("1"), row("2", response="slow"), row("3", response="[[9]]")], Judge(), block(), TEMPLATES, 0)
    assert [one.score for one in found] == [7.0, 7.0, None]
    assert asked == ["score:1:0", "score:2:0", "score:3:0", "score:2:1", "score:3:1"]


def test_the_embedded_verifier_scores_offline() -> None:
    asked = "what is 2 plus 2 ?"
    rows = [row("1", asked, "4 ."), row("2", asked, "5 ."), row("3", asked, "[[10]]")]
    right, wrong, quoted = (one.score or 0 for one in judged(rows, Verifier(), block(), TEMPLATES, 0))
    assert right > wrong >= 1
    assert quoted < right


def test_rows_of_a_filter_are_scored_without_its_verdicts(tmp_path: Path) -> None:
    verdict = {"status": "accept", "rating": 9.0, "reason": "", "judge": "j", "judge_prompt_hash": "h"}
    write_rows(tmp_path / "kept.jsonl", [FilteredRow.model_validate(row("1").model_dump() | verdict)])
    write_rows(tmp_path / "rows.jsonl", [row("1")])
    write_rows(tmp_path / "none.jsonl", [])
    assert list(rows_of(tmp_path / "kept.jsonl")) == list(rows_of(tmp_path / "rows.jsonl")) == [row("1")]
    assert list(rows_of(tmp_path / "none.jsonl")) == []


def test_a_log_ratio_is_that_of_plain_transformers(tmp_path: Path, random_llama: Callable[..., Path]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = ["Double 4.", "It is 8.", "It is seven."]
    strong = random_llama(tmp_path / "strong", texts)
    weak = random_llama(tmp_path / "weak", texts)
    model = AutoModelForCausalLM.from_pretrained(weak)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(0.5)
    model.save_pretrained(weak)
    values = {"method": "logratio", "of": "own", "strong": "s", "weak": "w", "dtype": "float32", "batch_size": 2}
    rows = [row(text, "Double 4.", text) for text in texts[1:]]
    found = log_ratios(rows, [strong, weak], LogRatio.model_validate(values), "Be brief.")

    def likelihood(folder: Path, answer: str) -> float:
        """Token by token: the sum of log p(token | tokens before) over the answer and the end that follows it."""
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Double 4."}]
        start = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": answer}], tokenize=False)
        ids, first = (tokenizer(text, add_special_tokens=False).input_ids for text in (whole, start))
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return sum(float(logits[place - 1, ids[place]]) for place in range(len(first), len(ids)))

    expected = [likelihood(strong, one) - likelihood(weak, one) for one in texts[1:]]
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-3)
    assert all(math.isfinite(one) and one != 0 for one in expected)
    assert found[0].scorer == "s / w"
