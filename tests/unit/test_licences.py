"""Licences and terms: carried to mixes and checkpoints, refused with `commercial: true`, and no part of any key."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from bezoar.blocks import Terms
from bezoar.problems import report
from bezoar.recipe import licences
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe

DATA = yaml.safe_load((ROOT / "recipes/openbezoar-3b.yaml").read_text())


def recipe_of(**changes: Any) -> Recipe:
    """The paper's recipe with other values, each by its dotted key."""
    data = copy.deepcopy(DATA)
    for key, value in changes.items():
        block = data
        *around, last = key.split("__")
        for name in around:
            block = block[name]
        block[last] = value
    return Recipe.model_validate(data)


def said(recipe: Recipe, root: Path = Path()) -> str:
    """The problems of a recipe's licences."""
    return report("params.yaml", licences.problems(recipe, root), {})


def test_a_mix_has_the_licences_of_its_seeds_and_the_terms_of_those_who_wrote_and_judged_it():
    found = {one.what: one for one in licences.of_mix(recipe_of(), "evol")}
    assert list(found) == ["source dolly", "backend teacher, teacher of evol", "backend filter, judge of evol"]
    assert found["source dolly"].text == "CC-BY-SA-3.0"
    assert [one.judges for one in found.values()] == [False, False, True]


def test_terms_of_a_model_that_judges_one_part_and_writes_another_are_those_of_a_writer():
    recipe = recipe_of(
        filters__lamini__judge="teacher",
        schemes__lamini__teacher="filter",
        backends__teacher__terms="CC-BY-NC-4.0",
        mixes__evol__parts=["lamini", "evol"],
    )
    assert [one.judges for one in licences.of_mix(recipe, "evol") if one.what.startswith("backend teacher")] == [False]
    assert "cc-by-nc-4.0" in str(licences.of_published(recipe, "evol"))


def test_a_checkpoint_has_those_of_its_base_and_of_all_mixes_before_it_each_once():
    found = [".".join(map(str, one.key)) for one in licences.of_checkpoint(recipe_of(), "dpo_hh")]
    assert sorted(found) == [
        "backends.filter.terms",
        "backends.teacher.terms",
        "models.open_llama_3b_v2.licence",
        "sources.dolly.licence",
        "sources.flan.licence",
        "sources.hh.licence",
        "sources.hh_dpo.licence",
        "sources.seed_tasks.licence",
    ]
    assert "sources.hh.licence" not in [
        ".".join(map(str, one.key)) for one in licences.of_checkpoint(recipe_of(), "sft_evol")
    ]


def test_a_teacher_without_terms_has_the_licences_of_its_checkpoint():
    local = {"kind": "local", "checkpoint": "sft_lamini"}
    recipe = recipe_of(
        backends__other=local, schemes__evol__teacher="other", models__open_llama_3b_v2__licence="CC-BY-NC-4.0"
    )
    found = {one.what: one.text for one in licences.of_mix(recipe, "evol")}
    assert found["model open_llama_3b_v2"] == "CC-BY-NC-4.0"
    assert found["source seed_tasks"] == "Apache-2.0"
    stated = recipe_of(backends__other={**local, "terms": "mit"}, schemes__evol__teacher="other")
    assert {one.what: one.text for one in licences.of_mix(stated, "evol")}["backend other, teacher of evol"] == "MIT"


def test_a_model_that_is_pretrained_here_has_the_licences_of_its_texts():
    recipe = load(ROOT / "recipes/tiny.yaml")
    assert [(one.what, one.text) for one in licences.of_checkpoint(recipe, "tiny_llama")] == [
        ("source world_text", "Apache-2.0")  # rows that Bezoar makes
    ]


@pytest.mark.parametrize(
    ("licence", "commercial", "alike"),
    [
        ("cc-by-sa-3.0", True, True),
        ("CC-BY-NC-4.0", False, False),
        ("CC-BY-NC-SA-4.0", False, True),
        ("CC-BY-NC-ND-3.0-IGO", False, False),
        ("MIT AND CC-BY-NC-2.0", False, False),
        ("MIT AND (CC-BY-NC-SA-4.0 AND Apache-2.0)", False, True),
        ("NCGL-UK-2.0", False, False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True, True),
        ("PolyForm-Noncommercial-1.0.0", False, False),
        ("CC0-1.0", True, False),
        ("ODbL-1.0", True, True),
        ("LicenseRef-ours", None, False),
        (Terms(name="Llama 3", commercial=True), True, False),
        (Terms(name="Llama 3"), None, False),
        (None, None, False),
    ],
)
def test_what_a_licence_permits(licence, commercial, alike):
    assert licences.permits(licence) is commercial
    assert licences.shares_alike(licence) is alike


