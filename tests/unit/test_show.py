"""`bezoar recipe show`: every value, and where it comes from."""

from pathlib import Path

import pytest

from bezoar import yaml12
from bezoar.recipe import load
from bezoar.recipe.show import shown

RECIPE = """\
recipe: mine
sources:
  mine: {path: rows.jsonl}
models:
  base: {method: local, path: model}
mixes:
  mine: {parts: [mine]}
stages:
  one: &one {init_from: base, mix: mine}
  two:
    <<: *one
    lora: {rank: 4}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}\n")
    Path("model").mkdir()
    Path("model/model.safetensors").touch()
    Path("model/chat_template.jinja").write_text("{{ messages[-1].content }}")
    Path("params.yaml").write_text(RECIPE)
    return Path("params.yaml")


def lines(path: Path) -> list[str]:
    return [line.strip() for line in shown(path).splitlines()]


def test_what_is_shown_is_the_whole_recipe_as_yaml(path: Path) -> None:
    assert yaml12.load(shown(path)) == load(path).resolved()


def test_a_value_has_its_line(path: Path) -> None:
    assert 'recipe: "mine"  # params.yaml:1' in lines(path)
    assert "rank: 4  # params.yaml:12" in lines(path)


def test_a_value_of_a_merged_block_has_the_line_that_it_stands_in(path: Path) -> None:
    two = shown(path).split("  two:\n")[1].split("  evals:")[0]
    assert 'init_from: "base"  # params.yaml:9' in two


def test_a_default_has_its_source(path: Path) -> None:
    assert "alpha: 32  # default" in lines(path)
    assert "dropout: 0.05  # default: QLoRA's published code for models up to 13B" in lines(path)


def test_what_a_short_form_stands_for_has_its_line(path: Path) -> None:
    assert 'path: "rows.jsonl"  # params.yaml:3' in lines(path)
