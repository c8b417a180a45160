"""`bezoar publish`: what goes to the hub is what was made, or nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Workspace, workspace_in
from hub import Hub
from server import Server

RECIPE = {
    "recipe": "mine",
    "sources": {"mine": {"path": "rows.jsonl", "format": "chat", "licence": "CC0-1.0"}},
    "mixes": {"all": {"parts": ["mine"], "eval_rows": 2}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A mix, built."""
    with Server() as server:
        workspace = workspace_in(tmp_path_factory.mktemp("publish"), server)
    row = {"system": None, "response": "Yes."}
    rows = [{"id": f"r{n}", "family": f"f{n}", "instruction": f"Is {n} a number?", **row} for n in range(12)]
    (workspace.root / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(RECIPE))
    workspace.snakemake("data/datasets/all/README.md")
    return workspace


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """The same, to be changed."""
    shutil.copytree(built.root, tmp_path / "workspace", symlinks=True)
    return Workspace(tmp_path / "workspace", {**built.environment, "HF_TOKEN": "hf_dummy"})


@pytest.fixture
def hub(workspace: Workspace, tmp_path: Path) -> Iterator[Hub]:
    """The look-alike, known to the workspace's programs."""
    with Hub(tmp_path / "hub", "hf_dummy") as running:
        workspace.environment |= {"HF_ENDPOINT": running.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        yield running


def test_a_mix_goes_to_the_hub_as_it_was_made_with_its_card(workspace: Workspace, hub: Hub) -> None:
    said = workspace.run("bezoar", "publish", "all", "--dry-run")
    assert hub.uploads == []
    assert "| `mine` | a file of the recipe's author (sha256 not pinned) | CC0-1.0 |" in said
    assert "  train.parquet\n" in said
    published = workspace.run("bezoar", "publish", "all", "--to", "org/all")
    assert f"published: {hub.address}" in published
    folder, made = hub.root / "datasets/org/all", workspace.root / "data/datasets/all"
    names = {"train.parquet", "eval.parquet", "statistics.json", "croissant.json", "SHA256SUMS", "README.md"}
    assert {path.name for path in folder.iterdir()} == names
    assert all((folder / name).read_bytes() == (made / name).read_bytes() for name in names)
    assert (folder / "README.md").read_text() == workspace.run("bezoar", "card", "all")
    assert hub.private == {"org/all"}


def test_what_was_altered_or_never_built_or_has_another_recipe_now_is_not_published(
    workspace: Workspace, hub: Hub
) -> None:
    train = workspace.root / "data/datasets/all/train.parquet"
    whole = train.read_bytes()
    train.unlink()
    train.write_bytes(whole + b"\0")
    assert "data/datasets/all isn't what was made\n  found:    data/datasets/all/train.parquet" in workspace.refused(
        "bezoar", "publish", "all", "--to", "org/all"
    )
    train.write_bytes(whole)
    changed = RECIPE | {"mixes": {"all": {"parts": ["mine"], "eval_rows": 3}}}
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(changed))
    assert "has no proof to attest" in workspace.refused("bezoar", "publish", "all", "--to", "org/all")
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(RECIPE))
    shutil.rmtree(workspace.root / "data/datasets/all")
    assert "isn't what was made" in workspace.refused("bezoar", "publish", "all", "--to", "org/all")
    assert hub.uploads == []


def test_a_target_is_needed_and_it_is_a_name_of_the_hub(workspace: Workspace) -> None:
    assert "one of the arguments --dry-run --to is required" in workspace.refused("bezoar", "publish", "all")
    assert "is not of the form ORG/NAME" in workspace.refused("bezoar", "publish", "all", "--to", "all")
