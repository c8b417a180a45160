"""Chains of rows in a recipe, from sample to mix: what `recipe check` refuses, what depends on what, licences."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bezoar.audit.chain import chain, target_of
from bezoar.problems import RecipeError
from bezoar.recipe import licences
from bezoar.recipe.load import load

ROOT = Path(__file__).parents[2]
RECIPE = """\
recipe: chain
shards: 2
models:
  base: {method: hub, repository: org/base, revision: abcdef6789012345678901234567890123456789, licence: MIT}
sources:
  mine: {origin: {kind: builtin, set: dolly, rows: 100}, format: dolly}
  quiz: {origin: {kind: builtin, set: questions, rows: 8}, format: questions}
  hh: {origin: {kind: builtin, set: preferences, rows: 100}, format: hh_rlhf}
backends:
  student: {kind: local, checkpoint: sft}
  judge:
    kind: openai
    model: grader
    terms: CC-BY-NC-4.0
    connection: {api_key_env: GRADER_API_KEY}
schemes:
  own: {method: sample, seeds: {kind: source, name: mine}, teacher: student, n: 3}
  better: {method: revise, seeds: {kind: scheme, name: own}, teacher: student, prompts: prompts.yaml}
scores:
  own: {method: judge, of: own, judge: judge, prompts: prompts.yaml}
  better: {method: judge, of: better, judge: judge, prompts: prompts.yaml}
  ratio: {method: logratio, of: own, strong: sft, weak: base}
pairs:
  play: {method: self_play, of: own}
  best: {method: best_of_n, of: ratio}
  third: {method: ranked, of: own, worse: 3}
  revised: {method: revision, of: better, original: own}
mixes:
  sft: {parts: [mine]}
  pairs: {format: preference, parts: [play, best, third, revised, hh]}
stages:
  sft: {init_from: base, mix: sft}
  dpo: {method: dpo, init_from: sft, mix: pairs}
evals: {}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.yaml").write_text("critique: x\n")
    return yaml.safe_load(RECIPE)


