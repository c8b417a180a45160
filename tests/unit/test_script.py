"""What a script takes of params.yaml: values by name and type, whatever their order."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from mains import SCRIPTS, script
from pydantic import Field

from bezoar.blocks import Block, NamedBlock
from bezoar.errors import InputError, Stopped
from bezoar.script import Flags, params_file, run

PARAMS: dict[str, Any] = {
    "seed": 3,
    "shards": 4,
    "prompt": {"system": "Hi"},
    "stages": {"a": {"method": "up", "beta": 0.1, "steps": 5}, "b": {"method": "down"}},
    "evals": {"e": {"num_fewshot": 2, "dtype": "float32", "folder": None}},
}
NAMES = sorted(str(path.relative_to(SCRIPTS).with_suffix("")) for path in SCRIPTS.glob("*/*.py"))


class Up(NamedBlock):
    """A block with defaults."""

    section: ClassVar[str] = "stages"
    method: Literal["up"]
    beta: float = Field(0.5, gt=0)
    steps: int


class Down(NamedBlock):
    """Another kind of it."""

    section: ClassVar[str] = "stages"
    method: Literal["down"]


class Part(NamedBlock):
    """Some keys of a block."""

    section: ClassVar[str] = "evals"
    num_fewshot: int
    dtype: str
    folder: str | None


class Words(Block):
    """A block without a name of its own."""

    system: str


AnyStage = Annotated[Up | Down, Field(discriminator="method")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a params file; the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEZOAR_PARAMS", raising=False)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    return tmp_path


def started(given: str, **takes: Any) -> list[Any]:
    """The values that a script gets for a command line's names."""
    return Flags("Does something.").start(["--params", *given.split()], **takes)[1:]


def refusal(capsys: pytest.CaptureFixture[str], given: str, **takes: Any) -> str:
    """What is said of names that a script doesn't take."""
    with pytest.raises(SystemExit) as caught:
        started(given, **takes)
    assert caught.value.code == 2
    return capsys.readouterr().err.split("error: ")[1]


@pytest.mark.parametrize("given", ["stages.a seed prompt", "seed prompt stages.a", "prompt stages.a seed"])
def test_values_are_given_by_name_whatever_the_order_of_the_names(given):
    stage, prompt, seed = started(given, stage=Up, prompt=Words, seed=int)
    assert (stage.name, stage.beta, stage.steps, prompt.system, seed) == ("a", 0.1, 5, "Hi", 3)


@pytest.mark.parametrize(
    "given",
    [
        "stages.a",  # one is missing
        "stages.a seed shards",  # one more than is taken
        "seed stages.a evals.e",  # of another section
        "stages.a stages.b seed",  # two blocks for one value
        "stages seed",  # a section is no block
        "stages.a.lora.rank.more seed",
        "sed stages.a",
    ],
)
def test_names_that_a_script_does_not_take_are_refused(capsys, given):
    said = refusal(capsys, given, stage=Up, seed=int)
    assert said == f"--params\n  found:    {given}\n  expected: stages.<stage> seed, in any order\n"


@pytest.mark.parametrize(("given", "shards"), [("seed", None), ("shards seed", 4)])
def test_a_value_that_may_be_none_may_be_absent(given, shards):
    assert started(given, seed=int, shards=int | None) == [3, shards]


def test_a_value_that_may_be_absent_stands_in_brackets(capsys):
    assert "expected: seed [shards], in any order" in refusal(capsys, "shards", seed=int, shards=int | None)


@pytest.mark.parametrize("given", ["evals.e.num_fewshot evals.e.dtype evals.e.folder", "evals.e"])
def test_single_keys_of_a_block_are_collected_into_a_class(given):
    (part,) = started(given, eval=Part)
    assert (part.name, part.num_fewshot, part.dtype, part.folder) == ("e", 2, "float32", None)


def test_single_keys_may_stand_in_any_order_and_among_others():
    seed, part = started("evals.e.folder seed evals.e.dtype evals.e.num_fewshot", seed=int, eval=Part)
    assert (seed, part.num_fewshot) == (3, 2)


def test_keys_of_two_blocks_are_not_mixed(capsys):
    assert "in any order" in refusal(capsys, "evals.e.num_fewshot evals.f.dtype evals.e.folder", eval=Part)


def test_a_key_that_its_class_needs_and_nobody_names_is_told():
    with pytest.raises(ValueError, match=r"params.yaml: evals.e.dtype: the value does not fit\n  found:    "):
        started("evals.e.num_fewshot evals.e.folder", eval=Part)


