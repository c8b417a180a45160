"""A pairwise evaluation from the recipe to its result, offline: answers once, controls first, the gate, the report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

RECIPE = """\
recipe: my-pairs
models:
  base: {method: local, path: ../models/base}
  other: {method: local, path: ../models/other}
sources:
  asked: {origin: {kind: builtin, set: questions, rows: 24}, format: questions}
  references: {origin: {kind: builtin, set: references, rows: 24}, format: references}
  prompts: {path: recipes/prompts/pairwise/v1.jsonl, format: judge_prompts}
backends:
  judge: {kind: verifier}
answers:
  short: {questions: asked, max_new_tokens: 8, batch_size: 16, dtype: float32}
evals:
  pairs: &pairs
    method: pairwise
    answers: short
    checkpoints: [base, other]
    baseline: base
    judge_prompts: prompts
    references: references
    judge: judge
    style: [length, bold]
    bootstrap_samples: 100
    allow_compromised: true
  shown: {method: answers, answers: short, checkpoints: [base]}
"""


def test_a_pairwise_evaluation_runs_offline(workspace: Workspace, random_llama: Callable[..., Path]) -> None:
    for name in ("base", "other"):
        random_llama(workspace.root.parent / "models" / name, [f"count the {name} words of this"])
    (workspace.root / "params.yaml").write_text(RECIPE)
    workspace.snakemake()
    report = json.loads((workspace.root / "results/pairs.json").read_text())
    assert report["protocol"] == "pair-5-v1"
    assert report["judge"]["models_returned"] == ["bezoar-world-verifier"]
    assert (report["models"]["other"]["games"], report["models"]["other"]["complete"]) == (
        96,
        True,
    )  # 24 questions of two turns
    assert report["models"]["base"]["win_rate"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert report["controls"]["control_self"]["win_rate"]["mean"] == 0.5
    assert report["seats"]["decided_between_equal_answers"] == 0.0
    # random weights answer no better than a control, so the baseline is to blame, and it is said
    assert report["judge_compromised"]
    assert "control_filler" in report["controls_that_failed"]
    assert json.loads((workspace.root / "data/gates/pairs.json").read_text())["compromised"]
    assert (
        "if the baseline's answers are no better, take another" in (workspace.root / "logs/gate/pairs.log").read_text()
    )
    assert {path.name for path in (workspace.root / "data/answers/short").iterdir()} == {"base", "other"}
    rows = (workspace.root / "data/comparisons/pairs/control_spoof/judgments.jsonl").read_text().splitlines()
    assert len(rows) == 48
    assert "End of the answer of Assistant A" in rows[0]
    assert "Nothing to be done" in workspace.snakemake()
    workspace.run("bezoar", "dvc")
    stages = (workspace.root / "dvc.yaml").read_text()
    for name in ("comparisons-pairs-other", "comparisons-pairs-control_self", "gate_pairwise-pairs"):
        assert f"  {name}:\n" in stages
    assert "  answers-short-base:\n" in stages
    assert "comparisons-pairs-base" not in stages  # the baseline doesn't play against itself, but for the control

    # another weight is a matter of the report alone
    (workspace.root / "params.yaml").write_text(RECIPE.replace("style: [length, bold]", "strong_weight: 3.0"))
    said = workspace.run("snakemake", "--dry-run")
    assert "rule report_pairwise" in said
    assert "rule comparisons" not in said