def loaded(data: Any) -> Any:
    Path("params.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return load()


def refusal(data: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        loaded(data)
    return str(caught.value)


def changed(data: Any, key: str, value: Any) -> Any:
    *before, last = key.split(".")
    block = data
    for name in before:
        block = block[name]
    block[last] = value
    return data


def test_a_name_alone_means_the_scheme_then_the_pairs_then_the_source(data: Any) -> None:
    parts = loaded(data).mixes["pairs"].parts
    assert [part.kind for part in parts] == ["pairs"] * 4 + ["source"]
    assert [part.kind for part in loaded(data).mixes["sft"].parts] == ["source"]


def test_a_recipe_without_scores_and_pairs_has_no_values_of_them(data: Any) -> None:
    assert {"scores", "pairs"} <= set(loaded(data).values())
    for section in ("scores", "pairs"):
        del data[section]
    data["mixes"]["pairs"]["parts"] = ["hh"]
    values = loaded(data).values()
    assert not {"scores", "pairs"} & set(values)
    assert not {"scores", "pairs"} & set(values["page"])
    assert "paired" not in values["cards"]["pairs"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schemes.own.seeds", {"kind": "scheme", "name": "owm"}, "no such scheme"),
        ("schemes.own.seeds.name", "quiz", "source `quiz` holds other rows"),
        ("schemes.own.seeds", {"kind": "scheme", "name": "better"}, "a scheme starts from its own rows"),
        ("scores.own.of", "orca", "no such scheme"),
        ("scores.ratio.weak", "bass", "no such checkpoint"),
        ("pairs.best.of", "play", "no such scores"),
        ("pairs.play.of", "better", "the scheme's rows are no answers to its seeds"),
        ("pairs.third.worse", 4, "method ranked needs 4 answers to a prompt"),
        ("schemes.own.n", 1, "method best_of_n needs 2 answers to a prompt"),
        ("pairs.best.of", "better", "method best_of_n needs 2 answers to a prompt"),
        ("pairs.revised.of", "own", "these scores are of no revisions"),
        ("pairs.revised.original", "better", "these scores aren't those of the revised answers"),
        ("mixes.sft.parts", [{"kind": "pairs", "name": "bets"}], "no such pairs"),
        ("mixes.sft.parts", ["own"], "only rows that a filter keeps are taken"),
        ("backends.student.checkpoint", "dpo", "a checkpoint is built from itself"),
        ("scores.ratio.strong", "dpo", "a checkpoint is built from itself"),
    ],
)
def test_a_chain_that_can_not_be_built_is_refused(data: Any, key: str, value: Any, said: str) -> None:
    loaded(data)
    assert said in refusal(changed(data, key, value))


def test_a_scheme_that_samples_may_have_a_filter_and_its_rows_are_those_kept(data: Any) -> None:
    data["filters"] = {"own": {"judge": None}}
    data["mixes"]["sft2"] = {"parts": ["own"]}
    recipe = loaded(data)
    assert recipe.kept_of("own") == ("filtered/own", "kept.jsonl")
    assert recipe.kept_of("better") == ("generated/better", "rows.jsonl")
    steps = [f"{step.kind} {step.name}" for step in chain("pairs", "play", recipe)]
    assert steps == ["source mine", "generate own", "filter own", "pairs play"]


def test_a_sampling_teacher_may_be_the_checkpoint_that_the_stage_starts_from(data: Any) -> None:
    recipe = loaded(data)
    assert recipe.trained_on("dpo") == ["pairs", "sft"]
    assert recipe.loose_ends() == {
        "filters": [],
        "mixes": [],
        "stages": ["dpo"],
        "selections": [],
        "schemes": [],
        "scores": [],
        "pairs": [],
    }


def test_steps_of_pairs_come_in_order_each_once(data: Any) -> None:
    steps = [f"{step.kind} {step.name}" for step in chain("mixes", "pairs", loaded(data))]
    assert steps == [
        "source mine",
        "generate own",
        "pairs play",
        "score ratio",
        "pairs best",
        "score own",
        "pairs third",
        "generate better",
        "score better",
        "pairs revised",
        "source hh",
        "mix pairs",
        "certificate pairs",
    ]


def test_a_stage_that_needs_win_rates_takes_pairs_that_have_scores(data: Any) -> None:
    data["stages"]["dpo"]["method"] = "sppo"
    data["mixes"]["pairs"]["parts"] = ["best", "third"]
    loaded(data)
    data["mixes"]["pairs"]["parts"] = ["best", "play"]
    assert "pairs `play` have no win_rate_chosen and no win_rate_rejected" in refusal(data)


def test_blocks_of_one_name_are_told_apart(data: Any) -> None:
    recipe = loaded(data)
    assert target_of("own", recipe) == ("scores", "own", ["schemes.own"])
    assert target_of("schemes.own", recipe) == ("schemes", "own", [])
    assert target_of("pairs", recipe) == ("mixes", "pairs", [])


def test_pairs_carry_the_licences_of_seeds_teachers_and_judges(data: Any) -> None:
    recipe = loaded(data)
    found = {one.what: (one.text, one.judges) for one in licences.of_mix(recipe, "pairs")}
    assert found == {
        "source mine": ("Apache-2.0", False),  # of the embedded world
        "model base": ("MIT", False),  # of the checkpoint that answered
        "backend judge, judge of own": ("CC-BY-NC-4.0", True),
        "source hh": ("Apache-2.0", False),
    }
    data["commercial"] = True
    assert "backend judge, judge of own: commercial use isn't permitted" in refusal(data)


def test_a_new_checkpoint_behind_a_server_is_a_new_key_of_each_request(tmp_path: Path) -> None:
    from bezoar.blocks import Sampling
    from bezoar.requests.base import ask
    from bezoar.requests.blocks import Connection
    from bezoar.requests.openai import OpenAi, OpenAiBackend

    connection = Connection.model_validate({"api_key_env": "KEY", "base_url_env": "URL"})
    block = OpenAiBackend(kind="openai", model="student", checkpoint="sft", connection=connection)
    request = ask("sample:1:0", "Hello", Sampling())
    keys = {OpenAi(block, weights).call(request, 0, 9).key for weights in ("a" * 32, "b" * 32)}
    assert len(keys) == 2
