"""The page's browsers at scale: seconds, memory and bytes for a scheme's rows and for long answers of six checkpoints.

    python benchmarks/page.py FOLDER 1000 10000 100000

FOLDER is empty; each size gets a folder in it, and a process of its own.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bezoar.page.block import Page, PageEval, PageModel, PagePart, PageScheme
from bezoar.page.inputs import Inputs
from bezoar.page.page import html_of
from bezoar.page.sections import answers, rows

CHECKPOINTS = ["base", "a", "b", "c", "d", "e"]
QUESTIONS = 80
REASONS = ("duplicate", "judge: wrong_answer", "judge: unhelpful", "repetition")
WORDS = "river stone lamp garden paper cloud winter copper music bridge forest silver market harbour candle".split()


def page() -> Page:
    """A scheme that a mix is made of, and MT-Bench of six checkpoints."""
    judged = PageEval(
        method="mtbench", checkpoints=CHECKPOINTS, models=CHECKPOINTS, answers="asked", questions="questions"
    )
    return Page(
        recipe="many",
        shards=1,
        models={name: PageModel(method="hub", sources=[]) for name in CHECKPOINTS},
        schemes={"evol": PageScheme(method="evol", seeds="seeds", weights=None)},
        filters={"evol": "evol"},
        mixes={"all": [PagePart(kind="scheme", name="evol")]},
        stages={},
        evals={"judged": judged},
    )


def write(root: Path, number: int) -> None:
    """Write so many candidates of the scheme, of which seven in ten are kept, and the answers."""
    chance = random.Random(0)
    made = [_row(chance, place) for place in range(number)]
    kept = [row for place, row in enumerate(made) if place % 10 < 7]
    rejected = [
        {"reason": REASONS[place % 4], "detail": "", "row": row} for place, row in enumerate(made) if place % 10 >= 7
    ]
    duplicates = [{"reason": "duplicate", "detail": "", "row": {"id": row["id"]}} for row in kept[::20]]
    for path, found in {
        "source/seeds/dropped": [],
        "generated/evol/0000/dropped": rejected[: number // 10],
        "filtered/evol/0000/kept": kept,
        "filtered/evol/0000/rejected": rejected,
        "mixes/all/dropped": duplicates,
        "mixes/all/train": [],
        "mixes/all/eval": [],
        "certified/all/train": kept,
        "certified/all/eval": [],
        "certified/all/dropped": [],
    }.items():
        _lines(root / f"data/{path}.jsonl", found)
    _answers(root, chance)


def _answers(root: Path, chance: random.Random) -> None:
    """Answers of 300 words, and judgments of 60, to two turns of each question."""
    places = [(number, turn) for number in range(QUESTIONS) for turn in (1, 2)]
    asked = [
        {"question_id": number, "category": WORDS[number % 8], "turns": [_text(chance, 40), _text(chance, 20)]}
        for number in range(QUESTIONS)
    ]
    _lines(root / "data/source/questions/rows.jsonl", asked)
    for name in CHECKPOINTS:
        said = [[_text(chance, 300), _text(chance, 300)] for _ in asked]
        answered = [{"question_id": n, "choices": [{"turns": turns}]} for n, turns in enumerate(said)]
        _lines(root / f"data/answers/asked/{name}/answers.jsonl", answered)
        place = [{"question_id": number, "turn": turn} for number, turn in places]
        ends = [one | {"finish_reason": "stop"} for one in place]
        _lines(root / f"data/answers/asked/{name}/turns.jsonl", ends)
        folder = root / f"data/judgments/judged/{name}"
        _lines(folder / "verdicts.jsonl", [one | {"sample_index": 0, "status": "ok", "score": 7.0} for one in place])
        _lines(folder / "judgments.jsonl", [one | {"judgment": _text(chance, 60)} for one in place])


def _row(chance: random.Random, place: int) -> dict[str, Any]:
    return {"id": f"{place:016x}", "instruction": _text(chance, 60), "response": _text(chance, 120), "rating": 7.0}


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def _lines(path: Path, found: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(one)}\n" for one in found))


def measure(root: Path) -> dict[str, float]:
    """Seconds of CPU time, MB of memory and MB of the page."""
    os.chdir(root)
    inputs = Inputs(page())
    start = time.process_time()
    found = [one for section in (rows.section, answers.section) if (one := section(inputs))]
    text = html_of(page(), found, inputs)
    seconds = time.process_time() - start
    Path("report.html").write_text(text)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = int(status["VmHWM"].split()[0]) / 1e3  # getrusage's is the parent's, too
    return {"seconds": round(seconds, 2), "memory_mb": round(memory), "page_mb": round(len(text.encode()) / 1e6, 2)}


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="*", help="of the scheme; none measures what is in the folder")
    args = parser.parse_args()
    if not args.rows:
        print(json.dumps(measure(args.folder)))
    for number in args.rows:
        root = args.folder / str(number)
        write(root, number)
        done = subprocess.run([sys.executable, __file__, str(root)], check=True, capture_output=True, text=True)
        print(number, done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
