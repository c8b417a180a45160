"""Loops and matrices in the job graph: what is planned for one more round, another value, another level."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from conftest import ROOT, Workspace
from graph import Graph
from test_plan import planned, pretend_built

SHOWN = ("summary", "page", "report_mtbench")  # made of all scores


@pytest.fixture
def tiny() -> dict:
    return yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())


def with_loop(recipe: dict, rounds: int) -> dict:
    """The recipe with rounds of DPO, each from the one before."""
    stage = {**recipe["stages"]["dpo_hh"], "init_from": "{before}", "beta": {"each": [0.1, 0.2]}}
    loop = {"rounds": rounds, "start": "sft_hh", "evals": ["mtbench"], "blocks": {"stages": {"curry": stage}}}
    return recipe | {"loops": {"curry": loop}}


AXES = {
    "beta": {"b010": {}, "b005": {"stages.dpo_hh.beta": 0.05}, "b020": {"stages.dpo_hh.beta": 0.2}},
    "evol": {"r2": {}, "r1": {"schemes.evol.rounds": 1}},
    "pairs": {"p1900": {}, "p1000": {"mixes.hh_pairs.parts.0.rows": 1000}},
}


def with_matrix(recipe: dict, **axes: dict) -> dict:
    return recipe | {"matrix": {"beta": {"eval": "mtbench", "score": ["dpo_hh"], "axes": {**AXES, **axes}}}}


def made(jobs: Counter[str]) -> dict[str, int]:
    """Jobs without the reports of everything."""
    return {rule: number for rule, number in jobs.items() if rule not in SHOWN}


def test_a_fourth_round_runs_alone(workspace: Workspace, tiny: dict) -> None:
    pretend_built(workspace, with_loop(tiny, 3))
    jobs = planned(workspace, with_loop(tiny, 4))
    assert made(jobs) == {"train": 1, "merge": 1, "answers": 1, "judgments": 1}
    plan = json.loads(workspace.run("bezoar", "plan", "-S", "loops.curry.rounds=5", "--json"))
    trained = [stage["stage"] for stage in plan["stages"] if stage["stage"].startswith("train-")]
    assert trained == ["train-curry_4", "train-curry_5"]


def test_another_value_of_round_2_runs_rounds_2_and_3(workspace: Workspace, tiny: dict) -> None:
    recipe = with_loop(tiny, 3)
    recipe["loops"]["curry"]["blocks"]["stages"]["curry"]["beta"] = {"each": [0.1, 0.2, 0.3]}
    pretend_built(workspace, recipe)
    recipe["loops"]["curry"]["blocks"]["stages"]["curry"]["beta"] = {"each": [0.1, 0.15, 0.3]}
    assert made(planned(workspace, recipe)) == {"train": 2, "merge": 2, "answers": 2, "judgments": 2}
    said = workspace.run("bezoar", "plan", "--all")
    assert "curry_1" not in said.replace("data/checkpoints/curry_1", "")
    plan = json.loads(workspace.run("bezoar", "plan", "-S", "loops.curry.blocks.stages.curry.beta=0.4", "--json"))
    trained = [stage["stage"] for stage in plan["stages"] if stage["stage"].startswith("train-")]
    assert trained == ["train-curry_1", "train-curry_2", "train-curry_3"]


def test_a_matrix_of_twelve_chains_is_the_union_of_their_graphs(workspace: Workspace, tiny: dict) -> None:
    before = planned(workspace, tiny)
    after = planned(workspace, with_matrix(tiny))
    # 3 x 2 x 2 chains end in dpo_hh, one of which is the recipe's own: 11 more stages.
    # Evol-Instruct of one round changes a scheme of two shards; sft_evol and sft_hh; and three mixes:
    # evol, hh, and hh_pairs, which holds out no row that evol or hh trains on.
    # Fewer pairs change the mix hh_pairs: of both, so there are 2 more.
    stages, mixes, shards = 11 + 2, 3 + 2, tiny["shards"]
    expected = {
        "shard": 1,
        "generate": shards,
        "filter": shards,
        **dict.fromkeys(("mix", "certificate", "certified", "clearance"), mixes),
        **dict.fromkeys(("train", "merge"), stages),
        **dict.fromkeys(("answers", "judgments"), 11),
        "ablation": 1,
    }
    assert after - before == Counter(expected)
    assert before - after == Counter()
    # 108 of the recipe's own; 1 + 2 + 2 + 4 x 5 + 2 x 13 + 2 x 11 = 73 of copies; the report of the matrix
    assert (before.total(), after.total()) == (108, 108 + 73 + 1)


def test_another_value_of_a_level_runs_what_has_that_level(workspace: Workspace, tiny: dict) -> None:
    pretend_built(workspace, with_matrix(tiny))
    assert planned(workspace, with_matrix(tiny)) == Counter()
    other = "{stages.dpo_hh.beta: 0.06}"
    plan = json.loads(workspace.run("bezoar", "plan", "-S", f"matrix.beta.axes.beta.b005={other}", "--json"))
    trained = [stage["stage"] for stage in plan["stages"] if stage["stage"].startswith("train-")]
    ends = ("", "_p1000", "_r1", "_r1_p1000")
    assert trained == [f"train-dpo_hh_b005{end}" for end in ends]
    assert planned(workspace, with_matrix(tiny)) == Counter()  # the plan has changed nothing
    level = {"b010": {}, "b005": {"stages.dpo_hh.beta": 0.06}, "b020": {"stages.dpo_hh.beta": 0.2}}
    jobs = made(planned(workspace, with_matrix(tiny, beta=level)))
    assert jobs == {**dict.fromkeys(("train", "merge", "answers", "judgments"), 4), "ablation": 1}


def test_one_value_of_a_level_is_set_by_its_dotted_name(workspace: Workspace, tiny: dict) -> None:
    pretend_built(workspace, with_matrix(tiny))
    name = "matrix.beta.axes.pairs.p1000.mixes.hh_pairs.parts.0.rows"
    plan = json.loads(workspace.run("bezoar", "plan", "-S", f"{name}=1200", "--json"))
    mixed = [stage["stage"] for stage in plan["stages"] if stage["stage"].startswith("mix-")]
    assert mixed == ["mix-hh_pairs_p1000", "mix-hh_pairs_r1_p1000"]


def test_stages_of_dvc_are_ordinary(workspace: Workspace, tiny: dict) -> None:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(with_loop(with_matrix(tiny), 2), sort_keys=False))
    workspace.run("bezoar", "dvc")
    stages = yaml.safe_load((workspace.root / "dvc.yaml").read_text())["stages"]
    values = yaml.safe_load((workspace.root / "params.resolved.yaml").read_text())
    for name, before in (("curry_2", "curry_1"), ("dpo_hh_b005_r1", "sft_hh_r1")):
        assert f"data/checkpoints/{before}" in stages[f"train-{name}"]["deps"]
        assert f"stages.{name}" in stages[f"train-{name}"]["params"][1]["params.resolved.yaml"]
        assert values["stages"][name]["init_from"] == before
    assert "loops" not in values


# On the small graph, whose jobs run: its rules are those of any graph, and its Snakefile unrolls the loops of its params

UNROLLED = """
from bezoar.recipe.unroll_loops import unroll_loops
config.update(unroll_loops(config, {}, "params.yaml").data)
del config["loops"]
"""
LOOP = """
loops:
  spin:
    rounds: 3
    start: sft
    blocks:
      stages: {spin: {mix: few, init_from: "{before}", rate: {each: [0.1, 0.2, 0.3]}, decay: 0.2}}
