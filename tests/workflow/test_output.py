"""What a run says with the default profile's logger: a line for each job, errors whole, and what it did at its end."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from conftest import ROOT
from graph import Graph

NOISE = ("Building DAG", "Provided cores", "jobid", "Select jobs", "Complete log", "resources:")


def quiet(graph: Graph) -> Graph:
    """The graph with the logger of the default profile."""
    line = next(one for one in (ROOT / "profiles/default/config.yaml").read_text().splitlines() if "logger" in one)
    with Path(graph.root, "profiles/default/config.yaml").open("a") as file:
        file.write(f"{line}\n")
    return graph


def test_a_run_says_what_it_starts_what_is_done_and_what_it_did(graph: Graph) -> None:
    said = quiet(graph).build("data/adapters/sft")
    assert not [one for one in NOISE if one in said]
    assert "run    10 jobs: 6 generate, " in said
    assert "start  generate upper 0000\n" in said
    assert re.search(r"^done   train sft, 10 of 10$", said, re.MULTILINE)
    assert re.search(r"^10 run, 0 restored, 0 up to date in \d+ s$", said, re.MULTILINE)
    assert "nothing to run, 10 up to date\n" in graph.build("data/adapters/sft")
    logs = [path.read_text() for path in (graph.root / ".snakemake/log").glob("*.log")]
    assert any("localrule generate:" in one for one in logs)  # the files have all that Snakemake says
    graph.edit("scripts/train.py", "import json", "raise SystemExit('out of luck')\nimport json")
    failed = graph.refused("snakemake", "data/adapters/sft")
    assert "\nout of luck\n" in failed
    assert "Error in rule train:\n    message: None\n    jobid: " in failed
    assert "bezoar exec data/adapters/sft -- python scripts/train.py" in failed
    assert "localrule train:" in graph.refused("snakemake", "--verbose", "data/adapters/sft")


NOTES = """    params=os.environ.get("BEZOAR_PARAMS", "params.yaml"),
    ended=lambda build: [open("ended", "a").write(f"{dict(build.counts)} {[*build.decision.reasons]}\\n") and "it"],
    closing=lambda outputs: [f"see {outputs[-1]}"],
)
"""


def test_a_run_that_ends_or_fails_is_described(graph: Graph) -> None:
    graph.edit("Snakefile", NOTES.splitlines(keepends=True)[0] + ")\n", NOTES)
    notes = graph.root / "ended"
    assert "see it" in graph.build("data/mixes/all/rows.txt")
    first = notes.read_text()
    assert first.startswith("{'run': ")
    assert first.endswith(" []\n")
    graph.edit("scripts/train.py", "import json", "raise SystemExit('out of luck')\nimport json")
    graph.refused("snakemake", "data/adapters/sft")
    assert notes.read_text().removeprefix(first).endswith(" ['data/adapters/sft']\n")
    notes.unlink()
    notes.mkdir()
    graph.edit("scripts/train.py", "raise SystemExit('out of luck')\n", "")
    said = graph.build("data/adapters/sft")  # a failure to describe it isn't one of the run
    assert "the page about this run can't be written: IsADirectoryError: " in said


def test_status_follows_a_run_and_says_what_is_up_to_date_after_it(graph: Graph) -> None:
    graph.special(slow="data/adapters/sft")
    running = graph.start("snakemake", "--cores", "2", log=graph.log)
    end = time.monotonic() + 120
    while "data/adapters/sft" not in graph.started():
        assert time.monotonic() < end
        time.sleep(0.05)
    said = json.loads(graph.run("bezoar", "status", "--json"))
    assert [one["job"] for one in said["running"]] == ["data/adapters/sft"]
    assert said["rules"]["generate"] == {"done": 6}
    assert said["waiting"] == ["data/adapters/dpo", "results/score.json"]
    assert re.match(r"10 of 13 jobs done in .*; 1 running, 2 waiting; ", graph.run("bezoar", "status"))
    watched = graph.root / "watched.log"
    watching = graph.start("bezoar", "status", "--watch", log=watched)
    while "10 of 13" not in watched.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    (graph.work / "go").touch()
    assert running.wait(120) == watching.wait(120) == 0
    assert re.search(r"^13 of 13 jobs done in .*; 0 running, 0 waiting$", watched.read_text(), re.MULTILINE)
    assert "no run is going on; 13 jobs up to date, 0 to run\n" in graph.run("bezoar", "status")
    assert graph.run("bezoar", "status", "--json") == "null\n"


def test_a_report_has_the_runtimes_of_proofs(built: Graph) -> None:
    shutil.rmtree(built.root / ".snakemake/metadata", ignore_errors=True)  # as `drop-metadata` leaves it
    said = built.run("snakemake", "--report", "report.html")
    assert "Missing metadata" not in said
    drawn = re.findall(r'"rule": "(\w+)", "runtime": ([\d.]+)', (built.root / "report.html").read_text())
    rules = [rule for rule, _ in drawn]
    assert {rule: rules.count(rule) for rule in rules} == {
        "generate": 6, "mix": 2, "score": 1, "shard": 1, "source": 1, "train": 2
    }  # fmt: skip
    lines = [re.split("  +", line) for line in built.run("bezoar", "costs").splitlines()]
    costs = {line[0]: float(line[lines[0].index("seconds")]) for line in lines[1:]}
    trained = sorted(float(seconds) for rule, seconds in drawn if rule == "train")
    assert trained == pytest.approx(sorted(costs[f"train-{name}"] for name in ("sft", "dpo")), abs=0.01)
