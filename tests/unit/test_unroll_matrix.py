"""Matrices of params.yaml become copies of the blocks that their levels change."""

from pathlib import Path

import pytest
import yaml

from bezoar import yaml12
from bezoar.problems import RecipeError
from bezoar.recipe import Recipe, load
from bezoar.recipe.show import shown

RECIPE = """\
recipe: mine
resources:
  train-dpo: {minutes: 90}
  likelihood-held-dpo: {minutes: 7}
sources:
  mine: {path: rows.jsonl, format: chat}
  pairs: {path: rows.jsonl, format: hh_rlhf}
models:
  base: {method: local, path: model}
mixes:
  first: {parts: [mine]}
  second: {parts: [mine]}
  pairs: {format: preference, parts: [pairs]}
stages:
  sft: {init_from: base, mix: first}
  more: {init_from: sft, mix: second}
  dpo: {method: dpo, init_from: more, mix: pairs}
evals:
  held: {method: likelihood, checkpoints: [dpo], mixes: [second]}
matrix:
  both:
    eval: held
    score: [dpo]
    axes:
      beta:
        b010: {}
        b005: {stages.dpo.beta: 0.05}
      rate:
        slow: {}
        fast: {stages.more.learning_rate: 1.0e-3}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}\n")
    Path("model").mkdir()
    Path("model/model.safetensors").touch()
    Path("model/chat_template.jinja").write_text("{{ messages[-1].content }}")


def loaded(text: str = RECIPE) -> Recipe:
    Path("params.yaml").write_text(text)
    return load()


def replaced(*pairs: tuple[str, str]) -> str:
    text = RECIPE
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def refusal(*pairs: tuple[str, str]) -> str:
    with pytest.raises(RecipeError) as caught:
        loaded(replaced(*pairs))
    return str(caught.value)


def added(recipe: Recipe) -> dict[str, list[str]]:
    """By section, the blocks that the matrix adds."""
    plain = loaded(RECIPE.partition("matrix:")[0])
    sections = ("sources", "models", "mixes", "stages")
    return {
        one: new
        for one in sections
        if (new := [name for name in getattr(recipe, one) if name not in getattr(plain, one)])
    }


def test_a_block_is_copied_only_if_it_or_what_it_is_built_from_changes() -> None:
    # beta changes dpo alone; the rate changes `more`, and dpo, which starts from it. The mixes are those of all.
    assert added(loaded()) == {"stages": ["dpo_fast", "more_fast", "dpo_b005", "dpo_b005_fast"]}


def test_copies_name_the_copies_that_they_are_built_from() -> None:
    stages = loaded().stages
    assert {name: stages[name].init_from for name in ("dpo_b005", "dpo_fast", "dpo_b005_fast")} == {
        "dpo_b005": "more",
        "dpo_fast": "more_fast",
        "dpo_b005_fast": "more_fast",
    }
    assert (stages["dpo_b005_fast"].beta, stages["more_fast"].learning_rate) == (0.05, 1e-3)
    assert stages["dpo"] == loaded(RECIPE.partition("matrix:")[0]).stages["dpo"]


def test_every_combination_has_its_checkpoint_which_the_evaluation_scores() -> None:
    recipe = loaded()
    chains = recipe.matrix["both"].chains
    assert [(one.levels, one.checkpoints) for one in chains] == [
        ({"beta": "b010", "rate": "slow"}, {"dpo": "dpo"}),
        ({"beta": "b010", "rate": "fast"}, {"dpo": "dpo_fast"}),
        ({"beta": "b005", "rate": "slow"}, {"dpo": "dpo_b005"}),
        ({"beta": "b005", "rate": "fast"}, {"dpo": "dpo_b005_fast"}),
    ]
    assert recipe.evals["held"].checkpoints == ["dpo", "dpo_fast", "dpo_b005", "dpo_b005_fast"]


def test_a_mix_that_leaves_out_other_rows_is_another_mix() -> None:
    # `second` and `pairs` hold out no row that `first` trains on, so other rows of `first` make other mixes of both
    axis = "stages.more.learning_rate: 1.0e-3"
    recipe = loaded(replaced((axis, "mixes.first.parts: [{name: mine, rows: 9}]")))
    assert added(recipe) == {
        "mixes": ["pairs_fast", "second_fast", "first_fast"],
        "stages": ["dpo_fast", "more_fast", "sft_fast", "dpo_b005", "dpo_b005_fast"],
    }
    assert recipe.earlier_mixes("pairs") == ["first", "second"]
    assert recipe.earlier_mixes("pairs_fast") == ["first_fast", "second_fast"]


def test_blocks_of_two_matrices_with_the_same_content_are_one() -> None:
    second = "  again: {eval: held, score: [dpo], axes: {other: {own: {}, b005: {stages.dpo.beta: 0.05}}}}\n"
    recipe = loaded(RECIPE + second)
    assert added(recipe) == added(loaded())
    assert [one.checkpoints for one in recipe.matrix["again"].chains] == [{"dpo": "dpo"}, {"dpo": "dpo_b005"}]


def test_a_value_that_is_the_default_makes_no_copy() -> None:
    # the default of beta is 0.1
    said = refusal(("stages.dpo.beta: 0.05", "stages.dpo.beta: 0.1"))
    assert (
        "params.yaml:27: matrix.both.axes.beta.b005: level b005 changes nothing that dpo is built from, compared with "
        "b010\n  found:    stages.dpo.beta\n  expected: other values of blocks that lead to dpo" in said
    )


def test_a_seed_of_its_own_is_a_level() -> None:
    axis = "fast: {stages.more.learning_rate: 1.0e-3}"
    recipe = loaded(replaced((axis, "one: {stages.dpo.seed: 1, stages.more.seed: 1}")))
    assert (recipe.stages["dpo_one"].seed, recipe.stages["more_one"].seed, recipe.stages["dpo"].seed) == (1, 1, None)
    assert [recipe.matrix["both"].is_repetition(axis) for axis in ("beta", "rate")] == [False, True]
    assert "seed" not in recipe.values()["stages"]["dpo"]


def test_what_jobs_read_is_a_recipe_that_needs_no_more_unrolling() -> None:
    recipe = loaded()
    Path("params.resolved.yaml").write_text(yaml.safe_dump(recipe.values()))
    again = load("params.resolved.yaml")
    assert again.values() == recipe.values()
    assert "matrix" not in loaded(RECIPE.partition("matrix:")[0]).values()


def test_jobs_of_copies_have_the_resources_of_the_originals() -> None:
    recipe = loaded()
    assert recipe.resources_of("train-dpo_b005_fast").minutes == 90
    assert recipe.resources_of("likelihood-held-dpo_fast").minutes == 7
    assert recipe.resources_of("train-more_fast").minutes == recipe.resources_of("train-more").minutes


def test_show_has_the_copies_with_the_lines_of_their_values() -> None:
    loaded()
    text = shown(Path("params.yaml"))
    copy = [line.strip() for line in text.split("  dpo_b005_fast:\n")[1].splitlines()]
    assert 'init_from: "more_fast"  # params.yaml:17 (matrix both: beta b005, rate fast)' in copy
    assert "beta: 0.05  # params.yaml:27 (matrix both: beta b005, rate fast)" in copy
    assert yaml12.load(text) == load().resolved()


def test_a_matrix_varies_the_blocks_of_a_loop() -> None:
    loop = """
