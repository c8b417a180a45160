"""What the scripts share.

Each job adds a line to the file `ran` in the folder --work. Tests make a job special by a file there that holds the
name of its output: `slow` an output folder, whose job waits at its start, or a file, whose job waits when half of it is
written, until the file `go` exists; `random` an output that is never the same twice; `fails` an output folder whose job
fails once; `hungry` one whose job takes 450 MB of memory; `patient` one whose job is done after ten seconds, all in
all, and when it is stopped goes on where it was, of which the file `stops` tells.
"""

import argparse
import os
import random
import signal
import sys
import time
from functools import reduce
from pathlib import Path

import yaml

END = "\n"
work = Path(sys.argv[sys.argv.index("--work") + 1])  # a folder that outlives the job


def start():
    """Flags, and the values of --params; a line in the file `ran` counts the run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", nargs="+", required=True)
    parser.add_argument("--inputs", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    add("ran", args.out)
    wait(args.out)
    fail_once(args.out)
    hunger(args.out)
    patience(args.out)
    params = yaml.safe_load(Path(os.environ.get("BEZOAR_PARAMS", "params.yaml")).read_text())
    return args, [reduce(lambda block, key: block[key], name.split("."), params) for name in args.params]


def add(log, line):
    """Add a line to a file in the folder --work."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / log).open("a") as file:
        file.write(f"{line}\n")


def special(kind, path):
    """Whether a test wants the job of an output special."""
    file = work / kind
    return file.exists() and file.read_text() == str(path)


def lines(path):
    """The lines of a file, whatever its bytes."""
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def write(path, rows):
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row}{END}" for row in rows)
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        wait(path)
        file.write(text[len(text) // 2 :])


def wait(path):
    """Wait for three minutes at most, if a test wants that of this output."""
    end = time.monotonic() + 180
    while special("slow", path) and not (work / "go").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def chance(path):
    """0, or another number each time, if a test wants that of this output."""
    return random.random() if special("random", path) else 0.0


def fail_once(path):
    """End badly, the first time, if a test wants that of this output."""
    if special("fails", path):
        (work / "fails").unlink()
        raise SystemExit("this job fails once")


def hunger(path):
    """Hold much memory for some seconds, if a test wants that of this output."""
    if special("hungry", path):
        held = b"x" * 450_000_000
        time.sleep(6)
        del held


def patience(path):
    """Work for ten seconds, if a test wants that of this output; SIGTERM saves how many are over."""
    if not special("patient", path):
        return
    state, stopped = work / path.name, []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    tenths = int(state.read_text()) if state.exists() else 0
    add("stops", f"from {tenths}")
    while tenths < 100:
        time.sleep(0.1)
        tenths += 1
        if stopped:
            state.write_text(str(tenths))
            raise SystemExit(143)
