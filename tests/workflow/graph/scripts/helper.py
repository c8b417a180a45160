"""What the scripts share.

Tests make a run special by the environment: $SLOW names an output folder, whose job waits at its start, or a file,
whose job waits when half of it is written, until the file $RUNS.go exists; $RANDOM_STAGE names an output that is never
the same twice; $FAILS_ONCE names an output folder whose job fails at first; $HUNGRY one whose job takes 450 MB of
memory; $PATIENT one whose job is done after ten seconds, all in all, and when it is stopped goes on where it was.
"""

import argparse
import os
import random
import signal
import time
from functools import reduce
from pathlib import Path

import yaml

END = "\n"


def start():
    """Flags, and the values of --params; a line in the file that $RUNS names counts the run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", nargs="+", required=True)
    parser.add_argument("--inputs", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if "RUNS" in os.environ:
        with open(os.environ["RUNS"], "a") as file:
            file.write(f"{args.out}\n")
    wait(args.out)
    fail_once(args.out)
    hunger(args.out)
    patience(args.out)
    params = yaml.safe_load(Path(os.environ.get("BEZOAR_PARAMS", "params.yaml")).read_text())
    return args, [reduce(lambda block, key: block[key], name.split("."), params) for name in args.params]


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
    while os.environ.get("SLOW") == str(path) and not os.path.exists(f"{os.environ['RUNS']}.go"):
        assert time.monotonic() < end
        time.sleep(0.01)


def chance(path):
    """0, or another number each time, if a test wants that of this output."""
    return random.random() if os.environ.get("RANDOM_STAGE") == str(path) else 0.0


def fail_once(path):
    """End badly, the first time, if a test wants that of this output."""
    if os.environ.get("FAILS_ONCE") == str(path):
        mark = Path(f"{os.environ['RUNS']}.failed")
        if not mark.exists():
            mark.touch()
            raise SystemExit("this job fails once")


def hunger(path):
    """Hold much memory for some seconds, if a test wants that of this output."""
    if os.environ.get("HUNGRY") == str(path):
        held = b"x" * 450_000_000
        time.sleep(6)
        del held


def patience(path):
    """Work for ten seconds, if a test wants that of this output; SIGTERM saves how many are over."""
    if os.environ.get("PATIENT") != str(path):
        return
    state, stopped = Path(f"{os.environ['RUNS']}.state"), []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    tenths = int(state.read_text()) if state.exists() else 0
    with open(f"{os.environ['RUNS']}.patient", "a") as file:
        file.write(f"from {tenths}\n")
    while tenths < 100:
        time.sleep(0.1)
        tenths += 1
        if stopped:
            state.write_text(str(tenths))
            raise SystemExit(143)
