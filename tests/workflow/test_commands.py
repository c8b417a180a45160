"""`bezoar plan`, `accept`, `verify` and `costs` on the small graph, and DVC's own commands on its results."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from graph import Graph


def plan(graph: Graph, *arguments: str) -> dict[str, Any]:
    """The output of `bezoar plan --json`."""
    said = graph.run("bezoar", "plan", "--json", *arguments)
    return json.loads(said[said.index("{") :])


def reasons(stage: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["kind"], one["name"], one["was"], one["now"]) for one in stage["reasons"]]


def test_plan_says_what_a_value_would_change_and_changes_nothing(built: Graph) -> None:
    before = built.contents()
    found = plan(built, "-S", "stages.dpo.rate=0.9")
    dpo, score = found["stages"]
    assert (dpo["stage"], dpo["certain"], reasons(dpo)) == ("train-dpo", True, [("param", "stages.dpo.rate", 0.1, 0.9)])
    assert (score["stage"], score["certain"]) == ("score-score", False)  # only if the adapter comes out different
    assert reasons(score) == [("upstream", "data/adapters/dpo", None, None)]
    assert found["proven"] == 13 - 2
    assert dpo["seconds"] > 0  # what it took in the build
    assert found["seconds"] == pytest.approx(dpo["seconds"] + score["seconds"])
    assert built.contents() == before
    assert built.run("git", "status", "--porcelain") == ""
    assert "nothing to run" in built.run("bezoar", "plan")


def test_plan_says_what_a_list_of_values_would_change(built: Graph) -> None:
    stages = {one["stage"]: one for one in plan(built, "-S", "stages.dpo.rate=[0.1, 0.2]")["stages"]}
    assert reasons(stages["train-dpo"]) == [("param", "stages.dpo.rate", 0.1, [0.1, 0.2])]


def test_plan_names_the_module_that_changed_and_the_jobs_of_many(built: Graph) -> None:
    built.edit("scripts/helper.py", "path.read_text(", "path.resolve().read_text(")
    stages = {stage["stage"]: stage for stage in plan(built)["stages"]}
    assert {one[1] for one in reasons(stages["generate-upper"]) if one[0] == "code"} == {"scripts/helper.py"}
    assert (stages["generate-upper"]["jobs"], stages["generate-upper"]["of"]) == (3, 3)
    assert len(stages) == 9  # every stage imports it


def test_plan_says_what_is_restored_from_where(built: Graph, tmp_path: Path) -> None:
    built.run("dvc", "push", "--quiet")
    clone = built.clone(tmp_path / "clone")
    (one,) = plan(clone)["restored"]
    size = (built.root / "results/score.json").stat().st_size
    assert one == {"path": "results/score.json", "bytes": size, "source": "remote"}
    (built.root / "results/score.json").unlink()
    (one,) = plan(built)["restored"]
    assert one["source"] == "cache"


def test_plan_refuses_what_params_yaml_has_not(built: Graph) -> None:
    assert "params.yaml has no such value\n  found:    stages.dpo.rat\n" in built.refused(
        "bezoar", "plan", "-S", "stages.dpo.rat=1"
    )


def test_plan_of_a_target_that_no_rule_makes_names_those_that_are_meant(built: Graph) -> None:
    for target in ("sft", "train-sft"):
        said = built.refused("bezoar", "plan", target)
        assert f"no rule makes {target}\n  found:    a source file, or nothing\n  expected: a file that a rule" in said
        assert "hint: did you mean `data/adapters/sft`?" in said
        assert "input functions" not in said  # Snakemake's own words


def test_plan_takes_a_default_by_its_name_and_any_other_name_with_a_plus(built: Graph) -> None:
    params = built.params()
    del params["evals"]["score"]["draws"]  # a value that params.yaml leaves to its default: 3
    (built.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    default = 'config["evals"]["score"].setdefault("draws", 3)'
    built.edit("Snakefile", "SHARDS = [", f"{default}\nSHARDS = [")
    built.edit("Snakefile", "graph.attach(\n    workflow,", "graph.attach(\n    workflow,\n    values=config,")
    assert "Nothing to be done" in built.build()
    assert plan(built)["stages"] == []
    for setting in ("evals.score.draws=4", "+evals.score.draws=4"):
        (stage,) = json.loads(built.run("bezoar", "plan", "--json", "-S", setting))["stages"]
        assert [one["text"] for one in stage["reasons"]] == ["evals.score.draws: 3 -> 4"]
    assert "found:    evals.score.draw\n" in built.refused("bezoar", "plan", "-S", "evals.score.draw=4")
    built.repro()
    built.run("git", "add", "--all")
    built.run("dvc", "exp", "run", "--quiet", "-S", "+evals.score.draws=4")
    assert built.ran() == ["results/score.json"]


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_an_accepted_change_reruns_nothing_and_is_on_record(built: Graph, front_end: str) -> None:
    built.edit("scripts/train.py", "losses = []", "losses = list()")
    assert [stage["stage"] for stage in plan(built)["stages"]] == ["train-sft", "train-dpo", "score-score"]
    built.run("bezoar", "accept", "train-sft", "--reason", "the same list")
    (entry,) = yaml.safe_load((built.root / "code.accepted.yaml").read_text())
    assert (entry["what"], entry["reason"]) == ("scripts/train.py", "the same list")
    built.by(front_end)
    assert built.ran() == []
    assert plan(built)["accepted"] == {"scripts/train.py": "the same list"}
    assert "accepted: a change of scripts/train.py: the same list" in built.run("bezoar", "verify")
    # the next change isn't covered
    built.edit("scripts/train.py", "MODULUS = 97", "MODULUS = 89")
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "data/adapters/sft", "results/score.json"]


def test_nothing_is_accepted_where_nothing_changed(built: Graph) -> None:
    said = built.refused("bezoar", "accept", "train-sft", "--reason", "none")
    assert "nothing to accept\n  found:    unchanged code, packages and command of train-sft" in said
    assert "no stage to accept\n  found:    train-x\n" in built.refused("bezoar", "accept", "train-x", "--reason", "n")


def test_verify_names_the_first_broken_link(built: Graph) -> None:
    assert "is consistent with its record, from sources to results" in built.run("bezoar", "verify")
    rows = built.root / "data/mixes/all/rows.txt"
    rows.write_text(rows.read_text().replace("A", "B"))
    assert "first broken link: data/mixes/all/rows.txt: differs from what was made" in built.refused("bezoar", "verify")
    built.build()
    built.edit("words.txt", "Cid", "Cyd")
    assert "first broken link: data/source/words/rows.txt: words.txt changed" in built.refused("bezoar", "verify")


def test_verify_reads_every_object_again(built: Graph) -> None:
    (path,) = [
        path
        for path in (built.root / ".dvc/cache/files/md5").rglob("*")
        if path.is_file() and path.read_bytes() == (built.root / "results/score.json").read_bytes()
    ]
    times = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "results/score.json: object " in built.refused("bezoar", "verify")


def test_a_rerun_compares_bytes_and_leaves_no_trace(built: Graph) -> None:
    before = built.contents()
    said = built.run("bezoar", "verify", "--rerun", "generate-upper")
    assert "generate-upper: every byte came out as recorded" in said
    assert built.ran() == []  # here: it ran in a folder of its own
    built.edit("scripts/train.py", "MODULUS = 97", "MODULUS = 89")
    built.run("bezoar", "accept", "train-sft", "--reason", "wrong, as the rerun finds out")
    said = built.refused("bezoar", "verify", "--rerun", "train-sft")
    assert "data/adapters/sft/weights/weight.txt: 1 of 1 lines differ" in said
    assert "train-sft: not repeatable" in said
    assert built.contents() == before
    assert not (built.root / "scratch/verify/train-sft").exists()


@pytest.mark.parametrize("what", ["seconds", "cpu_seconds"])
def test_costs_add_up_along_the_graph_each_ancestor_once(built: Graph, what: str) -> None:
    lines = [re.split("  +", line) for line in built.run("bezoar", "costs").splitlines() if line.count("  ") > 2]
    costs = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    own = {one["stage"]: float(one[what]) for one in costs}
    everything = {one["stage"]: float(one[f"{what} with all before"]) for one in costs}
    stages = yaml.safe_load((built.root / "dvc.yaml").read_text())["stages"]
    assert set(own) == set(stages) - {"code"}
    # mix-few is made of upper, and so of shard-words and source-words; mix-all of lower as well
    few = own["mix-few"] + own["generate-upper"] + own["shard-words"] + own["source-words"]
    assert everything["mix-few"] == pytest.approx(few, abs=0.005)
    assert everything["score-score"] == pytest.approx(sum(own.values()), abs=0.01)


def test_what_a_failed_run_of_a_job_spent_is_part_of_its_cost(graph: Graph) -> None:
    script = graph.root / "scripts/train.py"
    works = script.read_text()
    spends = "from bezoar.costs import spend\nspend(dollars=1.5, prompt_tokens=10)\n"
    for end in ("raise SystemExit(3)\n", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"):
        script.write_text(spends + end)
        graph.refused("snakemake", "data/adapters/sft")
    script.write_text(works.replace("import ", spends + "import ", 1))
    graph.build("data/adapters/sft")
    assert not list((graph.root / ".snakemake/bezoar-costs").iterdir())
    head, *lines = [re.split("  +", line) for line in graph.run("bezoar", "costs", "data/adapters/sft").splitlines()]
    (line,) = [line for line in lines if line[0] == "train-sft"]
    assert (line[head.index("dollars")], line[head.index("prompt_tokens")]) == ("4.5", "30")


def clone_of(built: Graph) -> Graph:
    """A clone of what is built, with nothing of it on disk, and with a remote that has it."""
    built.commit()
    built.run("dvc", "push", "--quiet")
    return built.clone(built.root.with_name("clone"))


def test_dvc_compares_metrics_and_parameters_and_runs_experiments(built: Graph) -> None:
    built.run("dvc", "exp", "run", "--quiet", "-S", "stages.dpo.rate=0.9")
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]
    metrics = json.loads(built.run("dvc", "metrics", "diff", "--json"))["results/score.json"]
    assert set(metrics) == {"scores.dpo"}
    params = json.loads(built.run("dvc", "params", "diff", "--json"))
    changed = {"stages.dpo.rate": {"old": 0.1, "new": 0.9, "diff": 0.8}}
    assert params.pop("code.lock").keys() == {"stages.train-dpo"}
    assert params == {"params.yaml": changed, "params.resolved.yaml": changed}
    for place in (built, clone_of(built)):
        said = place.run("dvc", "plots", "show", "--out", "plots")
        assert re.fullmatch(r"file://\S+/plots/index.html\s*", said)  # and no warning
        page = (place.root / "plots/index.html").read_text()
        assert page.count('"sft/history.json"') > 1
        assert page.count('"dpo/history.json"') > 1
