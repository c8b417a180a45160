"""Sources and base models of kind hub, fetched by the real clients from a look-alike on loopback."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace
from hub import Hub
from templates import OPENBEZOAR

from bezoar.files import digest

TRANSCRIPT = "\n\nHuman: May I?\n\nAssistant:"


@pytest.fixture
def recipe() -> dict:
    return yaml.safe_load((ROOT / "recipes" / "openbezoar-3b.yaml").read_text())


def online(workspace: Workspace, hub: Hub) -> None:
    workspace.environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}


def write_recipe(workspace: Workspace, recipe: dict) -> None:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def test_rows_of_a_hub_data_set_come_in_the_order_of_the_named_files(
    workspace: Workspace, recipe: dict, tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "datasets" / "Anthropic" / "hh-rlhf"
    for name in recipe["sources"]["hh"]["origin"]["files"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rows = [{"chosen": f"{TRANSCRIPT} {name} {n}", "rejected": f"{TRANSCRIPT} no"} for n in range(3)]
        with gzip.open(folder / name, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    recipe["sources"]["hh"]["limit"] = 4  # the whole first file and one row of the second
    write_recipe(workspace, recipe)
    with Hub(tmp_path / "hub") as hub:
        online(workspace, hub)
        workspace.snakemake("data/source/hh/rows.jsonl")
    chosen = [json.loads(line)["chosen"] for line in (workspace.root / "data/source/hh/rows.jsonl").open()]
    first, second = recipe["sources"]["hh"]["origin"]["files"][:2]
    assert chosen == [f"{first} 0", f"{first} 1", f"{first} 2", f"{second} 0"]


CARD = """\
---
configs:
- config_name: plain
  default: true
  data_files: [{split: train, path: plain.jsonl}]
- config_name: pairs
  data_files: [{split: train, path: pairs.jsonl}, {split: held, path: held.jsonl}]
---
"""


def test_a_configuration_and_a_split_are_read_row_by_row_under_other_names(
    workspace: Workspace, recipe: dict, tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "datasets" / "org" / "rows"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "plain.jsonl").write_text('{"text": "not this one"}\n')
    for name, rows in (("pairs", 3), ("held", 50)):
        content = [{"query": f"{name} {n}?", "reply": f"{n}!"} for n in range(rows)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    origin = {"kind": "hub", "repository": "org/rows", "config": "pairs", "split": "held", "revision": Hub.commit}
    columns = {"prompt": "query", "response": "reply"}
    source = {"origin": origin, "columns": columns, "limit": 40}
    write_recipe(workspace, {"recipe": "mine", "sources": {"mine": source}})
    with Hub(tmp_path / "hub") as hub:
        online(workspace, hub)
        workspace.snakemake("data/source/mine/rows.jsonl")
    rows = [json.loads(line)["messages"] for line in (workspace.root / "data/source/mine/rows.jsonl").open()]
    assert [row[0]["content"] for row in rows] == [f"held {n}?" for n in range(40)]
    report = json.loads((workspace.root / "data/source/mine/report.json").read_text())
    assert (report["format"], report["read"]) == ("prompt_response", 40)
    assert not list(Path(workspace.environment["HOME"]).rglob("*.arrow"))  # no copy was made


def test_pin_writes_the_commits_of_the_hub(workspace: Workspace, recipe: dict, tmp_path: Path) -> None:
    for kind, name in (("datasets", "org/rows"), ("models", "org/base")):
        (tmp_path / "hub" / kind / name).mkdir(parents=True)
    text = "recipe: mine\nmodels:\n  base: {method: hub, repository: org/base}  # no revision\nsources:\n  mine:\n"
    text += "    origin:\n      kind: hub\n      repository: org/rows\n      revision: main # moves\n"
    params = workspace.root / "params.yaml"
    params.write_text(text)
    assert workspace.refused("bezoar", "recipe", "check").count("hint: `bezoar recipe pin` finds it out") == 2
    with Hub(tmp_path / "hub") as hub:
        online(workspace, hub)
        said = workspace.run("bezoar", "recipe", "pin", "--dry-run")
        assert f"models.base.revision: nothing -> {hub.commit}\n" in said
        assert f"sources.mine.origin.revision: main -> {hub.commit}\n" in said
        assert said.endswith("params.yaml: 2 values would be pinned\n")
        assert params.read_text() == text
        assert workspace.run("bezoar", "recipe", "pin").endswith("params.yaml: 2 values pinned\n")
        assert params.read_text() == text.replace("org/base", f"org/base, revision: {hub.commit}").replace(
            "revision: main", f"revision: {hub.commit}"
        )
        assert workspace.run("bezoar", "recipe", "pin") == "params.yaml: everything is pinned\n"
        params.write_text(text.replace("org/rows", "org/none"))
        said = workspace.refused("bezoar", "recipe", "pin")
    assert "sources.mine.origin: org/none at main can't be pinned\n" in said


@pytest.mark.parametrize(
    "torch_weights",
    [pytest.param(False, id="safetensors"), pytest.param(True, id="torch weights only", marks=pytest.mark.long)],
)
def test_a_hub_model_becomes_a_directory_in_safetensors(
    torch_weights: bool, workspace: Workspace, recipe: dict, tmp_path: Path, random_llama: Callable[..., Path]
) -> None:
    published = random_llama(tmp_path / "hub" / "models" / "openlm-research" / "open_llama_3b_v2", ["one two three"])
    before = digest(published / "model.safetensors")
    if torch_weights:
        import torch
        from safetensors.torch import load_file

        torch.save(load_file(published / "model.safetensors"), published / "pytorch_model.bin")
        (published / "model.safetensors").unlink()
    recipe["models"]["open_llama_3b_v2"]["torch_weights"] = torch_weights
    write_recipe(workspace, recipe)
    with Hub(tmp_path / "hub") as hub:
        online(workspace, hub)
        workspace.snakemake("data/base/open_llama_3b_v2")
    built = workspace.root / "data/base/open_llama_3b_v2"
    assert {path.suffix for path in built.iterdir()} <= {".json", ".jinja", ".safetensors", ".snakemake_timestamp", ""}
    assert (built / "chat_template.jinja").read_bytes() == OPENBEZOAR.read_bytes()
    assert not list(built.glob("*.bin"))
    if not torch_weights:
        assert digest(built / "model.safetensors") == before
