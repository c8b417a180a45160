"""Money, from plan to replay, through Snakemake: what is asked, what is allowed, what is stored, what is shared."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workspace, workspace_in
from faults import Faults
from test_kill import cheap

from bezoar.requests.budget import MILLION
from bezoar.requests.ledger import totals

pytestmark = pytest.mark.end_to_end
TARGET = "data/filtered/lamini/0000/kept.jsonl"
GENERATED = "data/generated/lamini/0000"
PRICE = {"since": "2026-01-01", "source": "made up", "input": 1000.0, "cached": 1000.0, "written": 1000.0}
PRICE |= {"written_1h": 1000.0, "output": 1000.0, "batch": 0.5, "long_prompts": None}


def write(workspace: Workspace, *changes: tuple[str, Any]) -> None:
    """The cheap recipe in which a token costs a thousandth of a dollar, with other values by dotted name."""
    recipe = cheap()
    recipe["budget"] = {
        "prices": "prices.yaml",
        "run": {"dollars": None, "tokens": None},
        "stages": {},
        "approve_above": None,
    }
    for name, value in changes:
        *parents, last = name.split(".")
        block = recipe
        for parent in parents:
            block = block[parent]
        block[last] = value
    prices = {"prices": [{"model": name, **PRICE} for name in ("teacher", "judge")]}
    (workspace.root / "prices.yaml").write_text(yaml.safe_dump(prices))
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe))


def refused(workspace: Workspace, *words: str) -> str:
    """Run a program that must fail; what it said."""
    done = subprocess.run(
        words, cwd=workspace.root, env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0, done.stdout
    return done.stdout


def content(root: Path) -> dict[str, bytes]:
    """What generate and filter made."""
    folders = [root / GENERATED, root / Path(TARGET).parent]
    return {str(path.relative_to(root)): path.read_bytes() for folder in folders for path in folder.glob("*.json*")}


def asks(workspace: Workspace, *words: str) -> list[dict[str, Any]]:
    """What a plan says would be asked."""
    return json.loads(workspace.run("bezoar", "plan", TARGET, "--json", *words))["spending"]


@pytest.fixture
def built(workspace: Workspace) -> Workspace:
    write(workspace)
    workspace.snakemake(TARGET)
    return workspace


def test_a_plan_says_what_is_asked_and_what_is_answered_already(workspace, server):
    write(workspace)
    generate, judge = asks(workspace)
    # 10 listing calls of up to 4 instructions, each of which is answered; then as many rows are judged
    assert (generate["stage"], generate["model"], generate["calls"]) == ("generate-lamini", "teacher", 10 * (1 + 4))
    assert (judge["stage"], judge["calls"], judge["stored"]) == ("filter-lamini", 10 * 4, 0)
    assert generate["micro"] == 1000 * generate["tokens"]  # each token is a thousandth of a dollar
    assert generate["guessed"]
    assert server.hits == 0

    workspace.snakemake(TARGET)
    asked = server.hits
    assert asks(workspace) == []
    ledger = [json.loads(line) for path in workspace.root.glob("responses/generate-*/*.ledger.jsonl")
              for line in path.read_text().splitlines()]  # fmt: skip
    (generate, *_) = asks(workspace, "-S", "schemes.lamini.max_words=39")
    assert generate["stored"] == len(ledger)  # no prompt changes, so all is answered
    assert not generate["guessed"]
    before = content(workspace.root)
    assert asks(workspace, "-S", "schemes.lamini.examples_per_prompt=2")[0]["stored"] == 0  # every prompt changes
    assert content(workspace.root) == before
    assert server.hits == asked


def test_an_expensive_run_needs_a_yes_and_holds_to_it(workspace, server):
    write(workspace, ("budget.approve_above", 1.0))
    said = refused(workspace, "snakemake", "--cores", "2", TARGET)
    assert "may cost more than budget.approve_above" in said
    assert "generate-lamini: at most 50 calls without repeats to teacher" in said
    assert server.hits == 0
    workspace.environment["BEZOAR_APPROVE"] = "nan"
    assert "BEZOAR_APPROVE is not a number of dollars" in refused(workspace, "snakemake", "--cores", "2", TARGET)
    workspace.environment["BEZOAR_APPROVE"] = "0.1"
    assert "the budget is reached" in refused(workspace, "snakemake", "--cores", "2", TARGET)
    assert server.hits == 0  # the worst of a call is more than that
    workspace.environment["BEZOAR_APPROVE"] = "100"
    workspace.snakemake(TARGET)


@pytest.mark.short
def test_a_run_stops_at_its_ceiling_and_goes_on_where_it_was(built, server, tmp_path):
    clean, calls = content(built.root), server.hits
    (tmp_path / "other").mkdir()
    other = workspace_in(tmp_path / "other", server)
    write(other, ("budget.run.dollars", 5.0))
    said = refused(other, "snakemake", "--cores", "2", TARGET)
    assert re.search(r"the budget is reached: (generate|filter)-lamini sends nothing more", said)
    assert "returned non-zero exit status 75" in said
    paid = [line for path in other.root.glob("responses/*/*.ledger.jsonl") for line in path.read_text().splitlines()]
    assert 0 < sum(json.loads(line)["micro"] for line in paid) <= 5_000_000
    assert server.hits == calls + len(paid)
    write(other)
    other.snakemake(TARGET)
    assert server.hits == 2 * calls  # nothing was asked twice
    assert content(other.root) == clean


def test_stages_that_one_repro_makes_share_the_ceiling_of_a_run(built, server, tmp_path):
    spent = {name: totals(built.root / "responses")[f"{name}-lamini"].micro for name in ("generate", "filter")}
    most = max(spent.values()) + min(spent.values()) / 2  # what either stage takes, but not both
    (tmp_path / "other").mkdir()
    other = workspace_in(tmp_path / "other", server)
    write(other, ("budget.run.dollars", most / MILLION))
    shutil.copy(ROOT / "constraints.txt", other.root)
    for words in ("git init -q", "dvc init -q", "bezoar fingerprint", "bezoar dvc"):
        other.run(*words.split())
    said = refused(other, "dvc", "repro", "filter-lamini")
    assert "the budget is reached: filter-lamini sends nothing more" in said
    assert sum(one.micro for one in totals(other.root / "responses").values()) <= most
    write(other)
    other.run("dvc", "repro", "filter-lamini")
    assert content(other.root) == content(built.root)


def test_a_refused_key_stops_every_job_of_the_run(workspace):
    with Faults() as faults:
        workspace.environment |= {"TEACHER_BASE_URL": f"{faults.address}/v1", "TEACHER_API_KEY": faults.bad_key}
        faults.models.update({"teacher": {}, "judge": {}})
        write(workspace, ("shards", 4))
        targets = [f"data/generated/lamini/{shard:04d}/rows.jsonl" for shard in range(4)]
        said = refused(workspace, "snakemake", "--cores", "1", "--keep-going", *targets)
        assert "nothing more is sent" in said
        assert "returned non-zero exit status 77" in said
        logs = [path.read_text() for path in workspace.root.glob("logs/generate/lamini/*.log")]
        assert sum("another job of this run was refused" in log for log in logs) == len(logs) - 1 == 3
        assert faults.hits() == 0  # the preflight found it
        assert not list(workspace.root.glob("responses/*/*.answers.jsonl"))


@pytest.mark.short
def test_stored_answers_are_shared_by_dvc_and_replayed_without_key_or_network(built, server, tmp_path):
    root, remote = built.root, tmp_path / "remote"
    shutil.copyfile(ROOT / ".gitignore", root / ".gitignore")  # git may not hold what builds write
    for words in (
        "git init -q", "git config user.name a", "git config user.email a@b.c", "dvc init -q -f",
        f"dvc remote add -q -d shared {remote}", "dvc add -q responses", "git add -A", "git commit -qm answers",
        "dvc push -q",
    ):  # fmt: skip
        built.run(*words.split())
    asked, clean = server.hits, content(root)
    assert clean
    clone = tmp_path / "clone"
    built.run("git", "clone", "-q", str(root), str(clone))
    other = Workspace(clone, {name: value for name, value in built.environment.items() if not name.endswith("_KEY")})
    other.environment["BEZOAR_REPLAY_ONLY"] = "1"
    shutil.rmtree(clone / "data", ignore_errors=True)
    said = refused(other, "snakemake", "--cores", "2", TARGET)
    assert "answers are missing, and BEZOAR_REPLAY_ONLY is set" in said
    other.run("dvc", "pull", "-q", "responses")
    other.snakemake(TARGET)
    assert content(clone) == clean
    assert server.hits == asked


def test_a_quota_accepts_exactly_its_rows_and_asks_for_no_more_verdicts_than_it_needs(built, server):
    kept = len((built.root / TARGET).read_text().splitlines())
    write(built, ("filters.lamini.quota", kept - 3))
    asked = server.hits
    built.snakemake(TARGET)
    assert len((built.root / TARGET).read_text().splitlines()) == kept - 3
    assert server.hits == asked  # these rows were judged before
    write(built, ("filters.lamini.quota", kept + 1))
    said = refused(built, "snakemake", "--cores", "2", TARGET)
    assert f"expected: {kept + 1}, the quota" in said


def test_no_key_is_in_any_file_and_the_ledger_is_shown(built):
    files = [path for path in built.root.rglob("*") if path.is_file()]
    assert not [path for path in files if any(key.encode() in path.read_bytes() for key in built.keys)]
    table = built.run("bezoar", "responses")
    assert "generate-lamini" in table
    assert "filter-lamini" in table
    assert "dollars" in built.run("bezoar", "costs", TARGET)


def test_a_quota_is_met_over_all_shards_by_one_job(workspace, server):
    write(workspace, ("shards", 3), ("filters.lamini.quota", 7))
    (generate, judge) = asks(workspace)
    assert (generate["jobs"], judge["stage"], judge["jobs"]) == (3, "quota-lamini", 1)
    workspace.snakemake(TARGET)
    folders = [workspace.root / f"data/filtered/lamini/{shard:04d}" for shard in range(3)]
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    assert sum(report["kept"] for report in reports) == 7
    assert sum(len((folder / "kept.jsonl").read_text().splitlines()) for folder in folders) == 7
    calls = [json.loads(line)["number"] for path in workspace.root.glob("data/seed/lamini/*.jsonl")
             for line in path.read_text().splitlines()]  # fmt: skip
    assert sorted(calls) == list(range(10))
    verdicts = server.hits
    workspace.snakemake(TARGET)
    assert server.hits == verdicts
