"""Which mixes come before another, and that the embedded recipe holds out what no stage before has trained on."""

from pathlib import Path

import pytest
import yaml
from reading import mixed, normalise, split

from bezoar import world
from bezoar.recipe.check import problems_of
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.families import KEYS
from bezoar.steps.data.pool import Folders
from bezoar.steps.data.rows import FilteredRow, row_id, write_rows

ROOT = Path(__file__).parents[2]
TINY = yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())


def recipe(**mixes):
    """The embedded recipe with other mixes of its stages."""
    stages = {name: block | {"mix": mixes.get(name, block["mix"])} for name, block in TINY["stages"].items()}
    return Recipe.model_validate(TINY | {"stages": stages})


def test_earlier_mixes_are_those_of_all_stages_that_a_stage_starts_from():
    expected = {
        "teacher": [],
        "lamini": [],
        "orca": ["lamini"],
        "evol": ["lamini", "orca"],
        "hh": ["evol", "lamini", "orca"],
        "hh_pairs": ["evol", "hh", "lamini", "orca"],
    }
    assert {name: recipe().earlier_mixes(name) for name in expected} == expected


def test_a_checkpoint_was_trained_on_the_mixes_of_its_own_chain_and_another_one_changes_nothing():
    expected = {"sft_lamini": ["lamini"], "sft_orca": ["lamini", "orca"], "sft_evol": ["evol", "lamini", "orca"]}
    stages = TINY["stages"] | {"beside": TINY["stages"]["sft_orca"] | {"mix": "hh"}}
    for found in (recipe(), Recipe.model_validate(TINY | {"stages": stages})):
        assert {name: found.trained_on(name) for name in expected} == expected
        assert found.trained_on("base") == []


def test_a_mix_is_not_earlier_than_itself():
    assert recipe(sft_orca="lamini").earlier_mixes("lamini") == []


def test_mixes_of_which_each_comes_before_the_other_are_a_problem():
    found = problems_of(recipe(sft_evol="lamini"), ROOT)  # lamini, then orca, then lamini again
    assert [(one.key, one.found) for one in found] == [(("mixes", "lamini"), "lamini <- orca <- lamini")]
    assert "a copy of mixes.lamini under another name" in found[0].hint


def test_a_teacher_that_is_trained_on_what_comes_after_its_rows_is_a_problem():
    # hh knows what lamini's mix trained on, whose rows the teacher writes, which would be trained on hh
    found = problems_of(recipe(teacher="hh"), ROOT)
    assert "a checkpoint is built from itself" in {one.what for one in found}


def made(scheme, number):
    """A row of a scheme; some of its instructions are those of other schemes, in other cases."""
    columns = dict.fromkeys(("seed_id", "operation", "category")) | {"parent_ids": [], "topics": [], "round": 0}
    text = f"name the fruit {number} ." if number % 3 else f"NAME the {scheme} {number}"
    judge = {"status": "accept", "rating": 9.0, "reason": "", "judge": "j", "judge_prompt_hash": "0"}
    answer = {"response": f"{scheme} {number}", "teacher": "t", "prompt_hash": "0", "finish_reason": "stop"}
    name = row_id(scheme, str(number))
    return FilteredRow(
        id=name,
        scheme=scheme,
        root_id=row_id(str(number // 2)),
        system=None,
        instruction=text,
        **columns,
        **judge,
        **answer,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All mixes of the embedded recipe's students, of its own preferences and of made-up rows of its schemes."""
    root = tmp_path_factory.mktemp("mixes")
    pairs = [(str(number), row) for number, row in enumerate(world.build("preferences", 3600, 0, None))]
    kept = normalise(pairs, "hh_rlhf")[0]
    write_rows(root / "source/world_preferences/rows.jsonl", kept)
    places = [{"id": row.id, "file": "world", "line": line} for line, row in enumerate(kept, start=1)]
    write_rows(root / "source/world_preferences/places.jsonl", places)
    for scheme in ("lamini", "orca", "evol"):
        for shard in range(2):
            rows = [made(scheme, number) for number in range(shard, 900, 2)]
            write_rows(root / "filtered" / scheme / f"{shard:04d}" / "kept.jsonl", rows)
    found = {}
    where = Folders(root / "filtered", root / "source", root / "selected", 2)
    for name in ("lamini", "orca", "evol", "hh", "hh_pairs"):
        block = recipe().mixes[name]
        examples, _, _ = mixed(block, where, "s", None, 0)
        earlier = [row for one in recipe().earlier_mixes(name) for row in found[one][0]]
        found[name] = split(examples, block.eval_rows, 0, earlier)
    return found


@pytest.mark.parametrize("name", ["lamini", "orca", "evol", "hh", "hh_pairs"])
def test_no_stage_of_the_embedded_recipe_has_trained_on_what_it_evaluates(built, name):
    _, held = built[name]
    trained = [row for one in [name, *recipe().earlier_mixes(name)] for row in built[one][0]]
    assert held
    for key in KEYS:
        assert not {row[key] for row in held} & {row[key] for row in trained}
    prompts = {str(row["prompt"]).casefold() for row in trained}
    assert not {str(row["prompt"]).casefold() for row in held} & prompts
    assert "'role': 'system', 'content': 's'" in next(iter(prompts))


def test_the_embedded_recipes_preferences_hold_out_as_many_as_they_ask_for(built):
    assert len(built["hh_pairs"][1]) == recipe().mixes["hh_pairs"].eval_rows


def test_params_yaml_says_the_same_as_the_embedded_recipe():
    assert load(ROOT / "params.yaml").mixes == recipe().mixes
