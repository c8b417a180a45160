"""Where the CPU seconds of the tests go: by kind of process, and by test file.

$ python benchmarks/test_costs.py make test

While the command runs, a .pth file in this environment makes every Python process write what it cost when it ends.
A process that is killed, or that replaces itself by another program, writes nothing.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from pathlib import Path

from timing import cost_of, seconds, table

HOOK = """
import atexit, json, os, resource, sys

def write():
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = [name for name in ("torch", "trl") if name in sys.modules]
    line = json.dumps([sys.argv[:3], sys.orig_argv[:4], used.ru_utime + used.ru_stime, heavy])
    with open({path!r}, "a") as file:
        file.write(line + "\\n")

atexit.register(write)
"""
PROGRAMS = ("snakemake", "dvc", "bezoar", "pytest")
DURATION = re.compile(r"^([\d.]+)s (?:call|setup|teardown) +(\S+?)::", re.MULTILINE)


def kind_of(argv: list[str], whole: list[str], heavy: list[str]) -> str:
    """The kind of a process."""
    name = Path(argv[0]).name if argv else ""
    if name == "bezoar":
        return f"bezoar {'exec' if 'exec' in argv[1:2] else 'other commands'}"
    if name in PROGRAMS:
        return name
    if "-c" in whole[:3]:
        return "pytest workers" if "torch" in heavy else "forked helpers of tests"
    if heavy:
        return f"jobs that import {heavy[-1]}"
    return "jobs, other Python"


def measured(command: list[str]) -> tuple[str, dict[str, list[float]], float, float]:
    """The command's output, seconds of processes by kind, and its wall and CPU seconds."""
    packages = Path(sysconfig.get_path("purelib"))
    hook, start = packages / "bezoar_test_costs.py", packages / "bezoar_test_costs.pth"
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "costs.jsonl"
        said = Path(folder) / "said"
        try:
            hook.write_text(HOOK.format(path=str(written)))
            start.write_text("import bezoar_test_costs\n")
            options = {**os.environ, "PYTEST_ADDOPTS": "--durations=0 --durations-min=0.005"}
            with said.open("w") as file:
                cost = cost_of(lambda: subprocess.run(command, env=options, stdout=file, stderr=file, check=False))
        finally:
            start.unlink(missing_ok=True)
            hook.unlink(missing_ok=True)
        kinds: dict[str, list[float]] = defaultdict(list)
        for line in written.read_text().splitlines():
            argv, whole, used, heavy = json.loads(line)
            kinds[kind_of(argv, whole, heavy)].append(used)
        return said.read_text(), kinds, cost.wall, cost.cpu


def main() -> None:
    said, kinds, wall, cpu = measured(sys.argv[1:] or ["make", "test"])
    print(said[-300:])
    ranked = sorted(kinds.items(), key=lambda item: -sum(item[1]))
    rows = [[name, str(len(used)), seconds(sum(used))] for name, used in ranked]
    rows += [["killed or replaced processes, not Python", "", seconds(cpu - sum(map(sum, kinds.values())))]]
    print(table(["processes", "number", "CPU s"], [*rows, ["all", "", seconds(cpu)]]))
    print(f"{wall:.0f} s by the clock\n")
    files: dict[str, list[float]] = defaultdict(list)
    for used, name in DURATION.findall(said):
        files[name].append(float(used))
    ranked = sorted(files.items(), key=lambda item: -sum(item[1]))
    print(table(["file", "wall s of its tests"], [[name, seconds(sum(used))] for name, used in ranked[:20]]))


if __name__ == "__main__":
    main()
