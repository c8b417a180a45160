"""Selections in the job graph: what they add to it, what an edit reruns, and a whole build of all methods."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workspace
from test_plan import planned, pretend_built

WORDS = "river stone lamp garden paper cloud winter copper music bridge forest silver market harbour candle".split()
COMMON = {"of": "mine", "rows": 20}


def selected(tiny: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The embedded recipe with a difficult half of Evol's rows in place of all of them, and a random one beside it."""
    hard = {"method": "difficulty", "of": "evol", "rows": 200, "checkpoint": "sft_orca", "dtype": "float32"} | values
    selections = {"hard": hard, "random": {"method": "random", "of": "evol", "rows": 200}}
    parts = ["hard", *tiny["mixes"]["evol"]["parts"][1:]]
    return tiny | {"selections": selections, "mixes": tiny["mixes"] | {"evol": {"parts": parts}}}


@pytest.fixture
def tiny() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text()))


def test_a_selection_adds_one_job_and_what_is_trained_before_it(workspace: Workspace, tiny: dict[str, Any]) -> None:
    before = planned(workspace, tiny)
    after = planned(workspace, selected(tiny))
    # one of them goes into no mix; sft_orca, whose losses are read, is merged for an evaluation or for its own sake
    assert after - before == Counter({"select": 2})
    assert before - after == Counter()


def test_an_edit_of_a_selection_reruns_it_and_what_comes_after(workspace: Workspace, tiny: dict[str, Any]) -> None:
    pretend_built(workspace, selected(tiny))
    jobs = planned(workspace, selected(tiny, rows=150))
    assert (jobs["select"], jobs["generate"], jobs["filter"]) == (1, 0, 0)
    assert jobs["mix"] == len(["evol", "hh", "hh_pairs"])  # the later ones hold out no row of the first
    assert jobs["train"] == jobs["merge"] == len(["sft_evol", "sft_hh", "dpo_hh"])


def recipe() -> dict[str, Any]:
    """A source of one's own rows, a selection of it by each method, and a mix of all of them."""
    connection = {"base_url_env": "TEACHER_BASE_URL", "api_key_env": "TEACHER_API_KEY"}
    api = {"kind": "openai", "model": "test-teacher", "token_limit_field": "max_tokens", "connection": connection}
    deita = {"method": "deita", "complexity": "scorer", "quality": "scorer", "embedding": "base", "dtype": "float32"}
    deita |= {"prompts": "recipes/prompts/selecting/deita.yaml", "max_cosine": 0.999, "max_failed_share": 0.2}
    by_model = {"checkpoint": "base", "dtype": "float32"}
    selections = {
        "random": COMMON | {"method": "random"},
        "longest": COMMON | {"method": "longest"},
        "hard": COMMON | {"method": "difficulty", "max_missing_share": 0.5} | by_model,
        "best": COMMON | deita,
    }
    return {
        "recipe": "selected",
        "budget": {"prices": "prices.yaml", "run": {"dollars": 1.0, "tokens": None}, "approve_above": None},
        "backends": {"scorer": api},
        "models": {"base": {"method": "local", "path": "weights"}},
        "sources": {"mine": {"path": "rows.jsonl", "format": "dolly"}},
        "selections": selections,
        "mixes": {name: {"parts": [name], "eval_rows": 2, "near_duplicates": None} for name in selections},
    }


@pytest.fixture
def written(workspace: Workspace, random_llama: Callable[..., Path]) -> Path:
    """The recipe with its rows and a model."""
    root = workspace.root
    texts = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 4 + n % 9)) for n in range(60)]
    rows = [
        {"instruction": f"Say {n}.", "context": "", "response": text, "category": "a"} for n, text in enumerate(texts)
    ]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "prices.yaml").write_text((ROOT / "tests/real/prices.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(recipe(), sort_keys=False))
    random_llama(root / "weights", texts)
    return root


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(root: Path) -> list[str]:
    """The keys of all stored answers."""
    return [row["key"] for path in sorted(root.glob("responses/select-best/*.answers.jsonl")) for row in lines(path)]


@pytest.mark.end_to_end
@pytest.mark.short
def test_every_method_selects_rows_into_a_mix_and_asks_once(workspace: Workspace, written: Path) -> None:
    workspace.run("bezoar", "recipe", "check")
    workspace.snakemake()
    for name in recipe()["selections"]:
        folder = written / "data/selected" / name
        taken, left = lines(folder / "rows.jsonl"), lines(folder / "dropped.jsonl")
        assert len({row["id"] for row in taken} | {row["row"]["id"] for row in left}) == len(taken) + len(left) == 60
        scores = [one["score"] for one in lines(folder / "scores.jsonl")]
        assert name == "random" or scores == sorted(scores, reverse=True)
        mix = json.loads((written / f"data/mixes/{name}/report.json").read_text())
        assert mix["train"] + mix["eval"] == len(taken)
        said = workspace.run("bezoar", "rows", f"mixes.{name}")
        assert f"part (selected) {name}" in said
        assert "note:" not in said
    best = [row["measures"] for row in lines(written / "data/selected/best/scores.jsonl")]
    assert all(1.3 <= one["complexity"] <= 6 and 1.3 <= one["quality"] <= 6 for one in best)
    reasons = Counter(row["reason"] for row in lines(written / "data/selected/best/dropped.jsonl"))
    assert {"not selected", "failed: no score"} <= {*reasons}
    before = {path: path.read_bytes() for path in sorted((written / "data/selected").glob("*/*.json*"))}
    assert "Nothing to be done" in workspace.snakemake()
    paid = answers(written)
    assert 60 < len(paid) <= 2 * 60  # each row once for either score, but no quality for one without a complexity
    workspace.run("bezoar", "forget", "select-best", "select-hard")
    assert "select" in workspace.snakemake()
    assert {path: path.read_bytes() for path in sorted((written / "data/selected").glob("*/*.json*"))} == before
    assert answers(written) == paid
    page = (written / "results/report.html").read_text()
    assert all(f"Rows of the selection {name}" in page for name in recipe()["selections"])
