"""The gate before training: a new evaluation makes certificates stale, and training only where rows go or it closes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

ADAPTER = "data/adapters/sft"
TEXTS = [f"Please double the number {n} and say it in one short line." for n in range(24)]


def recipe(*evaluations: str, policy: str = "drop") -> dict[str, Any]:
    """A stage on rows of one's own, and evaluations by name of their questions."""
    asked = {name: {"path": f"{name}.jsonl", "format": "questions"} for name in evaluations}
    return {
        "recipe": "mine",
        "contamination": {"policy": policy},
        "models": {"base": {"method": "local", "path": "weights"}},
        "sources": {"mine": {"path": "rows.jsonl", "format": "chat"}, **asked},
        "mixes": {"mine": {"parts": ["mine"], "eval_rows": 4}},
        "stages": {"sft": {"init_from": "base", "mix": "mine", "compute_dtype": "float32", "max_length": 64}},
        "answers": {name: {"questions": name} for name in asked},
        "evals": {f"by_{name}": {"method": "answers", "checkpoints": ["sft"], "answers": name} for name in asked},
    }


def ask(root: Path, name: str, *turns: str) -> None:
    """Write questions of two turns."""
    rows = [
        {"question_id": n, "category": "math", "turns": [turn, "And why is that so?"]} for n, turn in enumerate(turns)
    ]
    (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def trained(workspace: Workspace, random_llama: Callable[..., Path]) -> Callable[..., bool]:
    """A function that builds the adapter with some evaluations, and says whether training started."""
    root = workspace.root
    random_llama(root / "weights", TEXTS)
    turns = [
        {"id": f"r{n}", "family": f"f{n}", "instruction": text, "response": "Done."} for n, text in enumerate(TEXTS)
    ]
    rows = [turn | {"system": None} for turn in turns]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def build(*evaluations: str, refused: str = "", **more: Any) -> bool:
        (root / "params.yaml").write_text(yaml.safe_dump(recipe(*evaluations, **more)))
        command = ("snakemake", "--cores", "2", ADAPTER)
        said = workspace.refused(*command) if refused else workspace.run(*command)
        assert refused in said
        return "train sft: from step 0" in said

    return build


def test_a_new_evaluation_trains_again_only_where_rows_go(workspace: Workspace, trained: Callable[..., bool]) -> None:
    root = workspace.root

    def certificate() -> Any:
        return json.loads((root / "data/certificates/mine.json").read_text())

    ask(root, "first", "How many legs does a spider have in all?")
    assert trained("first")
    assert list(certificate()["evaluations"]) == ["by_first"]
    ask(root, "second", "Which planet of the sun is the largest one?")
    assert not trained("first", "second")  # the certificate is new, rows and gate are not
    assert list(certificate()["evaluations"]) == ["by_first", "by_second"]
    ask(root, "second", "Which planet of the sun is the largest one?", TEXTS[3].upper())
    assert trained("first", "second")
    assert certificate()["items"][0]["rows"][0]["id"]
    dropped = [json.loads(line) for line in (root / "data/certified/mine/dropped.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in dropped] == ["evaluation item"]
    assert not trained("first")  # as it was first: restored
    text = "1 of 24 rows repeat evaluation items, and contamination.policy is block; by_second questions 1 in 1 rows"
    assert not trained("first", "second", policy="block", refused=text)
    assert not (root / "data/clearances/mine.json").exists()
    assert text in workspace.refused("snakemake", "--cores", "2", "data/datasets/mine/README.md")  # nor is it published
    assert not trained("first", policy="block")  # it passes, with the rows of before