def test_a_key_of_which_the_class_knows_nothing_is_told():
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"evals": {"e": PARAMS["evals"]["e"] | {"more": 1}}}))
    with pytest.raises(ValueError, match=r"evals.e.more: the value does not fit\n  found:    1\n  expected: Extra"):
        started("evals.e", eval=Part)


@pytest.mark.parametrize(("name", "kind"), [("a", Up), ("b", Down)])
def test_a_union_of_blocks_gives_the_one_that_the_method_says(name, kind):
    (stage,) = started(f"stages.{name}", stage=AnyStage)
    assert (type(stage), stage.name) == (kind, name)


@pytest.mark.parametrize(("given", "kinds"), [("stages.b stages.a", {"a": Up, "b": Down}), ("stages.a", {"a": Up})])
def test_a_map_of_blocks_takes_any_number_of_them_by_name(given, kinds):
    (stages,) = started(given, stages=dict[str, AnyStage])
    assert {name: type(stage) for name, stage in stages.items()} == kinds
    assert all(name == stage.name for name, stage in stages.items())


@pytest.mark.parametrize(
    ("changed", "place", "found"),
    [
        ({"seed": "3"}, "seed", "'3'"),
        ({"seed": True}, "seed", "True"),
        ({"seed": 3.0}, "seed", "3.0"),
        ({"prompt": {"system": 3}}, "prompt.system", "3"),
        ({"stages": {"a": PARAMS["stages"]["a"] | {"beta": 0}}}, "stages.a.beta", "0"),
        ({"stages": {"a": PARAMS["stages"]["a"] | {"steps": "5"}}}, "stages.a.steps", "'5'"),
    ],
)
def test_a_value_of_another_type_does_not_fit(changed, place, found):
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | changed))
    message = f"params.yaml: {place}: the value does not fit\n  found:    {found}\n  expected: "
    with pytest.raises(ValueError, match=re.escape(message)):
        started("stages.a prompt seed", stage=Up, prompt=Words, seed=int)


@pytest.mark.parametrize(("name", "part"), [("stages.c", "c"), ("stages.a.bta", "bta")])
def test_a_key_that_is_not_there_is_told(name, part):
    message = f"params.yaml: {name}: no such key\n  found:    {part}\n  expected: a key of the recipe"
    with pytest.raises(ValueError, match=re.escape(message)):
        started(name, stage=Up)


def test_values_come_from_the_copy_of_a_run_or_the_whole_recipe_or_the_written_one(folder, monkeypatch):
    assert params_file() == Path("params.yaml")
    Path("params.resolved.yaml").write_text(yaml.safe_dump(PARAMS | {"seed": 8}))
    assert started("seed", seed=int) == [8]
    Path("copy.yaml").write_text(yaml.safe_dump(PARAMS | {"seed": 9}))
    monkeypatch.setenv("BEZOAR_PARAMS", str(folder / "copy.yaml"))
    assert started("seed", seed=int) == [9]


def test_yaml_of_params_is_that_of_the_recipe():
    Path("params.yaml").write_text("seed: 010\n")  # YAML 1.2: ten, not eight
    assert started("seed", seed=int) == [10]


# The scripts


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_does_and_which_values_it_takes(name, capsys):
    with pytest.raises(SystemExit) as caught:
        script(name).main(["--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join((script(name).__doc__ or "").split()) in shown
    assert "keys of params.yaml: " in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_a_short_main(name):
    text = (SCRIPTS / f"{name}.py").read_text()
    main = text.split("def main(")[1].split("\n\n\nif __name__")[0]
    assert len(main.strip().splitlines()) <= 20


# How a script ends


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("rows.jsonl:3: not JSON"), 1), (Stopped("the budget is reached", 75), 75)]
)
def test_an_error_that_the_user_can_fix_is_told_without_a_traceback(caplog, error, status):
    with pytest.raises(SystemExit) as ended:
        run(raising(error))
    assert ended.value.code == status
    assert caplog.messages == [str(error)]
    assert caplog.records[0].exc_info is None


def test_any_other_error_has_its_traceback(caplog):
    with pytest.raises(SystemExit) as ended:
        run(raising(ValueError("rows got lost")))
    assert ended.value.code == 1
    assert caplog.records[0].exc_info is not None


def test_a_message_obeys_no_terminal_and_an_input_error_is_a_value_error():
    assert str(InputError("a\x1b[2J")) == r"a\x1b[2J"
    assert isinstance(InputError("a"), ValueError)


def raising(error):
    """A main that fails."""

    def main():
        raise error

    return main