loops:
  spin:
    rounds: 2
    start: dpo
    blocks:
      mixes: {spin: {parts: [mine]}}
      stages: {spin: {init_from: "{before}", mix: "spin_{round}"}}
"""
    axes = replaced(
        ("score: [dpo]", "score: [spin_2]"),
        ("stages.dpo.beta: 0.05", "stages.spin_1.learning_rate: 0.05"),
        ("stages.more.learning_rate", "stages.spin_2.learning_rate"),
    )
    recipe = loaded(axes + loop)
    assert added(recipe)["stages"] == [
        *("spin_1", "spin_2"),  # of the loop
        *("spin_2_fast", "spin_2_b005", "spin_1_b005", "spin_2_b005_fast"),
    ]
    loaded(axes + loop)
    lines = [line.strip() for line in shown(Path("params.yaml")).splitlines()]
    assert 'init_from: "spin_1_b005"  # params.yaml:38 (loop spin, round 2, matrix both: beta b005)' in lines


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("eval: held", "eval: hold", "params.yaml:22: matrix.both.eval: no such evaluation\n  found:    hold\n"),
        ("score: [dpo]", "score: [base]", "params.yaml:23: matrix.both.score.0: no such stage\n  found:    base\n"),
        (
            "stages.dpo.beta: 0.05",
            "stages.dpa.beta: 0.05",
            "params.yaml:27: matrix.both.axes.beta.b005.stages.dpa.beta: no such block in stages\n"
            "  found:    dpa\n  expected: dpo, more, sft\nhint: did you mean `dpo`?",
        ),
        (
            "stages.dpo.beta: 0.05",
            "stages.dpo.betta: 0.05",
            "params.yaml:27: matrix.both.axes.beta.b005.stages.dpo.betta: no such key in stages.dpo\n"
            "  found:    betta\n",
        ),
        (
            "stages.dpo.beta: 0.05",
            "stages.dpo.lora.ranks: 4",
            "no such key in stages.dpo.lora\n  found:    ranks\n",
        ),
        ("stages.dpo.beta: 0.05", "stages.dpo.beta: -1.0", "params.yaml:27: stages.dpo.beta: the value does not fit"),
        (
            "stages.dpo.beta: 0.05",
            "stages.dpo.mix: pears",
            "params.yaml:27: stages.dpo_b005.mix: no such mix (matrix both: beta b005)\n  found:    pears\n",
        ),
        ("stages.dpo.beta: 0.05", "seed: 1", "a level sets values of blocks\n  found:    seed\n"),
        ("stages.dpo.beta: 0.05", "evals.held.batch_size: 1", "a level sets values of blocks\n"),
        (
            "        b010: {}\n",
            "",
            "params.yaml:25: matrix.both.axes.beta: the value does not fit\n",
        ),
        (
            "b010: {}",
            "b010: {stages.dpo.beta: 0.2}",
            "an axis needs one level with the recipe's own values, with which the others are compared\n"
            "  found:    none\n",
        ),
        (
            "slow: {}",
            "b010: {}",
            "params.yaml:29: matrix.both.axes.rate.b010: two levels share a name, and copies of blocks are named by "
            "levels\n  found:    b010, of the axes beta and rate\n",
        ),
        (
            "stages.more.learning_rate: 1.0e-3",
            "stages.dpo: {method: dpo, init_from: sft, mix: pairs}",
            "two axes set one value\n  found:    stages.dpo.beta, by beta, and stages.dpo, by rate\n",
        ),
        (
            "  more: {init_from: sft, mix: second}\n",
            "  more: {init_from: sft, mix: second}\n  dpo_b005: {init_from: sft, mix: second}\n",
            "a copy would have the name of another block\n  found:    stages.dpo_b005\n",
        ),
        ("        b005:", f"        {'b' * 57}:", "the name of a block that it makes is too long\n"),
        ("  both:\n", "  held:\n", "a matrix and an evaluation share a name\n  found:    held\n"),
    ],
)
def test_a_problem_of_a_matrix_is_told_with_its_line(old: str, new: str, said: str) -> None:
    assert said in refusal((old, new))


def test_a_problem_of_a_block_is_told_once_and_not_of_its_copies() -> None:
    said = refusal(("init_from: more, mix: pairs", "init_from: more, mix: first"))
    assert said.count("method dpo takes another mix") == 1


def test_values_that_do_not_fit_together_are_told_with_the_line_of_a_level() -> None:
    said = refusal(
        ("stages.dpo.beta: 0.05", "stages.dpo.eval_steps: 10"),
        ("stages.more.learning_rate: 1.0e-3", "stages.dpo.patience: 3"),
    )
    assert said.startswith("params.yaml:30: stages.dpo: the value does not fit")
    assert "eval_steps beside patience" in said
