"""What the scripts share."""

import argparse
import os
from functools import reduce
from pathlib import Path

import yaml


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
    params = yaml.safe_load(Path(os.environ.get("BEZOAR_PARAMS", "params.yaml")).read_text())
    return args, [reduce(lambda block, key: block[key], name.split("."), params) for name in args.params]


def lines(path):
    """The lines of a file."""
    return path.read_text().splitlines()


def write(path, rows):
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))
