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

SHOWN = ("summary", "page", "report_mtbench-mtbench", "ablation-beta")  # made of all scores


@pytest.fixture
def tiny() -> dict:
    return yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())


def with_loop(recipe: dict, rounds: int) -> dict:
    """The recipe with rounds of DPO, each from the one before."""
    stage = {**recipe["stages"]["dpo_hh"], "init_from": "{before}", "beta": {"each": [0.1, 0.2, 0.3]}}
    loop = {"rounds": rounds, "start": "sft_hh", "evals": ["mtbench"], "blocks": {"stages": {"curry": stage}}}
    return recipe | {"loops": {"curry": loop}}


AXES = {
    "beta": {"b010": {}, "b005": {"stages.dpo_hh.beta": 0.05}, "b020": {"stages.dpo_hh.beta": 0.2}},
    "evol": {"r2": {}, "r1": {"schemes.evol.rounds": 1}},
    "pairs": {"p1900": {}, "p1000": {"mixes.hh_pairs.parts.0.rows": 1000}},
}


def with_matrix(recipe: dict, **axes: dict) -> dict:
    return recipe | {"matrix": {"beta": {"eval": "mtbench", "score": ["dpo_hh"], "axes": {**AXES, **axes}}}}


def plan(workspace: Workspace, *settings: str) -> list[str]:
    """The stages that would run with other values, without the reports of everything."""
    given = [one for setting in settings for one in ("-S", setting)]
    stages = json.loads(workspace.run("bezoar", "plan", *given, "--json"))["stages"]
    return sorted(stage["stage"] for stage in stages if stage["stage"] not in SHOWN)


def chain(*stages: str) -> list[str]:
    """The stages that train and score some stages."""
    rules = ("train-", "merge-", "answers-mtbench-", "judgments-mtbench-")
    return sorted(f"{rule}{stage}" for rule in rules for stage in stages)


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
    # 108 of the recipe's own; 1 + 2 + 2 + 4 x 5 + 2 x 13 + 2 x 11 = 73 of copies; and the report of the matrix
    assert (before.total(), after.total()) == (108, 108 + 73 + 1)


@pytest.mark.long
def test_what_is_planned_for_another_value_is_what_depends_on_it(workspace: Workspace, tiny: dict) -> None:
    pretend_built(workspace, with_loop(with_matrix(tiny), 3))
    assert plan(workspace) == []
    assert plan(workspace, "loops.curry.rounds=4") == chain("curry_4")
    beta = "loops.curry.blocks.stages.curry.beta"
    assert plan(workspace, f"{beta}={{each: [0.1, 0.15, 0.3]}}") == chain("curry_2", "curry_3")
    assert plan(workspace, f"{beta}=0.4") == chain("curry_1", "curry_2", "curry_3")
    ends = ("", "_p1000", "_r1", "_r1_p1000")
    level = "matrix.beta.axes.beta.b005={stages.dpo_hh.beta: 0.06}"
    assert plan(workspace, level) == chain(*(f"dpo_hh_b005{end}" for end in ends))
    rows = plan(workspace, "matrix.beta.axes.pairs.p1000.mixes.hh_pairs.parts.0.rows=1200")
    assert [one for one in rows if one.startswith("mix-")] == ["mix-hh_pairs_p1000", "mix-hh_pairs_r1_p1000"]
    assert plan(workspace) == []  # a plan changes nothing


@pytest.mark.long
def test_stages_of_dvc_are_ordinary_in_a_whole_recipe(workspace: Workspace, tiny: dict) -> None:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(with_loop(with_matrix(tiny), 2), sort_keys=False))
    workspace.run("bezoar", "dvc")
    stages = yaml.safe_load((workspace.root / "dvc.yaml").read_text())["stages"]
    values = yaml.safe_load((workspace.root / "params.resolved.yaml").read_text())
    for name, before in (("curry_2", "curry_1"), ("dpo_hh_b005_r1", "sft_hh_r1")):
        assert f"data/checkpoints/{before}" in stages[f"train-{name}"]["deps"]
        assert f"stages.{name}" in stages[f"train-{name}"]["params"][1]["params.resolved.yaml"]
        assert values["stages"][name]["init_from"] == before
    assert "loops" not in values


# On the small graph, whose jobs run: its Snakefile unrolls the loops of its params

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
    assert "data/adapters/spin_1" in looped.stages()["train-spin_2"]["deps"]  # an ordinary stage of DVC
    assert looped.ran() == ["data/adapters/spin_2", "data/adapters/spin_3", "results/score.json"]
    looped.edit("params.yaml", "[0.1, 0.2, 0.3]", "[0.1, 0.25, 0.3]")
    looped.build()
    assert looped.ran() == ["data/adapters/spin_2", "data/adapters/spin_3", "results/score.json"]
    looped.edit("params.yaml", "rounds: 3", "rounds: 4")
    looped.edit("params.yaml", "spin_3], ", "spin_3, spin_4], ")
    looped.build()
    assert looped.ran() == ["data/adapters/spin_4", "results/score.json"]
    assert looped.planned() == 0
