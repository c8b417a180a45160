"""Tests stay on this machine: pytest itself, what runs in a workspace, and jobs apart."""

import socket
import sys

import pytest
from desk import apart, end
from guard.sitecustomize import attempts

ELSEWHERE = ("192.0.2.1", 9)  # TEST-NET-1 of RFC 5737, which is nobody's
REFUSAL = "tests stay on this machine, and this one connects to 192.0.2.1"


def connect(address):
    socket.create_connection(address, timeout=5).close()


def refused_elsewhere(here):
    """Exits with status 0 if only the address here can be reached."""
    connect(here)
    with pytest.raises(PermissionError, match=REFUSAL):
        connect(ELSEWHERE)


@pytest.fixture
def here():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


def test_pytest_itself_is_refused_and_remembers_what_it_tried(here):
    refused_elsewhere(here)
    assert attempts == [ELSEWHERE]
    attempts.clear()  # else this test fails


def test_a_program_in_a_workspace_reaches_loopback_only(workspace, here):
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
    workspace.run(sys.executable, "-c", code, *map(str, here))
    with pytest.raises(AssertionError, match=REFUSAL):
        workspace.run(sys.executable, "-c", code, *map(str, ELSEWHERE))


def test_a_job_of_snakemake_reaches_loopback_only(workspace, here):
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
    (workspace.root / "code.py").write_text(code)
    rules = "rule {name}:\n    shell:\n        'python code.py {host} {port}'\n"
    named = {"here": here, "elsewhere": ELSEWHERE}
    text = "\n".join(rules.format(name=name, host=host, port=port) for name, (host, port) in named.items())
    (workspace.root / "rules.smk").write_text(text)
    workspace.snakemake("--snakefile", "rules.smk", "here")
    with pytest.raises(AssertionError, match=REFUSAL):
        workspace.snakemake("--snakefile", "rules.smk", "elsewhere")


def test_a_job_apart_reaches_loopback_only(here):
    process = apart.Process(target=refused_elsewhere, args=(here,))
    process.start()
    assert end(process) == 0
