"""What it takes to start each script, beside an interpreter that does nothing.

$ python benchmarks/starts.py [--rounds N]
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from timing import alternated, compared, ratio, seconds, table


def starting(*words: str) -> Callable[[], object]:
    """Runs the interpreter of this environment to its end."""
    return lambda: subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for path in sorted(Path("scripts").rglob("*.py")):
        taken = alternated({"ours": starting(str(path), "--help"), "bare": starting("-c", "pass")}, rounds)
        found = compared(taken["ours"], taken["bare"])
        rows.append([f"`{path} --help`", seconds(found.ours.cpu), seconds(found.bare.cpu), ratio(found.cpu)])
    print(table(["start of", "CPU s", "`python -c pass`, CPU s", "ratio of CPU"], rows))


if __name__ == "__main__":
    main()
