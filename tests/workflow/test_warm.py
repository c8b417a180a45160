"""A command that starts warm (tests/warm) does what the command does that a user starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from graph import Graph

BIN = str(Path(sys.executable).parent)

TELL = """
import os, sys
print(sys.argv[1:], os.getcwd(), sorted(os.environ.items()), sys.path[1:], file=open("told", "w"))
"""


def with_one_folder(text: str) -> str:
    """A text in which the folder of warm commands has the name of the one that a user's shell finds them in."""
    return text.replace(f"{warm.folder()}:", "").replace(str(warm.folder()), BIN)


def lines_of(said: str) -> list[str]:
    """What a command said, in any order and at any time."""
    return sorted(
        line for line in with_one_folder(said).splitlines() if not line.startswith(("  Date: ", "  Workflow ID: "))
    )


def cold(graph: Graph, *command: str) -> tuple[int, str]:
    """What a command of the environment does, started from nothing."""
    done = subprocess.run(command, cwd=graph.root, env=graph.environment, capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    "command",
    [
        ("snakemake", "--dry-run", "--quiet"),
        ("snakemake", "nothing-makes-this"),
        ("dvc", "status"),
        ("dvc", "repro", "no-such-stage"),
        ("bezoar", "plan"),
        ("bezoar", "no-such-command"),
    ],
    ids=" ".join,
)
def test_it_ends_and_says_as_from_a_shell(graph: Graph, command: tuple[str, ...]) -> None:
    status, said = graph.outcome(*command)
    known, expected = cold(graph, *command)
    assert status == known
    assert lines_of(said) == lines_of(expected)


def test_a_build_from_a_shell_makes_what_a_warm_one_makes(once: Graph, graph: Graph) -> None:
    assert cold(graph, "snakemake")[0] == 0
    assert graph.contents() == once.contents()
    assert "up to date" in cold(graph, "dvc", "repro")[1]


def test_it_sees_the_arguments_folder_environment_and_path_that_it_was_given(graph: Graph) -> None:
    (graph.root / "Snakefile").write_text(TELL)
    graph.environment["GIVEN"] = "a value\n\udcff"
    graph.outcome("snakemake", "--dry-run", "a target")
    told = (graph.root / "told").read_text()
    cold(graph, "snakemake", "--dry-run", "a target")
    assert with_one_folder(told) == (graph.root / "told").read_text()


def test_what_kills_it_is_its_status(graph: Graph) -> None:
    (graph.root / "Snakefile").write_text(f"import os\nos.kill(os.getpid(), {signal.SIGKILL.value})\n")
    status, said = graph.outcome("snakemake", "--dry-run")
    assert status == -signal.SIGKILL, said
