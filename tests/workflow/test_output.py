"""What a run says with the default profile's logger: a line for each job, errors whole, and what it did at its end."""

import re
from pathlib import Path

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
