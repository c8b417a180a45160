"""params.resolved.yaml: all values with their defaults, read again as what they are; and what is generated besides."""

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from dvc.utils.serialize import parse_yaml
from pydantic import BaseModel
from test_cache_dvc import step

from bezoar import yaml12
from bezoar.cache import CacheError, dvc, generated
from bezoar.cache.build import Build
from bezoar.cache.resolved import Resolved
from bezoar.cache.stages import Stale, check_whole, stages_of
from bezoar.recipe.load import load
from bezoar.recipe.recipe import BLOCKS

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ODD = {
    "text": "010",
    "null": None,
    "lines": "a\n\nb: 'c' # d",
    "emoji": "\U0001f600",
    "no": [1e-05, 1.0, 1, True, "yes", {}],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("a: 1\n")
    Path("s.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_whole_recipe_reads_as_the_recipe_and_is_the_same_the_second_time(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load(path)
    text = Resolved(str(path), recipe.resolved()).text
    (tmp_path / "resolved.yaml").write_text(text)
    again = load(tmp_path / "resolved.yaml")
    assert again == recipe
    assert Resolved(str(path), again.resolved()).text == text


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_whole_recipe_has_every_field_of_every_block(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load(path)
    resolved = recipe.resolved()
    assert list(resolved) == fields_of(recipe)
    for kind in BLOCKS:
        for name, block in getattr(recipe, kind).items():
            assert list(resolved[kind][name]) == fields_of(block), f"{kind}.{name}"


def fields_of(block: BaseModel) -> list[str]:
    """The fields of a block but those that are left out if nothing is set, such as a seed of its own."""
    fields = type(block).model_fields.items()
    return [name for name, one in fields if not (one.exclude_if and one.exclude_if(getattr(block, name)))]


def test_values_are_read_again_as_what_they_are_by_us_and_by_dvc(folder: Path) -> None:
    text = Resolved("params.yaml", ODD).text
    assert repr(yaml12.load(text)) == repr(parse_yaml(text, "params.resolved.yaml")) == repr(ODD)


def test_without_values_those_of_the_file_count(folder: Path) -> None:
    assert Resolved("params.yaml").values == {"a": 1}
    assert Resolved("elsewhere.yaml").values == {}
    Path("params.yaml").write_text("a: [")
    with pytest.raises(CacheError, match=r"params.yaml can't be read\n  found:    "):
        Resolved("params.yaml")


def test_it_is_written_once_and_only_from_params_yaml_and_itself(folder: Path) -> None:
    resolved = Resolved("params.yaml")
    assert [resolved.write(), resolved.write()] == [True, False]
    assert yaml12.load(Path(dvc.RESOLVED).read_text()) == {"a": 1}
    Path("other.yaml").write_text("a: 2\n")
    assert not Resolved("other.yaml").write()
    assert not Resolved(dvc.RESOLVED).write()
    Path(dvc.RESOLVED).write_text("a: 3  # by hand\n")
    assert Resolved(dvc.RESOLVED).write()
    assert yaml12.load(Path(dvc.RESOLVED).read_text()) == {"a": 3}


def test_an_edit_after_it_was_read_is_refused(folder: Path) -> None:
    resolved = Resolved("params.yaml")
    resolved.check_unedited()
    Path("params.yaml").write_text("a: 2\n")
    with pytest.raises(CacheError, match=r"params.yaml was edited while it was read"):
        resolved.check_unedited()


def build(*steps: Any, complete: bool = True) -> Build:
    """A build of some steps."""
    made = Build(Resolved("params.yaml"))
    made.take(list(steps))
    made.complete = made.whole = complete
    made.decision.reasons = {steps[0].name: []}
    return made


A, B = step("a", outputs=("data/a",), params={"a": 1}), step("b", inputs=("data/a",), outputs=("data/b",))


def test_a_tree_that_can_not_be_written_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated.write_pipeline(build(A))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert generated.bring_into_step(build(A, B), by_dvc=False) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_run_of_dvc_only_compares_dvc_yaml(folder: Path) -> None:
    generated.write_pipeline(build(A))
    before = Path(dvc.PIPELINE).read_bytes()
    with pytest.raises(Stale, match="no stage b"):
        generated.bring_into_step(build(A, B), by_dvc=True)
    assert Path(dvc.PIPELINE).read_bytes() == before
    assert generated.bring_into_step(build(A, B), by_dvc=False) == []
    assert set(dvc.read(dvc.PIPELINE)) == {"code", "a", "b"}


def test_a_conflict_in_dvc_yaml_is_refused(folder: Path) -> None:
    Path(dvc.PIPELINE).write_text("<<<<<<< ours\nstages: {}\n")
    with pytest.raises(CacheError, match=r"a merge conflict\n(.|\n)*hint: run `bezoar dvc --resolve`"):
        generated.bring_into_step(build(A), by_dvc=False)


def test_without_dvc_no_dvc_yaml_is_written(folder: Path) -> None:
    generated.bring_into_step(build(A), by_dvc=False)
    assert not Path(dvc.PIPELINE).exists()
    assert Path(dvc.RESOLVED).exists()


def test_a_stage_that_is_left_of_earlier_rules_is_refused(folder: Path) -> None:
    generated.write_pipeline(build(A, B))
    written = dvc.read(dvc.PIPELINE) | {"own": {"cmd": "date"}}
    check_whole(stages_of([A, B]), written)
    check_whole(stages_of([A, B]), {})
    with pytest.raises(Stale, match="a stage b, which isn't in the rules"):
        check_whole(stages_of([A]), written)
