"""Near-duplicates at scale: rows with planted copies through the mix, and through text-dedup's MinHash.

    python benchmarks/near_duplicates.py 1000000 FOLDER
    python benchmarks/near_duplicates.py 30000 FOLDER --peer PYTHON

PYTHON is that of an environment of its own with text-dedup. Each prints CPU seconds, the most memory, how many of the
planted copies go, and how many other rows. An original or its copy may stay, but not both.
"""

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

COPIES, TRAPS = 0.1, 0.02  # shares of rows
KINDS = ("verbatim", "case", "commas", "one word", "two words")
LAST = 100_000  # originals that copies are made of
PEER = "--ngram 5 --threshold 0.8 --num_perm 200 --b 25 --r 8 --num_proc 1"


def sentences(seed: int) -> Iterator[str]:
    """Texts of 60 to 120 made-up words, whose frequencies are Zipf's."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(20_000)]
    weights = list(itertools.accumulate(1 / (rank + 1) ** 0.8 for rank in range(len(words))))
    while True:
        yield " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(60, 120)))


def copied(kind: str, text: str) -> str:
    """A copy of a text; an edit is in its middle."""
    words = text.split()
    middle = len(words) // 2
    match kind:
        case "case":
            return text.title()
        case "commas":
            return ", ".join((" ".join(words[:middle]), " ".join(words[middle:])))
        case "one word":
            return " ".join([*words[:middle], "changed", *words[middle + 1 :]])
        case "two words":
            return " ".join([*words[:middle], "two", "changed", *words[middle + 2 :]])
    return text


def write(number: int, path: Path) -> None:
    """Write rows, and beside them, for each copy: its line, the original's, and its kind.

    Traps are two questions about one passage with different answers. They are no copies.
    """
    chance, texts = random.Random(1), sentences(0)
    originals: list[tuple[int, str, str]] = []
    with path.open("w") as rows, path.with_suffix(".truth").open("w") as truth:
        for line in range(number):
            kind, draw = "", chance.random()
            prompt, answer = " ".join(next(texts).split()[:30]), next(texts)
            if originals and draw < COPIES:
                kind, (source, prompt, answer) = chance.choice(KINDS), chance.choice(originals)
                answer = copied(kind, answer)
            elif originals and draw < COPIES + TRAPS:
                kind, (source, prompt, _) = "trap", chance.choice(originals)
            if kind:
                truth.write(f"{line}\t{source}\t{kind}\n")
            elif len(originals) < LAST:
                originals.append((line, prompt, answer))
            row = {"instruction": prompt, "output": answer}
            rows.write(json.dumps(row) + "\n")


def ours(path: Path, folder: Path) -> list[int]:
    """The lines that a mix keeps."""
    from bezoar.steps.data.mix import Mix
    from bezoar.steps.data.mixing import write_mix
    from bezoar.steps.data.pool import Folders

    block = Mix.model_validate({"parts": [{"kind": "source", "name": "mine"}]})
    write_mix(block, Folders(folder, folder / "source", folder / "selected", 1), None, [], None, 0, folder / "mix")
    with (folder / "mix/origins.jsonl").open() as lines:
        return [json.loads(line)["line"] - 1 for line in lines]


def source(path: Path, folder: Path) -> None:
    """Read the rows as a source."""
    from bezoar.steps.data.source import write_source
    from bezoar.steps.data.sources import Source

    write_source(Source.model_validate({"path": str(path), "format": "alpaca"}), 0, folder / "source/mine")


def peers(python: str, path: Path, folder: Path) -> list[int]:
    """The lines that text-dedup keeps."""
    with path.open() as rows, (folder / "texts.jsonl").open("w") as texts:
        for number, line in enumerate(rows):
            row = json.loads(line)
            texts.write(json.dumps({"line": number, "text": f"{row['instruction']}\n{row['output']}"}) + "\n")
    files = ["--data_files", str(folder / "texts.jsonl"), "--cache_dir", str(folder / "cache")]
    to = ["--output", str(folder / "kept"), "--column", "text", "--split", "train", "--path", "json"]
    run = [python, "-m", "text_dedup.minhash", *files, *to, *PEER.split()]
    environment = os.environ | {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(run, check=True, env=environment, cwd=folder, stdout=sys.stderr)
    show = "import datasets, json, sys; print(json.dumps(datasets.load_from_disk(sys.argv[1])['line'][:]))"
    found = subprocess.run([python, "-c", show, str(folder / "kept")], check=True, capture_output=True, text=True)
    return [int(line) for line in json.loads(found.stdout)]


def report(kept: set[int], truth: Path, number: int) -> None:
    """Print which planted copies went, by kind, and how many other rows."""
    pairs = [line.rstrip("\n").split("\t") for line in truth.read_text().splitlines()]
    copies = {int(one) for line, source, kind in pairs if kind != "trap" for one in (line, source)}
    for kind in KINDS:
        of_kind = [{int(line), int(source)} for line, source, name in pairs if name == kind]
        print(f"{kind}: {sum(not pair <= kept for pair in of_kind):,} of {len(of_kind):,} pairs lose a row")
    traps = {int(line) for line, _, kind in pairs if kind == "trap"}
    print(f"other answers to the same prompt that go: {len(traps - kept):,} of {len(traps):,}")
    others = set(range(number)) - copies - traps
    print(f"other rows that go: {len(others - kept):,} of {len(others):,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", help="a Python that has text-dedup")
    args = parser.parse_args()
    folder = args.folder.absolute()
    path = folder / "rows.jsonl"
    folder.mkdir(parents=True)
    write(args.rows, path)
    if not args.peer:
        pid = os.fork()  # so that memory and time are the mix's alone
        if not pid:
            source(path, folder)
            os._exit(0)
        os.waitpid(pid, 0)
    who = resource.RUSAGE_CHILDREN if args.peer else resource.RUSAGE_SELF
    before, start = resource.getrusage(who), time.perf_counter()
    kept = peers(args.peer, path, folder) if args.peer else ours(path, folder)
    after = resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{args.rows:,} rows: {cpu:.1f} CPU s, {time.perf_counter() - start:.1f} s, {after.ru_maxrss >> 10:,} MB")
    report(set(kept), path.with_suffix(".truth"), args.rows)


if __name__ == "__main__":
    main()
