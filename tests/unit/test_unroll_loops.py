"""Loops of params.yaml become ordinary blocks when a recipe is loaded."""

from pathlib import Path

import pytest

from bezoar import yaml12
from bezoar.problems import RecipeError
from bezoar.recipe import Recipe, load
from bezoar.recipe.show import shown

RECIPE = """\
recipe: mine
sources:
  mine: {path: rows.jsonl, format: chat}
  more: {path: rows.jsonl, format: chat}
models:
  base: {method: local, path: model}
mixes:
  plain: {parts: [mine]}
stages:
  sft: {init_from: base, mix: plain}
evals:
  held: {method: likelihood, checkpoints: [base, sft], mixes: [plain]}
loops:
  spin:
    rounds: 3
    start: sft
    evals: [held]
    blocks:
      mixes:
        spin_{round}:
          parts: {each: [[mine], [mine, {name: more, rows: "{round}"}]]}
      stages:
        spin:
          init_from: "{before}"
          mix: spin_{round}
          learning_rate: {each: [5.0e-5, 4.0e-5]}
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


def refusal(old: str, new: str) -> str:
    """What is said against the recipe with a text replaced."""
    assert RECIPE.count(old) == 1
    with pytest.raises(RecipeError) as caught:
        loaded(RECIPE.replace(old, new))
    return str(caught.value)


def test_each_round_has_blocks_of_its_own_and_starts_from_the_round_before() -> None:
    stages = loaded().stages
    assert list(stages) == ["sft", "spin_1", "spin_2", "spin_3"]
    assert [one.init_from for one in stages.values()] == ["base", "sft", "spin_1", "spin_2"]
    assert [one.mix for one in stages.values()] == ["plain", "spin_1", "spin_2", "spin_3"]


def test_a_list_by_round_has_the_first_entry_in_round_1_and_the_last_one_from_its_place_on() -> None:
    recipe = loaded()
    assert [recipe.stages[f"spin_{number}"].learning_rate for number in (1, 2, 3)] == [5e-5, 4e-5, 4e-5]
    assert [len(recipe.mixes[f"spin_{number}"].parts) for number in (1, 2, 3)] == [1, 2, 2]


def test_a_placeholder_alone_is_a_number() -> None:
    assert loaded().mixes["spin_3"].parts[1].rows == 3


def test_an_evaluation_of_the_loop_scores_each_round() -> None:
    assert loaded().evals["held"].checkpoints == ["base", "sft", "spin_1", "spin_2", "spin_3"]


def test_more_rounds_leave_earlier_ones_as_they_are() -> None:
    three, four = loaded().values(), loaded(RECIPE.replace("rounds: 3", "rounds: 4")).values()
    for section in ("mixes", "stages"):
        assert set(four[section]) - set(three[section]) == {"spin_4"}
        assert {name: four[section][name] for name in three[section]} == three[section]


def test_what_jobs_read_has_the_blocks_and_no_loops_and_is_a_recipe_itself() -> None:
    recipe = loaded()
    assert "loops" not in recipe.values()
    assert "loops" not in loaded(RECIPE.partition("loops:")[0]).resolved()
    again = Recipe.model_validate(recipe.values())
    assert again.values() == recipe.values()


def test_show_has_the_blocks_with_their_lines_in_the_loop() -> None:
    loaded()
    lines = [line.strip() for line in shown(Path("params.yaml")).splitlines()]
    assert 'init_from: "spin_1"  # params.yaml:24 (loop spin, round 2)' in lines
    assert "learning_rate: 4e-05  # params.yaml:26 (loop spin, round 3)" in lines
    assert yaml12.load(shown(Path("params.yaml"))) == load().resolved()


def test_previous_is_the_number_of_the_round_before() -> None:
    each = '{each: [plain, "spin_{previous}"]}'
    recipe = loaded(RECIPE.replace("mix: spin_{round}", f"mix: {each}"))
    assert [recipe.stages[f"spin_{number}"].mix for number in (1, 2, 3)] == ["plain", "spin_1", "spin_2"]


def test_a_seed_by_round_is_a_number() -> None:
    recipe = loaded(RECIPE.replace('init_from: "{before}"', 'init_from: "{before}"\n          seed: "{round}"'))
    assert [recipe.stages[f"spin_{number}"].seed for number in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "mix: spin_{round}",
            "mix: spin_{rond}",
            "params.yaml:25: loops.spin.blocks.stages.spin.mix: no such placeholder\n"
            "  found:    rond\n  expected: before, previous, round\nhint: did you mean `round`?",
        ),
        (
            "mix: spin_{round}",
            "mix: spin_{previous}",
            "params.yaml:25: loops.spin.blocks.stages.spin.mix: round 1 has no round before it\n"
            "  found:    {previous}\n  expected: a value of its own for round 1\n"
            "hint: each: [<without it>, <with it>]",
        ),
        (
            "{each: [5.0e-5, 4.0e-5]}",
            "{each: []}",
            "params.yaml:26: loops.spin.blocks.stages.spin.learning_rate.each: no value by round\n"
            "  found:    an empty list\n  expected: a list with a value for each round",
        ),
        (
            "    start: sft\n",
            "",
            "params.yaml:23: loops.spin.blocks.stages.spin.init_from: round 1 starts from no checkpoint\n"
            "  found:    {before}\n  expected: `start: <checkpoint>` in the loop",
        ),
        (
            "        spin:\n",
            "        spun:\n",
            "params.yaml:16: loops.spin.start: the loop has no stage of its name, whose checkpoint is that of a round\n"
            "  found:    spun\n  expected: blocks.stages.spin_{round}",
        ),
        (
            "      stages:\n        spin:",
            "      stage:\n        spin:",
            "params.yaml:22: loops.spin.blocks.stage: no section of blocks\n  found:    stage\n",
        ),
        (
            "rounds: 3",
            "rounds: 0",
            "params.yaml:15: loops.spin.rounds: the value does not fit\n  found:    0\n",
        ),
        (
            "rounds: 3",
            "round: 3",
            "loops.spin.round: no such key\n",
        ),
        (
            "  sft: {init_from: base, mix: plain}",
            "  sft: {init_from: base, mix: plain}\n  spin_2: {seed: 3}",
            "params.yaml:11: stages.spin_2: stages.spin_2 is there already\n  found:    a block of this name\n"
            "  expected: no block that loop spin makes\n"
            "hint: change loops.spin.blocks.stages.spin in its place",
        ),
    ],
)
def test_a_problem_of_a_loop_is_told_once_with_its_line(old: str, new: str, said: str) -> None:
    assert said in refusal(old, new)


def test_a_name_may_have_sixty_characters() -> None:
    long = "x" * 58  # and _1 to _3
    loaded(RECIPE.replace("spin_{round}:\n", f"{long}:\n").replace("mix: spin_{round}", f"mix: {long}_{{round}}"))
    said = refusal("spin_{round}:\n", f"x{long}:\n")
    assert "the name of a block that it makes is too long" in said
    assert "61 characters\n  expected: at most 60" in said


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("{each: [5.0e-5, 4.0e-5]}", "-1.0", "params.yaml:26: stages.spin_1.learning_rate: the value does not fit"),
        ("mix: spin_{round}", "mix: spun", "params.yaml:25: stages.spin_1.mix: no such mix"),
        ("evals: [held]", "evals: [hold]", "params.yaml:17: loops.spin.evals.0: no such evaluation"),
        ("start: sft", "start: sfd", "params.yaml:16: loops.spin.start: starts from a checkpoint that nothing builds"),
    ],
)
def test_a_block_that_a_loop_makes_is_checked_like_others_and_told_once(old: str, new: str, key: str) -> None:
    said = refusal(old, new)
    assert key in said
    assert "spin_2." not in said


def test_placeholders_of_servers_stay() -> None:
    backend = """
      backends:
        student:
          kind: openai
          model: student
          checkpoint: "{before}"
          connection:
            api_key_env: TEACHER_API_KEY
            server: {command: [serve, "{checkpoint}", "--port={port}", "--name=round-{round}"]}
      mixes:"""
    recipe = loaded(RECIPE.replace("\n      mixes:", backend))
    server = recipe.backends["student_2"].connection.server
    assert recipe.backends["student_2"].checkpoint == "spin_1"
    assert server.command == ["serve", "{checkpoint}", "--port={port}", "--name=round-2"]


def test_resources_of_a_round() -> None:
    text = RECIPE.replace("\n      mixes:", "\n      resources:\n        train-spin: {minutes: 90}\n      mixes:")
    assert loaded(text).resources_of("train-spin_2").minutes == 90
