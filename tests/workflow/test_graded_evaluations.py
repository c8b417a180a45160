"""Checklist and rubric, each by a whole build: a verifier that judges, and a small local model's log-probabilities."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

QUESTIONS = 8
TEXTS = ["Does the response meet this requirement? Answer with Yes or No only.", "Yes", "No", "no yes No Yes"]
REFERENCED = ["math", "reasoning", "coding"]
JUDGING = "recipes/prompts/judging"


def recipe() -> dict[str, Any]:
    """One block of answers, and three evaluations of it."""
    made = {"kind": "builtin", "rows": 80}
    common = {"checkpoints": ["student"], "answers": "asked"}
    checklist = {"method": "checklist", "author": "rules", "prompts": f"{JUDGING}/checklist.yaml", **common}
    return {
        "recipe": "graded",
        "models": {"student": {"method": "local", "path": "weights"}},
        "backends": {
            "rules": {"kind": "verifier"},
            "small": {"kind": "local", "checkpoint": "student", "batch_size": 8, "dtype": "float32"},
        },
        "sources": {
            "questions": {"origin": made | {"set": "questions"}, "format": "questions", "sample": QUESTIONS},
            "references": {"origin": made | {"set": "references"}, "format": "references"},
        },
        "answers": {"asked": {"questions": "questions", "max_new_tokens": 8, "batch_size": 4, "dtype": "float32"}},
        "evals": {
            "checked": checklist
            | {"judge": "rules", "controls": ["empty", "filler", "spoof", "shuffled"]}
            | {"shuffled_from": "student"},
            "guessed": checklist | {"judge": "small", "max_failed_share": 1.0, "allow_compromised": True},
            "graded": {
                "method": "rubric",
                "judge": "rules",
                "prompts": f"{JUDGING}/rubric.yaml",
                "rubric": f"{JUDGING}/helpfulness.yaml",
                "references": "references",
                "reference_categories": REFERENCED,
                "repeats": 1,
                **common,
            },
            "judges": {"method": "agreement", "evals": ["checked", "guessed"], "checkpoints": ["student"]},
        },
    }


def test_both_methods_grade_one_generation_offline(workspace: Workspace, random_llama: Callable[..., Path]) -> None:
    root = workspace.root
    random_llama(root / "weights", TEXTS)
    (root / "params.yaml").write_text(yaml.safe_dump(recipe()))
    workspace.snakemake()
    checked, guessed, graded = (
        json.loads((root / f"results/{name}.json").read_text()) for name in ("checked", "guessed", "graded")
    )
    assert [path.parent.name for path in root.glob("data/answers/*/*/answers.jsonl")] == ["student"]  # for all three
    assert checked["judge"]["models_returned"] == graded["judge"]["models_returned"] == ["bezoar-world-verifier"]
    assert (checked["models"]["student"]["average"]["mean"], graded["models"]["student"]["average"]["mean"]) == (1, 1)
    assert [checked["judge_compromised"], graded["judge_compromised"]] == [False, False]
    assert checked["not_above_controls"] == ["student"]  # it has random weights
    assert checked["checklists"]["items"] == 4 * 2 * QUESTIONS == checked["models"]["student"]["gradings"]
    shown = [graded["questions"]["categories"].get(category, 0) for category in REFERENCED]
    assert graded["models"]["student"]["with_reference"] == 2 * sum(shown) > 0
    path = root / "data/checks/guessed/student/checks.jsonl"
    yes = [row["yes"] for row in map(json.loads, path.read_text().splitlines())]
    found = [one for one in yes if one is not None]
    missing = guessed["models"]["student"]["missing"]
    assert len(yes) == 4 * 2 * QUESTIONS
    assert missing["gradings"] == len(yes) - len(found)
    assert missing["mean_if_lowest"] <= missing["mean_if_highest"]
    assert guessed["judge_compromised"] or guessed["no_score"]
    assert guessed["judge"]["id"] != checked["judge"]["id"]
    judges = json.loads((root / "results/judges.json").read_text())
    assert sum(judges["pairs"][0]["rated"].values()) == 2 * QUESTIONS
    criteria = {name: one["criteria_sha256"] for name, one in judges["judges"].items()}
    assert criteria == dict.fromkeys(("checked", "guessed"), checked["checklists"]["sha256"])
    assert "Nothing to be done" in workspace.snakemake()