@pytest.mark.parametrize(
    ("found", "head"),
    [
        (["mit", "MIT"], {"license": "mit"}),
        (["cc-by-sa-3.0", "apache-2.0"], {"license": ["apache-2.0", "cc-by-sa-3.0"]}),
        (["mit", None], {"license": "unknown"}),
        (["mit", "Zend-2.0"], {"license": "other", "license_name": "mit-and-zend-2.0"}),
        (
            [Terms(name="Our terms", link="https://x.y/z")],
            {"license": "other", "license_name": "our-terms", "license_link": "https://x.y/z"},
        ),
    ],
)
def test_the_head_of_a_card_names_licences_as_the_hub_does(found, head):
    assert licences.on_hub(found) == head


# --- Refused --------------------------------------------------------------------------------------------------------


def test_without_commercial_nothing_is_refused():
    assert said(recipe_of(sources__dolly__licence="CC-BY-NC-4.0", sources__hh__licence=None)) == ""


def test_commercial_refuses_what_does_not_permit_it_and_names_rows_and_source():
    recipe = recipe_of(commercial=True, sources__dolly__licence="CC-BY-NC-4.0", backends__filter__terms="mit")
    assert said(recipe) == (
        "params.yaml:1: sources.dolly.licence: source dolly: commercial use isn't permitted\n"
        "  found:    CC-BY-NC-4.0, in mix evol (up to 600 rows)\n"
        "  expected: licences that permit commercial use, since `commercial` is true\n"
        "hint: take it out of the mixes, or choose another"
    )


def test_commercial_refuses_what_nobody_has_looked_at():
    recipe = recipe_of(commercial=True, sources__hh__licence=None)
    text = said(recipe)
    assert "source hh: it isn't known to permit commercial use\n  found:    not stated, in mix hh_chosen" in text
    assert "backends.filter.terms: backend filter, judge of lamini: it isn't known to permit commercial use" in text
    assert "hint: an SPDX id; or {name: NAME, commercial: true}" in text
    permitted = Terms(name="x", commercial=True).model_dump()
    assert said(recipe_of(commercial=True, backends__filter__terms=permitted)) == ""


def test_commercial_refuses_a_base_model_also_of_a_teacher():
    local = {"kind": "local", "checkpoint": "open_llama_3b_v2"}
    recipe = recipe_of(
        commercial=True,
        backends__filter={**local, "terms": "mit"},
        models__open_llama_3b_v2__licence="cc-by-nc-4.0",
        stages={},
        evals={},
        schemes__evol__teacher="filter",
    )
    assert "model open_llama_3b_v2: commercial use isn't permitted" in said(recipe)


def test_rows_of_a_source_that_was_read_are_counted(tmp_path):
    report_file = tmp_path / "data/source/seed_tasks/report.json"
    report_file.parent.mkdir(parents=True)
    recipe = recipe_of(
        commercial=True, sources__seed_tasks__licence="CC-BY-NC-4.0", mixes__lamini__parts=["seed_tasks"]
    )
    assert "in mix lamini (all of its rows)" in said(recipe, tmp_path)
    report_file.write_text('{"rows": 175}')
    assert "in mix lamini (up to 175 rows)" in said(recipe, tmp_path)
    report_file.write_text('{"rows": "\\u001b[31m"}')
    assert "in mix lamini (all of its rows)" in said(recipe, tmp_path)


def test_a_run_is_refused_before_anything_is_built(tmp_path, monkeypatch):
    from bezoar.problems import RecipeError

    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}\n")
    source = {"path": "rows.jsonl", "format": "chat", "licence": "CC-BY-NC-4.0"}
    data = {"recipe": "r", "commercial": True, "sources": {"mine": source}, "mixes": {"all": {"parts": ["mine"]}}}
    Path("params.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(RecipeError, match=r"params\.yaml:\d+: sources\.mine\.licence: source mine: commercial use"):
        load()


@pytest.mark.parametrize(
    ("licence", "what"),
    [
        ("llama3", "not an SPDX licence"),
        ("MIT OR Apache-2.0", "more than one licence to choose from"),
        ("MIT\x1b[2J", "not an SPDX"),
    ],
)
def test_a_licence_that_is_none_of_spdx_is_refused_with_a_hint(licence, what):
    text = said(recipe_of(sources__dolly__licence=licence))
    assert f"sources.dolly.licence: {what}" in text
    assert "hint: for any other: {name: NAME, link: https://..., commercial: true or false}" in text


# --- Keys -----------------------------------------------------------------------------------------------------------


def test_no_licence_is_part_of_any_value_of_a_run_or_of_a_request():
    plain = recipe_of(
        sources__dolly__licence=None,
        backends__teacher__terms=None,
        backends__filter__terms=None,
        models__open_llama_3b_v2__licence=None,
        stages__dpo_hh__licence=None,
    )
    stated = recipe_of(
        commercial=True, mixes__evol__licence="mit", sources__dolly__licence={"name": "x", "commercial": True}
    )
    assert stated != plain
    values, others = stated.values(), plain.values()
    assert values.pop("cards") != others.pop("cards")  # which only the folders of mixes read
    assert values == others
    assert {n: b.identity() for n, b in stated.backends.items()} == {n: b.identity() for n, b in plain.backends.items()}
    assert "licence" not in str(values)
