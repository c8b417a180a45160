"""The job graph: what is planned on a clean tree, with nothing run."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace

from bezoar.requests.blocks import Budget, Connection

LARGE = ROOT / "recipes" / "openbezoar-3b.yaml"
SHOWN = {"summary": 1, "page": 1}  # made of all scores


def planned(workspace: Workspace, recipe: dict, *targets: str) -> Counter[str]:
    """Jobs by rule that a dry run plans."""
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    output = workspace.snakemake("--dry-run", *targets)
    if "Nothing to be done" in output:
        return Counter()
    table = output.split("Job stats:", 1)[1].split("\n\n", 1)[0]
    counts = {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    return Counter({name: number for name, number in counts.items() if name not in ("total", "all")})


def changed(workspace: Workspace, recipe: dict, **blocks: dict) -> dict:
    """The recipe with blocks added, `stages={"more": {...}}`."""
    return recipe | {kind: recipe[kind] | added for kind, added in blocks.items()}


def pretend_built(workspace: Workspace, recipe: dict) -> None:
    """A tree in which everything has an output and a proof."""
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    workspace.run("python", str(ROOT / "tests" / "pretend.py"))
    assert planned(workspace, recipe) == Counter()


def with_eval(recipe: dict, name: str, **values: object) -> dict:
    """The recipe with other values in an evaluation."""
    return recipe | {"evals": recipe["evals"] | {name: recipe["evals"][name] | values}}


@pytest.fixture
def tiny() -> dict:
    return yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())


@pytest.fixture
def large() -> dict:
    return yaml.safe_load(LARGE.read_text())


def test_the_paper_recipe_plans_offline_with_the_jobs_that_its_design_implies(
    workspace: Workspace, large: dict
) -> None:
    jobs = planned(workspace, large, "results/mtbench.json")
    shards = large["shards"]
    checkpoints = large["evals"]["mtbench"]["checkpoints"]
    # three schemes, each in shards, generated and filtered once
    assert jobs["generate"] == jobs["filter"] == 3 * shards
    # LaMini, Orca and Evol on one adapter, then HH-RLHF SFT, then DPO; each is merged, since each is scored
    assert jobs["train"] == 5
    assert jobs["merge"] == len([name for name in checkpoints if name in large["stages"]]) == 5
    assert jobs["base"] == 1
    assert jobs["answers"] == len(checkpoints) == 6
    assert jobs["controls"] == 4
    assert jobs["judgments"] == 6 + 4
    assert jobs["gate"] == 1
    assert jobs["mix"] == jobs["certificate"] == jobs["certified"] == jobs["clearance"] == 5
    assert (jobs["harness_targets"], jobs["question_targets"]) == (10, 1)
    assert jobs["shard"] == 3
    assert jobs["report_mtbench"] == 1


def test_the_harness_runs_each_task_on_each_checkpoint(workspace: Workspace, large: dict) -> None:
    jobs = planned(workspace, large, "results/harness.json")
    block = large["evals"]["harness"]
    assert jobs["harness"] == len(block["tasks"]) * len(block["checkpoints"])
    assert len(block["tasks"]) == 10  # abstract: ten tasks of LM Eval Harness


def test_a_stage_adds_one_training_one_merge_and_its_scores(workspace: Workspace, tiny: dict) -> None:
    before = planned(workspace, tiny)
    more = tiny["stages"]["sft_evol"] | {"init_from": "sft_evol"}
    evals = {name: block | {"checkpoints": [*block["checkpoints"], "more"]} for name, block in tiny["evals"].items()}
    after = planned(workspace, changed(workspace, tiny, stages={"more": more}, evals=evals))
    tasks = len(tiny["evals"]["harness"]["tasks"])
    assert after - before == Counter({"train": 1, "merge": 1, "answers": 1, "judgments": 1, "harness": tasks})


def test_a_guide_is_an_input_of_its_stage_alone(workspace: Workspace, tiny: dict) -> None:
    shared = {"init_from": "sft_hh", "mix": "hh_pairs", "compute_dtype": "float32"}
    guided = {"tgdpo_hh": {"method": "tgdpo", "guide": "dpo_hh", **shared}, "simpo_hh": {"method": "simpo", **shared}}
    target = "data/checkpoints/dpo_hh"
    before = planned(workspace, tiny, target)
    recipe = changed(workspace, tiny, stages=guided)
    assert planned(workspace, recipe, "data/adapters/simpo_hh") - before == Counter()  # in the place of dpo_hh
    assert planned(workspace, recipe, "data/adapters/tgdpo_hh") - before == Counter(train=1)
    shown = workspace.snakemake("--dry-run", "--printshellcmds", "data/adapters/tgdpo_hh", "data/adapters/simpo_hh")
    commands = [one for one in shown.split("rule train:")[1:] if "scripts/train/" in one]
    with_guide = [one for one in commands if "--guide data/checkpoints/dpo_hh" in one]
    assert ["--params stages.tgdpo_hh" in one for one in with_guide] == [True]
    assert len(commands) > 2


def test_a_scheme_adds_one_shard_job_and_one_generate_and_one_filter_a_shard(workspace: Workspace, tiny: dict) -> None:
    before = planned(workspace, tiny)
    mixes = {"evol": tiny["mixes"]["evol"]}
    mixes["evol"] = mixes["evol"] | {"parts": [*mixes["evol"]["parts"], {"kind": "scheme", "name": "more", "rows": 9}]}
    schemes, filters = {"more": tiny["schemes"]["evol"]}, {"more": tiny["filters"]["evol"]}
    after = planned(workspace, changed(workspace, tiny, schemes=schemes, filters=filters, mixes=mixes))
    assert after - before == Counter({"shard": 1, "generate": tiny["shards"], "filter": tiny["shards"]})


def test_an_eval_adds_its_own_jobs_only(workspace: Workspace, tiny: dict) -> None:
    before = planned(workspace, tiny)
    more = tiny["evals"]["mtbench"] | {"checkpoints": ["dpo_hh"], "controls": ["empty"]}
    after = planned(workspace, changed(workspace, tiny, evals={"more": more}))
    # the answers are there: the control, a judgment of it and of the checkpoint, one after the other, and the report;
    # and the questions that rows of mixes are compared with
    own = {"controls": 1, "judgments": 2, "gate": 1, "report_mtbench": 1, "question_targets": 1}
    assert after - before == Counter(own)


def test_a_second_judge_rates_the_same_answers(workspace: Workspace, tiny: dict) -> None:
    before = planned(workspace, tiny)
    checkpoints = tiny["evals"]["mtbench"]["checkpoints"]
    backends = {"other": {"kind": "verifier"}}
    second = tiny["evals"]["mtbench"] | {"judge": "other"}
    both = {"method": "agreement", "checkpoints": checkpoints, "evals": ["mtbench", "second"]}
    after = planned(workspace, changed(workspace, tiny, backends=backends, evals={"second": second, "both": both}))
    own = {"controls": 4, "judgments": 4 + len(checkpoints), "gate": 1, "report_mtbench": 1, "question_targets": 1}
    assert after - before == Counter(own | {"report_agreement": 1})


def test_another_checkpoint_reruns_no_likelihoods(workspace: Workspace, tiny: dict) -> None:
    tiny["evals"]["held"] = {"method": "likelihood", "mixes": ["hh"], "checkpoints": ["sft_lamini"]}
    pretend_built(workspace, tiny)
    more = with_eval(tiny, "held", checkpoints=["sft_lamini", "sft_orca"])  # which was trained on another mix, too
    assert planned(workspace, more) == Counter({"likelihood": 1, "report_likelihood": 1} | SHOWN)


def test_a_new_task_is_looked_up_and_scored_alone(workspace: Workspace, tiny: dict) -> None:
    block = tiny["evals"]["harness"]
    pretend_built(workspace, with_eval(tiny, "harness", tasks=block["tasks"][:2]))
    jobs = planned(workspace, tiny)
    assert (jobs["harness_tasks"], jobs["harness_targets"]) == (1, 1)
    texts = {block["tasks"][0]: ["question"]}
    jobs = planned(workspace, with_eval(tiny, "harness", tasks=block["tasks"][:2], texts=texts))
    assert (jobs["harness_tasks"], jobs["harness_targets"]) == (0, 1)


def test_a_change_of_an_evaluation_reruns_only_what_it_touches(workspace: Workspace, tiny: dict) -> None:
    connection = {"base_url_env": None, "api_key_env": "JUDGE_API_KEY", "concurrency": 8, "requests_per_minute": None}
    connection |= {"tokens_per_minute": None, "timeout": 60.0, "deadline": 600.0, "batch": False, "server": None}
    judge = {
        "kind": "anthropic",
        "model": "m",
        "effort": None,
        "json_schema": False,
        "max_attempts": 2,
        "max_output_tokens": None,
    }
    judge |= {"connection": connection}
    tiny["backends"]["marker"] = judge
    tiny = with_eval(tiny, "mtbench", judge="marker", controls=["empty", "shuffled"])
    pretend_built(workspace, tiny)
    checkpoints, tasks = tiny["evals"]["mtbench"]["checkpoints"], len(tiny["evals"]["harness"]["tasks"])

    reported = {"report_mtbench": 1} | SHOWN
    # another checkpoint: its answers and their judgment
    more = with_eval(tiny, "mtbench", checkpoints=["teacher", *checkpoints])
    assert planned(workspace, more) == Counter({"answers": 1, "judgments": 1} | reported)
    # also as the last one: the shuffled control names the checkpoint that it is made of
    more = with_eval(tiny, "mtbench", checkpoints=[*checkpoints, "teacher"])
    assert planned(workspace, more) == Counter({"answers": 1, "judgments": 1} | reported)
    more = with_eval(tiny, "harness", checkpoints=[*tiny["evals"]["harness"]["checkpoints"], "teacher"])
    assert planned(workspace, more) == Counter({"harness": tasks, "report_harness": 1} | SHOWN)
    # another control: its judgment, and, if it lets the gate say something else, those of all checkpoints
    more = with_eval(tiny, "mtbench", controls=["empty", "filler", "shuffled"])
    every = {"judgments": 1 + len(checkpoints), "gate": 1} | reported
    assert planned(workspace, more) == Counter({"controls": 1} | every)
    assert planned(workspace, with_eval(tiny, "mtbench", bootstrap_samples=100)) == Counter(reported)
    # twice as many judgments: of every model and both controls
    again = with_eval(tiny, "mtbench", repeats=2)
    assert planned(workspace, again) == Counter({"judgments": len(checkpoints) + 2, "gate": 1} | reported)
    # how the judge is reached changes nothing, who it is and how often it is asked changes every judgment
    other = {"base_url_env": "JUDGE_BASE_URL", "api_key_env": "OTHER_API_KEY", "concurrency": 1, "timeout": 1.0}
    other |= {"requests_per_minute": 9, "tokens_per_minute": 99, "deadline": 2.0, "batch": True}
    other |= {"server": {"command": ["serve", "{port}"], "health": "/health", "start": 1.0, "idle": 1.0}}
    assert set(other) == set(connection) == set(Connection.model_fields)
    for changed_judge, judgments in (
        (judge | {"connection": other}, 0),
        (judge | {"effort": "low"}, len(checkpoints) + 2),
        (judge | {"max_attempts": 3}, len(checkpoints) + 2),
        (judge | {"max_output_tokens": 999}, len(checkpoints) + 2),
    ):
        jobs = planned(workspace, changed(workspace, tiny, backends={"marker": changed_judge}))
        assert jobs == (Counter({"judgments": judgments, "gate": 1} | reported) if judgments else Counter())
    # DPO is scored again, as is the control that is made of its answers, and all others if the gate says something
    # else then; the empty control is not
    stages = {"dpo_hh": tiny["stages"]["dpo_hh"] | {"beta": 0.2}}
    assert planned(workspace, changed(workspace, tiny, stages=stages)) == Counter(
        {
            "train": 1,
            "merge": 1,
            "answers": 1,
            "controls": 1,
            "judgments": 1 + len(checkpoints),
            "gate": 1,
            "harness": tasks,
            "report_mtbench": 1,
            "report_harness": 1,
            **SHOWN,
        }
    )


def test_a_budget_reruns_nothing_and_a_quota_filters_its_scheme_in_one_job(workspace: Workspace, tiny: dict) -> None:
    pretend_built(workspace, tiny)
    (workspace.root / "prices.yaml").write_text("prices: []\n")
    budget = {"prices": "prices.yaml", "run": {"dollars": 1.0, "tokens": None}, "approve_above": None}
    budget |= {"stages": {"filter-evol": {"dollars": None, "tokens": 1}}}
    assert set(budget) == set(Budget.model_fields)
    assert planned(workspace, tiny | {"budget": budget}) == Counter()
    jobs = planned(workspace, changed(workspace, tiny, filters={"evol": tiny["filters"]["evol"] | {"quota": 10}}))
    assert (jobs["quota"], jobs["filter"], jobs["generate"]) == (1, 0, 0)


def test_params_yaml_is_no_jobs_input(workspace: Workspace, tiny: dict, large: dict) -> None:
    for recipe in (tiny, large):  # a job depends on the values that its script reads
        (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        inputs = re.findall(r"^    input: (.+)$", workspace.snakemake("--dry-run"), re.MULTILINE)
        assert inputs
        assert not [line for line in inputs if "params.yaml" in line.split(", ")]


def test_jobs_ask_for_what_their_stage_or_rule_or_all_jobs_need(workspace: Workspace, tiny: dict) -> None:
    tiny["resources"] |= {
        "train": {"cpus": 2, "memory_gb": 1.5, "minutes": 90, "gpus": 1},
        "train-dpo_hh": {"cpus": 1, "memory_gb": 3.0, "minutes": 45, "gpus": 2},
    }
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    said = workspace.snakemake("--dry-run")
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?: +.*\n)+)", said, re.MULTILINE)
    asked = {}
    for name, details in jobs:
        if name == "all":
            continue
        wildcards = re.search(r"^    wildcards: (.*)$", details, re.MULTILINE)
        found = dict(part.split("=") for part in re.search(r"resources: (.*)", details)[1].split(", "))
        threads = re.search(r"^    threads: (\d+)$", details, re.MULTILINE)
        numbers = (int(threads[1]) if threads else 1, found["mem_mb"], found["runtime"], found["gpu"])
        asked[name, wildcards[1] if wildcards else ""] = numbers
    assert asked["train", "stage=dpo_hh"] == (1, "3000", "45", "2")
    assert asked["train", "stage=sft_hh"] == (2, "1500", "90", "1")
    assert asked["merge", "stage=sft_hh"] == (1, "2000", "20", "0")


def test_only_what_a_target_needs_is_planned(workspace: Workspace, tiny: dict) -> None:
    jobs = planned(workspace, tiny, "data/mixes/teacher/train.jsonl")
    assert set(jobs) == {"source", "mix"} | ({"base"} if "limit" in tiny["mixes"]["teacher"] else set())


def test_the_embedded_default_is_the_tiny_recipe() -> None:
    message = "params.yaml differs from recipes/tiny.yaml\nhint: run `bezoar recipe use tiny` and commit the result"
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "recipes" / "tiny.yaml").read_bytes(), message


def test_values_are_not_taken_from_the_command_line(workspace: Workspace, tiny: dict) -> None:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    with pytest.raises(AssertionError, match="values were given by --config"):
        workspace.snakemake("--dry-run", "--config", "seed=1")


def test_a_recipe_with_a_problem_is_refused_before_anything_runs(workspace: Workspace, tiny: dict) -> None:
    tiny["stages"]["dpo_hh"]["init_from"] = "sft_hhh"
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    with pytest.raises(AssertionError, match="did you mean `sft_hh`"):
        workspace.snakemake()
    assert not (workspace.root / "data").exists()


def test_the_tree_in_the_readme_is_the_tree(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    tree = text.split("## Where things are", 1)[1].split("```", 2)[1]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip() and not line.startswith(" ")}
    missing = [name for name in sorted(named - {"text"}) if not (ROOT / name).exists()]
    assert not missing, f"the README's tree names what isn't there: {missing}\nhint: edit the tree in README.md"
    shutil.rmtree(tmp_path)
