"""Soups: weighted means of checkpoints, what they refuse, and what a recipe knows of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from templates import student_prompt

from bezoar.errors import InputError
from bezoar.files import digest
from bezoar.recipe import licences
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe
from bezoar.steps import models
from bezoar.steps.base import soup
from bezoar.steps.base.soup import Soup

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def first(random_llama, tmp_path_factory):
    """A two-layer model with random weights, in several files."""
    folder = random_llama(tmp_path_factory.mktemp("soup") / "first", [student_prompt("Name a fruit.", "Be kind.")])
    model = models.load(folder, "float32")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    return folder


def changed(first, folder, change):
    """A copy of the first checkpoint whose weights are changed by a function of name and tensor."""
    shutil.copytree(first, folder)
    for path in folder.glob("*.safetensors"):
        save_file({name: change(name, one) for name, one in load_file(path).items()}, path, metadata={"format": "pt"})
    return folder


def weights(folder):
    return {name: one for path in folder.glob("*.safetensors") for name, one in load_file(path).items()}


def block_of(*weights):
    members = [{"checkpoint": f"model_{place}", "weight": weight} for place, weight in enumerate(weights)]
    return Soup.model_validate({"method": "soup", "of": members})


def test_a_soup_is_the_mean_of_each_weight_by_the_shares(first, tmp_path):
    # shares 1/4 and 3/4 of x and 5x + 2 are x/4 + 15x/4 + 3/2 = 4x + 1.5
    second = changed(first, tmp_path / "second", lambda _, one: 5 * one + 2)
    soup.make([first, second], None, block_of(1.0, 3.0), tmp_path / "soup")
    found, before = weights(tmp_path / "soup"), weights(first)
    assert len(list(first.glob("*.safetensors"))) > 1
    assert found.keys() == before.keys()
    for name, one in before.items():
        assert torch.equal(found[name], (0.25 * one.double() + 0.75 * (5 * one + 2).double()).float())
        assert torch.allclose(found[name], 4 * one + 1.5, atol=1e-5)
        assert found[name].dtype == torch.float32
    model = models.load(tmp_path / "soup", "float32")  # a directory that transformers opens
    assert model.num_parameters() == models.load(first, "float32").num_parameters()
    assert models.load_tokenizer(tmp_path / "soup").chat_template == models.load_tokenizer(first).chat_template


def test_equal_checkpoints_make_the_same_checkpoint_and_a_soup_repeats_to_the_byte(first, tmp_path):
    same = changed(first, tmp_path / "same", lambda _, one: one)
    for name in ("one", "two"):
        soup.make([first, same, same], None, block_of(0.3, 0.3, 0.1), tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    found, before = weights(tmp_path / "one"), weights(first)
    assert all(torch.equal(found[name], before[name]) for name in before)


def test_the_number_format_is_kept(first, tmp_path):
    half = changed(first, tmp_path / "half", lambda _, one: one.bfloat16())
    other = changed(first, tmp_path / "other", lambda _, one: (one + 1).bfloat16())
    soup.make([half, other], None, block_of(1.0, 1.0), tmp_path / "soup")
    assert {one.dtype for one in weights(tmp_path / "soup").values()} == {torch.bfloat16}
    with pytest.raises(InputError, match=r"the weights' .* differs(.|\n)*BF16(.|\n)*F32"):
        soup.make([first, half], None, block_of(1.0, 1.0), tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_checkpoints_that_do_not_fit_are_refused(first, tmp_path):
    def refused(folder, what):
        with pytest.raises(InputError, match=f"can't be averaged: {what} differs"):
            soup.check([first, folder])

    norm = "model.norm.weight"
    refused(changed(first, tmp_path / "shape", lambda n, one: one[:8] if n == norm else one), f"the weights' {norm}")
    config = changed(first, tmp_path / "config", lambda _, one: one)
    values = json.loads((config / "config.json").read_text())
    (config / "config.json").write_text(json.dumps(values | {"rms_norm_eps": 0.5}))
    refused(config, "config.json rms_norm_eps")
    words = changed(first, tmp_path / "words", lambda _, one: one)
    tokenizer = models.load_tokenizer(words)
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(words)
    refused(words, "the tokenizer's rules")
    layout = changed(first, tmp_path / "layout", lambda _, one: one)
    (layout / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    refused(layout, "the tokenizer's chat template")


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ([{"checkpoint": "a"}], "at least 2 items"),
        ([{"checkpoint": "a"}, {"checkpoint": "a", "weight": 2.0}], "each checkpoint once"),
        ([{"checkpoint": "a"}, {"checkpoint": "b", "weight": 0.0}], "greater than 0"),
    ],
)
def test_a_soup_has_several_checkpoints_with_weights(of, expected):
    with pytest.raises(ValidationError, match=expected):
        Soup.model_validate({"method": "soup", "of": of})


# --- In a recipe ----------------------------------------------------------------------------------------------------


@pytest.fixture
def data():
    """The embedded recipe, with a soup of two of its stages and a stage that starts from it."""
    found = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    found["models"]["soup"] = {"method": "soup", "of": [{"checkpoint": "dpo_hh"}, {"checkpoint": "teacher"}]}
    found["mixes"]["more"] = {"parts": ["world_dolly"]}
    found["stages"]["more"] = {"method": "sft", "init_from": "soup", "mix": "more"}
    return found


def test_a_soup_was_trained_on_the_mixes_of_its_checkpoints(data):
    recipe = Recipe.model_validate(data)
    assert recipe.trained_on("soup") == ["evol", "hh", "hh_pairs", "lamini", "orca", "teacher"]
    assert recipe.ancestors("more")[:3] == ["more", "dpo_hh", "teacher"]
    assert recipe.ancestors("dpo_hh") == recipe.chain("dpo_hh")
    assert recipe.earlier_mixes("more") == recipe.trained_on("soup")
    assert recipe.folder_of("soup") == "data/base/soup"
    assert recipe.loose_ends()["stages"] == ["more"]
    del data["stages"]["more"]
    assert Recipe.model_validate(data).loose_ends()["stages"] == ["soup"]
    apart = {one.what for name in ("dpo_hh", "teacher") for one in licences.of_checkpoint(recipe, name)}
    assert {one.what for one in licences.of_checkpoint(recipe, "soup")} == apart


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data["models"]["soup"]["of"].append({"checkpoint": "dpo_h"}), "models.soup.of.2.checkpoint"),
        (lambda data: data["models"]["soup"]["of"].append({"checkpoint": "more"}), "a checkpoint is built from itself"),
        (lambda data: data["models"]["soup"]["of"].append({"checkpoint": "soup"}), "a checkpoint is built from itself"),
        (
            lambda data: data["mixes"]["hh_pairs"]["limit"].update(tokenizer="soup"),
            "a checkpoint is built from itself",
        ),
    ],
)
def test_a_soup_of_an_unknown_checkpoint_or_of_itself_is_refused(data, tmp_path, monkeypatch, change, expected):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(data))
    load(path)
    change(data)
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match=expected):
        load(path)
