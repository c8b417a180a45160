"""Which stages are brought back before DVC comes to them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_cache_dvc import step

from bezoar.cache import ahead
from bezoar.cache.stages import stages_of

STEPS = [
    step("source", ("words",), outputs=("source/rows",)),
    step("mix", ("all",), inputs=("source/rows",), outputs=("mixes/all/rows",), outs=("mixes/all",)),
    step("mix", ("few",), inputs=("source/rows",), outputs=("mixes/few/rows",), outs=("mixes/few",)),
    step("train", ("sft",), inputs=("mixes/all/rows", "words"), outputs=("adapters/sft",)),
]


def asked(*words: str) -> list[str]:
    build: Any = SimpleNamespace(steps=STEPS, stages=stages_of(STEPS))
    return [one.stage for one in ahead._named(build, ["dvc", "repro", *words])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["source-words", "mix-all", "mix-few", "train-sft"]),
        (["--force"], ["source-words", "mix-all", "mix-few", "train-sft"]),
        (["mix-few"], ["source-words", "mix-few"]),
        (["dvc.yaml:train-sft"], ["source-words", "mix-all", "train-sft"]),
        (["mixes/all"], ["source-words", "mix-all"]),
        (["mix-few", "mix-all"], ["source-words", "mix-all", "mix-few"]),
    ],
)
def test_what_dvc_is_asked_for_with_all_that_it_is_made_of(words: list[str], expected: list[str]) -> None:
    assert asked(*words) == expected


def test_outputs_of_other_stages_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = {
        "a": {"outs": [{"data/a": {"persist": True}}]},
        "b": {"metrics": ["results/b.json"]},
        "c": {"cmd": "date"},
    }
    Path("data/a").mkdir(parents=True)
    assert ahead._is_missing(written, "a")
    assert not ahead._is_missing(written, "b")  # its own run brings that


def test_it_is_done_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [ahead._is_marked(run) for run in ("1-1", "1-1", "2-1", "2-1")] == [False, True, False, True]


@pytest.mark.parametrize("word", ["-s", "--single-item", "-d", "--downstream"])
def test_nothing_is_brought_back_where_dvc_looks_at_no_stage_before(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "words_of_dvc", lambda: ["dvc", "repro", word, "train-sft"])
    monkeypatch.setattr(ahead.dvc, "read", lambda path: pytest.fail("dvc.yaml needn't be read"))
    ahead.bring_back("train-sft", "1-1")
