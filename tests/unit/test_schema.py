"""The JSON schema that editors check params.yaml against."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from bezoar import yaml12
from bezoar.recipe import load, schema

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(schema.schema())
SHORT = """
recipe: my-sft
seed: 7
models: {base: {method: hub, repository: org/model, revision: 0123456789abcdef0123456789abcdef01234567}}
sources: {mine: {path: data/mine.jsonl}}
mixes: {mine: {parts: [mine, {name: mine, rows: 10}]}}
stages: {sft: {init_from: base, mix: mine}}
"""


def found(text):
    """What an editor underlines: the keys with an error."""
    return [list(error.absolute_path) for error in VALIDATOR.iter_errors(yaml12.load(text))]


def test_the_file_is_what_the_recipes_class_says():
    cure = "params.schema.json differs from bezoar.recipe\nhint: run `make format` and commit the result"
    assert (ROOT / "params.schema.json").read_text(encoding="utf-8") == schema.text(), cure


@pytest.mark.parametrize("path", ["params.yaml", "recipes/tiny.yaml", "recipes/openbezoar-3b.yaml"])
def test_shipped_recipes_fit_and_name_the_schema(monkeypatch, path):
    monkeypatch.chdir(ROOT)
    text = (ROOT / path).read_text(encoding="utf-8")
    head, name = text.splitlines()[0].split("$schema=")
    assert head == "# yaml-language-server: "
    assert ((ROOT / path).parent / name).read_text(
        encoding="utf-8"
    ) == schema.text()  # relative to the file, in editors
    assert found(text) == []
    assert not list(VALIDATOR.iter_errors(load(path).resolved()))


def test_short_forms_fit():
    VALIDATOR.check_schema(VALIDATOR.schema)
    assert found(SHORT) == []


@pytest.mark.parametrize(
    ("was", "now", "key"),
    [
        ("recipe: my-sft", "recipe: My SFT", ["recipe"]),
        ("seed: 7", "seed: -1", ["seed"]),
        ("init_from: base", "init_form: base", ["stages", "sft"]),
        ("{path: data/mine.jsonl}", "{sha256: 0}", ["sources", "mine"]),
        ("path: data/mine.jsonl", "path: a, format: no_such", ["sources", "mine", "format"]),
        ("{mine: {path", "{My-data: {path", ["sources"]),
        ("parts: [mine,", "parts: [7,", ["mixes", "mine", "parts", 0]),
        ("0123456789abcdef0123456789abcdef01234567", "main", ["models", "base"]),
    ],
)
def test_a_mistake_is_found_at_its_key(was, now, key):
    assert was in SHORT
    assert key in found(SHORT.replace(was, now, 1))
