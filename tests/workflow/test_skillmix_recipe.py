"""Instruct-SkillMix in the job graph: one list of skills for all shards, and a whole build against the model server."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workspace
from test_plan import planned, pretend_built
from tree import seed_rows

PROMPTS = "recipes/prompts/skillmix/skillmix.yaml"
SCHEME = {"method": "skillmix", "seeds": "mine", "teacher": "teacher", "prompts": PROMPTS, "rows": 30}


def recipe(**values: Any) -> dict[str, Any]:
    """A scheme in three shards whose filter has rules only, and a mix of it."""
    connection = {"base_url_env": "TEACHER_BASE_URL", "api_key_env": "TEACHER_API_KEY"}
    api = {"kind": "openai", "model": "test-teacher", "token_limit_field": "max_tokens", "connection": connection}
    return {
        "recipe": "skills",
        "shards": 3,
        "budget": {"prices": "prices.yaml", "run": {"dollars": 1.0, "tokens": None}, "approve_above": None},
        "backends": {"teacher": api},
        "sources": {"mine": {"path": "rows.jsonl", "format": "dolly"}},
        "schemes": {"mixed": SCHEME | {"skill_calls": 6, "max_failed_share": 0.5} | values},
        "filters": {"mixed": {"judge": None, "prompts": None}},
        "mixes": {"mixed": {"parts": ["mixed"], "eval_rows": 2}},
    }


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    (workspace.root / "rows.jsonl").write_bytes(b"".join(line + b"\n" for line in seed_rows(20, "river")))
    (workspace.root / "prices.yaml").write_text((ROOT / "tests/real/prices.yaml").read_text())
    return workspace


def test_one_job_lists_the_skills_of_all_shards_and_an_edit_of_the_draws_leaves_it(project: Workspace) -> None:
    rules = {"skills": 1, "shard": 1, "generate": 3, "filter": 3, "source": 1, "mix": 1}
    assert planned(project, recipe()).items() >= rules.items()
    pretend_built(project, recipe())
    jobs = planned(project, recipe(skills_per_row=3))
    assert (jobs["skills"], jobs["shard"], jobs["generate"]) == (0, 1, 3)
    jobs = planned(project, recipe(skill_calls=7))
    assert (jobs["skills"], jobs["shard"], jobs["generate"]) == (1, 1, 3)


@pytest.mark.end_to_end
@pytest.mark.short
def test_skills_are_combined_into_rows_of_a_mix(project: Workspace) -> None:
    root = project.root
    (root / "params.yaml").write_text(yaml.safe_dump(recipe(), sort_keys=False))
    project.run("bezoar", "recipe", "check")
    project.snakemake()
    skills = {row["skill"] for row in lines(root / "data/skills/mixed/skills.jsonl")}
    report = json.loads((root / "data/skills/mixed/report.json").read_text())
    assert report["listed"] == len(skills) + sum(report["dropped"].values())
    rows = [row for path in sorted(root.glob("data/generated/mixed/*/rows.jsonl")) for row in lines(path)]
    assert rows
    assert all(len({*row["topics"]} & skills) == 2 for row in rows)
    reports = [json.loads(path.read_text()) for path in sorted(root.glob("data/generated/mixed/*/report.json"))]
    assert Counter(one["candidates"] for one in reports) == {10: 3}
    assert "skills" in project.run("bezoar", "costs")
    mix = json.loads((root / "data/mixes/mixed/report.json").read_text())
    assert mix["train"] + mix["eval"] == mix["parts"][0]["taken"] > 10
    before = (root / "data/mixes/mixed/train.jsonl").read_bytes()
    assert "Nothing to be done" in project.snakemake()
    project.run("bezoar", "forget", "skills-mixed", "generate-mixed")
    project.snakemake()
    assert (root / "data/mixes/mixed/train.jsonl").read_bytes() == before


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]
