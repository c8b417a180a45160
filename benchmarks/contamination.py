"""The certificate of a mix, measured: leaks found by kind, false alarms, and its cost at a million rows.

    OMP_NUM_THREADS=1 python benchmarks/contamination.py recall
    OMP_NUM_THREADS=1 python benchmarks/contamination.py scale --rows 1000000
    python benchmarks/contamination.py scale --rows 1000000 --datatrove ENVIRONMENT/bin/python

`recall` plants each kind of leak in 40,000 rows that have none. Its items are real ones where the samples are there
(MT-Bench, Self-Instruct's seed tasks, FLAN's reasoning) and made-up ones. `scale` writes rows with a planted leak in
each thousand, and compares them in a process of its own; datatrove does the same with its n-gram filter, in an
environment of its own.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "src")]

import leaks  # noqa: E402
from timing import table  # noqa: E402

from bezoar.steps.data.contamination import certificate as rule  # noqa: E402
from bezoar.steps.data.contamination import certified  # noqa: E402
from bezoar.steps.data.contamination.block import Contamination  # noqa: E402
from bezoar.steps.data.contamination.items import LONG, Item, Items  # noqa: E402
from bezoar.steps.data.contamination.words import plain, words  # noqa: E402
from bezoar.steps.data.rows import write_rows  # noqa: E402

REAL = ROOT.parent / "shared" / "data" / "real"
DISJOINT = 40_000
HAN = [chr(point) for point in range(0x4E00, 0x4E00 + 1500)]
KANA = [chr(point) for point in range(0x3042, 0x3094)]
OPERATORS = ("+", "-", "*", "//", "%")

Row = dict[str, Any]


def lines(name: str) -> list[Any]:
    """The rows of a real sample; none if it isn't there."""
    path = REAL / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def spaced(generator: random.Random, letters: list[str], mark: str) -> str:
    """A text without spaces: two to four clauses."""
    clauses = ("".join(generator.choices(letters, k=generator.randint(8, 20))) for _ in range(generator.randint(2, 4)))
    return mark.join(clauses) + mark


def code(generator: random.Random, names: list[str]) -> str:
    """A Python function."""
    first, second, third = generator.sample(names, 3)
    body = [
        f"    {generator.choice(names)} = {generator.choice(names)}[{generator.randint(0, 99)}] "
        f"{generator.choice(OPERATORS)} {generator.choice(names)}"
        for _ in range(generator.randint(2, 5))
    ]
    return "\n".join([f"def {first}({second}, {third}={generator.randint(0, 99)}):", *body, f"    return {first}"])


def groups(generator: random.Random, made_up: list[str]) -> dict[str, list[str]]:
    """Texts of items of 13 words or more, by what they are."""
    turns = [turn for question in lines("mt_bench/question.jsonl") for turn in question["turns"]]
    tasks = [task["instruction"] for task in lines("seed_tasks.jsonl")]
    reasoning = [row["inputs"] for row in lines("flan_cot_sample.jsonl")]
    found = {
        "English questions and instructions": [*turns, *tasks],
        "reasoning and math": reasoning,
        "made-up words": leaks.items(generator, made_up, 300),
        "code": [code(generator, made_up) for _ in range(200)],
        "Chinese": [spaced(generator, HAN, "\uff0c") for _ in range(200)],
        "Japanese": [spaced(generator, KANA + HAN[:300], "、") for _ in range(200)],
    }
    return {name: [one for one in dict.fromkeys(texts) if _long(one)] for name, texts in found.items()}


def _long(text: str) -> bool:
    return len(words(plain(text))) >= LONG


def items(texts: list[str]) -> list[Item]:
    """A text as an item each."""
    return [Item(eval="bench", task="all", id=str(number), texts={"text": [text]}) for number, text in enumerate(texts)]


def matched(folder: Path, rows: Iterator[Row], index: Items) -> set[str]:
    """The ids of rows with a match."""
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "eval.jsonl", [])
    found = rule.find(folder, index, Contamination().overlap)
    return {found.places[row].id for row in found.matches}


def share(hits: int, trials: int) -> str:
    """A share with its 95 % interval."""
    low, high = rule.interval(hits, trials)
    return f"{hits / trials:.1%} ({low:.1%} to {high:.1%})"


def real_rows() -> list[Row]:
    """The real samples as rows of a mix."""
    dolly = [
        (one["instruction"] + "\n" + (one["context"] or ""), one["response"]) for one in lines("dolly_sample.jsonl")
    ]
    flan = [(one["inputs"], one["targets"]) for one in lines("flan_cot_sample.jsonl")]
    seeds = [(one["instruction"], one["instances"][0]["output"]) for one in lines("seed_tasks.jsonl")]
    talk = [("Go on.", one["chosen"]) for one in lines("hh_rlhf_harmless_sample.jsonl")]
    pairs = enumerate([*dolly, *flan, *seeds, *talk])
    return [leaks.row(f"real{place}", question, answer) for place, (question, answer) in pairs]


