"""Pairs of answers: which two of a prompt, and what is dropped and why; and pairs as rows of a mix."""

import json
from pathlib import Path
from typing import Any

import mixes
import pytest

from bezoar.errors import InputError
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.mixing import write_mix
from bezoar.steps.data.rows import GeneratedRow, PairRow, dialogue, row_id, write_rows
from bezoar.steps.generate.seeds import PromptRow
from bezoar.steps.pairs import ranking, revision, self_play
from bezoar.steps.pairs.best_of_n import BestOfN
from bezoar.steps.pairs.block import paired, write_shard
from bezoar.steps.score.block import ScoredRow

BEST = BestOfN.model_validate({"method": "best_of_n", "of": "own"})


def answer(text: str, prompt: str = "a", parent: str = "seed") -> GeneratedRow:
    empty: dict[str, Any] = {"operation": None, "category": None, "system": None, "seed_id": None, "round": 0}
    made: dict[str, Any] = {"teacher": "m", "prompt_hash": "", "finish_reason": "stop", "topics": []}
    about = {"scheme": "own", "root_id": row_id("root", prompt), "parent_ids": [parent]}
    return GeneratedRow.model_validate(
        {"id": row_id(prompt, text), "instruction": prompt, "response": text} | empty | made | about
    )


def scored(text: str, score: float, prompt: str = "a", parent: str = "seed") -> ScoredRow:
    facts = {"score": score, "win_rate": score / 10, "scorer": "j", "scorer_prompt_hash": ""}
    return ScoredRow.model_validate(answer(text, prompt, parent).model_dump() | facts)


def texts(pairs: list[PairRow]) -> list[tuple[str, str]]:
    return [(pair.chosen, pair.rejected) for pair in pairs]


def test_self_play_prefers_the_seeds_answer_to_the_models_own() -> None:
    seeds = {
        name: PromptRow(id=name, root_id="r", system=None, instruction="a", response=said, category=None)
        for name, said in (("seed", "Four."), ("mute", None))
    }
    rows = [answer("Five."), answer("four"), answer(" "), answer("Six.", parent="mute")]
    pairs, dropped = paired(self_play.candidates_of(rows, seeds))
    assert texts(pairs) == [("Four.", "Five.")]
    assert (pairs[0].chosen_id, pairs[0].rejected_id) == ("seed", rows[0].id)
    assert pairs[0].score_chosen is None
    assert [row.reason for row in dropped] == ["equal responses", "empty response", "seed without an answer"]


RANKED = [scored("good", 9), scored("fair", 6), scored("poor", 3), scored("bad", 1)]


@pytest.mark.parametrize(("worse", "rejected"), [(None, "bad"), (2, "fair"), (3, "poor"), (4, "bad")])
def test_the_best_answer_is_paired_with_the_one_at_a_place(worse: int | None, rejected: str) -> None:
    pairs, dropped = paired(ranking.candidates_of(RANKED[::-1], worse))
    assert (texts(pairs), dropped) == ([("good", rejected)], [])
    assert (pairs[0].score_chosen, pairs[0].win_rate_chosen) == (9, 0.9)
    assert pairs[0].win_rate_rejected == next(row.win_rate for row in RANKED if row.response == rejected)


def test_prompts_with_fewer_or_tied_answers_give_no_pair_and_are_counted(tmp_path: Path) -> None:
    rows = [*RANKED, scored("only", 5, "b"), scored("one", 4, "c"), scored("other", 4, "c")]
    candidates = ranking.candidates_of(rows, None)
    write_shard(tmp_path / "best/0000", candidates, BEST)
    report = json.loads((tmp_path / "best/0000/report.json").read_text())
    assert report == {
        "candidates": 3,
        "pairs": 1,
        "share": 0.3333,
        "dropped": {"fewer answers": 1, "tied scores": 1},
    }
    lines = (tmp_path / "best/0000/dropped.jsonl").read_text().splitlines()
    assert {json.loads(line)["detail"] for line in lines} == {"1 with a score", "both 4"}


def test_too_many_dropped_candidates_are_an_error(tmp_path: Path) -> None:
    candidates = ranking.candidates_of([scored("only", 5, f"prompt {number}") for number in range(20)], None)
    with pytest.raises(InputError, match=r"20 of 20 rows dropped(.|\n)*20 fewer answers(.|\n)*pairs.best.max_dropped"):
        write_shard(tmp_path / "best/0000", candidates, BEST)


def test_a_revision_is_paired_only_if_its_score_has_risen() -> None:
    originals = {row.id: row for row in (scored("first", 4), scored("second", 4), scored("third", 4))}
    better, worse, tied = (
        scored(f"{word} {row.response}", score, parent=row.id)
        for (word, score), row in zip((("better", 6), ("worse", 2), ("tied", 4)), originals.values(), strict=True)
    )
    lost = scored("better, too", 9, parent="no score")
    pairs, dropped = paired(revision.candidates_of([better, worse, tied, lost], originals))
    assert texts(pairs) == [("better first", "first")]
    assert [(row.reason, row.detail) for row in dropped] == [
        ("not better by its score", "2 after 4"),
        ("tied scores", "both 4"),
        ("original without a score", ""),
    ]


def pair(number: int, root: str = "") -> PairRow:
    return PairRow(
        id=row_id("pair", str(number)),
        root_id=row_id(root or f"root {number}"),
        messages=dialogue(f"What is {number}?"),
        chosen=f"{number}, a number",
        rejected=f"none of {number}",
        chosen_id="c",
        rejected_id="r",
    )


def test_pairs_enter_a_preference_mix_with_their_file_and_line(tmp_path: Path) -> None:
    for shard in (0, 1):
        rows = [pair(number, "root" if number < 4 else "") for number in range(shard, 20, 2)]
        write_rows(tmp_path / f"pairs/best/{shard:04d}/rows.jsonl", rows)
    where = mixes.folders(tmp_path, sources={"hh": [mixes.preference(f"{number} of hh") for number in range(5)]})
    parts = [{"kind": "pairs", "name": "best"}, {"kind": "source", "name": "hh"}]
    block = Mix.model_validate({"format": "preference", "parts": parts, "eval_rows": 4, "near_duplicates": None})
    write_mix(block, where, None, [], None, 0, tmp_path / "mix")
    report = json.loads((tmp_path / "mix/report.json").read_text())
    assert [part["taken"] for part in report["parts"]] == [20, 5]
    examples = [json.loads(line) for split in ("train", "eval") for line in (tmp_path / f"mix/{split}.jsonl").open()]
    assert len(examples) == 25
    assert sum(one["family"] == row_id("root") for one in examples) == 4  # of one tree, so on one side of the split
    origins = [json.loads(line) for line in (tmp_path / "mix/origins.jsonl").open()]
    first = next(one for one in origins if one["id"] == row_id("pair", "3"))
    assert (first["part"], first["kind"], first["line"]) == ("best", "pairs", 2)
    assert first["file"].endswith("pairs/best/0001/rows.jsonl")


def test_a_prompt_completion_mix_takes_the_chosen_answer_of_a_pair(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs/best/0000/rows.jsonl", [pair(number) for number in range(20)])
    block = Mix.model_validate({"parts": [{"kind": "pairs", "name": "best"}], "eval_rows": 4, "near_duplicates": None})
    write_mix(block, mixes.folders(tmp_path, shards=1), None, [], None, 0, tmp_path / "mix")
    example = json.loads((tmp_path / "mix/train.jsonl").read_text().splitlines()[0])
    assert example["completion"][0]["content"].endswith("a number")
    assert "rejected" not in example
