"""dvc.yaml, code.lock and params.resolved.yaml of this repository, and what DVC makes of them."""

import json
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

PRINT = """
import json
from bezoar.cache.generated import code_text
from bezoar.cache.graph import loaded
with loaded() as attached:
    jobs = attached.commands()
    steps = [[step.rule, sorted(step.params), jobs[step.name]] for step in attached.build.steps]
    build = attached.build
    print(json.dumps([build.pipeline, code_text(build.code.prints), steps, build.resolved.text]))
"""


@pytest.fixture(scope="module")
def said() -> list:
    """What this repository's rules say: dvc.yaml, code.lock, each job's rule, parameters and command, all values."""
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().splitlines()[-1])


def test_dvc_yaml_is_what_the_rules_say(said: list) -> None:
    message = "dvc.yaml differs from the rules\nhint: run `bezoar dvc` and commit the result"
    assert (ROOT / "dvc.yaml").read_text() == said[0], message


def test_code_lock_is_what_the_code_says(said: list) -> None:
    message = "code.lock differs from the code\nhint: run `bezoar fingerprint` and commit the result"
    assert (ROOT / "code.lock").read_text() == said[1], message


def test_params_resolved_yaml_is_what_params_yaml_says(said: list) -> None:
    message = "params.resolved.yaml differs from params.yaml\nhint: run `bezoar dvc` and commit the result"
    assert (ROOT / "params.resolved.yaml").read_text() == said[3], message


def test_a_job_depends_on_all_that_its_script_may_read(said: list) -> None:
    backends = yaml.safe_load((ROOT / "params.yaml").read_text())["backends"]
    for rule, tracked, command in said[2]:
        names = command[command.index("--params") + 1 :] if "--params" in command else ["--"]  # some read no values
        names = names[: next(n for n, word in enumerate(names) if word.startswith("--"))]
        expected = set()
        for name in set(names) - {"budget"}:  # of a backend, all but how it is reached
            block = backends.get(name.removeprefix("backends."), {}) if name.startswith("backends.") else {}
            expected |= {f"{name}.{key}" for key in block if key != "connection"} or {name}
        assert expected <= set(tracked), rule
        assert ("budget" in names) == (rule in ("generate", "filter", "judgments")), rule


def test_no_job_depends_on_what_may_be_spent_or_how_a_server_is_reached(said: list) -> None:
    tracked = [name for _, names, _ in said[2] for name in names]
    assert not [name for name in tracked if "budget" in name.split(".") or "connection" in name.split(".")]


def test_no_stage_is_a_shard_or_a_task() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    recipe = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert {name for name in stages if name.startswith("generate-")} == {f"generate-{one}" for one in recipe["schemes"]}
    checkpoints = recipe["evals"]["harness"]["checkpoints"]
    assert len([name for name in stages if name.startswith("harness-")]) == len(checkpoints)


def test_stages_know_their_metrics_plots_and_parameters() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert pipeline["stages"]["report_mtbench-mtbench"]["metrics"] == [{"results/metrics/mtbench": {"persist": True}}]
    assert pipeline["stages"]["summary"]["outs"] == [{"results/summary.csv": {"persist": True}}]
    plots = {name: plot for one in pipeline["plots"] for name, plot in one.items()}
    assert plots["train: eval_loss"]["y"]["data/adapters/dpo_hh/history.json"] == "eval_loss"
    assert plots["summary: score"]["y"] == {"results/summary.csv": "score"}
    assert {"params.resolved.yaml": ["seed", "stages.dpo_hh"]} in pipeline["stages"]["train-dpo_hh"]["params"]


def test_the_template_of_scores_is_where_dvc_looks_for_it() -> None:
    assert (ROOT / ".dvc/plots/scores.json").read_bytes() == (ROOT / "rules/plots/scores.json").read_bytes()