"""


@pytest.fixture
def looped(graph: Graph) -> Graph:
    """The small graph with a loop of three rounds, the last of which is scored."""
    graph.edit("Snakefile", "\nSHARDS = ", f"{UNROLLED}\nSHARDS = ")
    graph.edit("Snakefile", "    parts={", "    values=dict(config),\n    parts={")
    graph.edit("params.yaml", "{stages: [sft, dpo], ", "{stages: [spin_1, spin_2, spin_3], ")
    with (graph.root / "params.yaml").open("a") as file:
        file.write(LOOP)
    return graph


@contextmanager
def killed_in(graph: Graph, output: str) -> Iterator[None]:
    """Build until the job of an output waits at its start, and kill everything then."""
    process = graph.special(slow=output).start("snakemake", "--cores", "2", log=graph.log)
    end = time.monotonic() + 120
    while output not in graph.started():
        assert time.monotonic() < end, graph.log.read_text()
        time.sleep(0.05)
    yield
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    graph.special(slow="")


def test_a_loop_that_is_killed_in_round_2_resumes_in_round_2(looped: Graph) -> None:
    with killed_in(looped, "data/adapters/spin_2"):
        assert "data/adapters/spin_1" in looped.ran()
    looped.build()
    assert looped.ran() == ["data/adapters/spin_2", "data/adapters/spin_3", "results/score.json"]
    looped.edit("params.yaml", "[0.1, 0.2, 0.3]", "[0.1, 0.25, 0.3]")
    looped.build()
    assert looped.ran() == ["data/adapters/spin_2", "data/adapters/spin_3", "results/score.json"]
    looped.edit("params.yaml", "rounds: 3", "rounds: 4")
    looped.edit("params.yaml", "spin_3], ", "spin_3, spin_4], ")
    looped.build()
    assert looped.ran() == ["data/adapters/spin_4", "results/score.json"]
    assert looped.planned() == 0