def recall(folder: Path) -> None:
    """Print the two tables of docs/appendix/contamination.md."""
    generator = random.Random(0)
    made_up = leaks.vocabulary(generator)
    by_group = groups(generator, made_up)
    everything = [text for texts in by_group.values() for text in texts]
    index = Items(items(everything))
    free = list(leaks.disjoint(random.Random(1), made_up, DISJOINT))
    kinds, by_kind = [], {}
    for kind in leaks.PLANTS:
        found = matched(folder, chain(leaks.planted(kind, everything), free), index)
        by_kind[kind] = [f"{kind} {number}" in found for number in range(len(everything))]
        kinds.append([kind, f"{sum(by_kind[kind])} of {len(everything)}", share(sum(by_kind[kind]), len(everything))])
        print(kinds[-1], len([one for one in found if one.startswith("row")]), "other rows", file=sys.stderr)
    print(table(["leak", "found", "share (95 % interval)"], kinds))
    shown = ("verbatim", "zero-width", "framed", "one word edited", "three words edited", "halves in two turns")
    places, start = {}, 0
    for name, texts in by_group.items():
        places[name] = range(start, start := start + len(texts))
    rows = [
        [name, str(len(at)), *(f"{sum(by_kind[kind][place] for place in at) / len(at):.1%}" for kind in shown)]
        for name, at in places.items()
        if at
    ]
    print("\n" + table(["items", "number", *shown], rows))
    false_alarms(folder, by_group, free)


def false_alarms(folder: Path, by_group: dict[str, list[str]], free: list[Row]) -> None:
    """Rows that repeat no item: the generated ones, and the real ones beside MT-Bench and what is made up."""
    turns = [turn for question in lines("mt_bench/question.jsonl") for turn in question["turns"]]
    generated = [text for name in ("made-up words", "code", "Chinese", "Japanese") for text in by_group[name]]
    rows = [*free, *real_rows()]
    found = matched(folder, iter(rows), Items(items([*turns, *generated])))
    bound = 1 - 0.05 ** (1 / len(rows)) if not found else rule.interval(len(found), len(rows))[1]
    print(f"\nfalse alarms: {len(found)} of {len(rows):,} rows; at most {bound:.6f} at 95 %; {sorted(found)[:5]}")


def big(folder: Path, number: int) -> None:
    """Rows with a planted leak in each thousand, and 20,000 items."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    made_up = leaks.vocabulary(generator, 20_000)
    texts = leaks.items(generator, made_up, 20_000)
    planted = leaks.planted("framed", texts[: number // 1000])
    rows = leaks.disjoint(generator, made_up, number)
    write_rows(folder / "train.jsonl", (next(planted) if place % 1000 == 7 else row for place, row in enumerate(rows)))
    write_rows(folder / "eval.jsonl", [leaks.row("free", "Nothing of it is here.", "No.")])
    write_rows(folder / "items.jsonl", items(texts))


def scale(folder: Path, number: int, datatrove: str | None) -> None:
    """Print time and memory of the certificate, or of datatrove's filter."""
    if not (folder / "items.jsonl").exists():
        big(folder, number)
    script = str(ROOT / "benchmarks/peers/datatrove_rows.py")
    command = [datatrove, script] if datatrove else [sys.executable, __file__, "certificate"]
    start, before = time.perf_counter(), _cpu()
    said = subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True).stdout
    cells = [f"{time.perf_counter() - start:.0f}", f"{_cpu() - before:.0f}", *said.split()[-3:]]
    print(table(["seconds", "CPU seconds", "peak in MB", "planted rows that went", "other rows"], [cells]))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def certify(folder: Path) -> None:
    """Write the certificate of the rows in a folder; print the peak of memory and the rows that went."""
    with tempfile.TemporaryDirectory() as out:
        certificate = Path(out, "m.json")
        rule.write_certificate(folder, [folder / "items.jsonl"], Contamination(), certificate)
        certified.write_certified(folder, certificate, Path(out, "rows"))
        dropped = Path(out, "rows", "dropped.jsonl").read_text().splitlines()
    planted = sum(json.loads(line)["row"]["id"].startswith("framed") for line in dropped)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, planted, len(dropped) - planted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["recall", "scale", "certificate"])
    parser.add_argument("folder", nargs="?", type=Path, help="for rows of `scale`, to use them again")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--datatrove", help="Python of an environment with datatrove")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        if args.action == "recall":
            recall(folder)
        elif args.action == "scale":
            scale(folder, args.rows, args.datatrove)
        else:
            certify(folder)


if __name__ == "__main__":
    main()
