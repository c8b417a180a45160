"""The whole page at scale: seconds, memory and bytes for a scheme's rows and for long answers of three checkpoints.

    python benchmarks/page.py FOLDER 1000 10000 100000

FOLDER is empty; each size gets a folder in it, and a process of its own. The artifacts are made up: two stages, scores
by each method of evaluation, a scheme with so many candidates, and a mix of the rows that are kept.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # a built project with every section of the page
import paged
from scored import CHECKPOINTS

from bezoar.page.block import Page, PageEval
from bezoar.page.page import write_page

QUESTIONS = 80
REASONS = ("duplicate", "judge: wrong_answer", "judge: unhelpful", "repetition")
SHARDS = ("0000", "0001")
WORDS = "river stone lamp garden paper cloud winter copper music bridge forest silver market harbour candle".split()


def page() -> Page:
    """A scheme and a source in a mix, two stages, and an evaluation of each method, one with answers to show."""
    shown = PageEval(
        method="mtbench", checkpoints=CHECKPOINTS, models=CHECKPOINTS, answers="asked", questions="questions"
    )
    known = paged.page()
    return known.model_copy(update={"recipe": "many", "evals": {**known.evals, "judged": shown}})


def write(root: Path, number: int) -> None:
    """Write the artifacts, with so many candidates of the scheme, of which seven in ten are kept."""
    paged.write_project(root)
    chance = random.Random(0)
    kept_rows = []
    for place, shard in enumerate(SHARDS):
        made = [_row(chance, row) for row in range(place, number, len(SHARDS))]
        kept = [row for place, row in enumerate(made) if place % 10 < 7]
        lost = [row for place, row in enumerate(made) if place % 10 >= 7]
        rejected = [{"reason": REASONS[place % 4], "detail": "", "row": row} for place, row in enumerate(lost)]
        candidates = len(made) + len(rejected) // 3
        _lines(root / f"data/generated/evol/{shard}/dropped.jsonl", rejected[: len(rejected) // 3])
        _report(
            root,
            f"generated/evol/{shard}",
            candidates=candidates,
            rows=len(made),
            dropped=rejected[: len(rejected) // 3],
        )
        _lines(root / f"data/filtered/evol/{shard}/kept.jsonl", kept)
        _lines(root / f"data/filtered/evol/{shard}/rejected.jsonl", rejected)
        _report(root, f"filtered/evol/{shard}", rows=len(made), kept=len(kept), rejected=rejected)
        kept_rows += kept
    _mix(root, kept_rows)
    _answers(root, chance)


def _report(root: Path, folder: str, **counts: Any) -> None:
    """A step's report; lists of rows that were left out are counted by reason."""
    said = {
        name: Counter(row["reason"] for row in one) if isinstance(one, list) else one for name, one in counts.items()
    }
    paged.put(root, f"data/{folder}/report.json", said | {"failed": {}})


def _mix(root: Path, rows: list[dict[str, Any]]) -> None:
    """A mix of the kept rows, of which it drops one in twenty as a duplicate."""
    duplicates = [{"reason": "duplicate", "detail": "", "row": {"id": row["id"]}} for row in rows[::20]]
    taken = [row for place, row in enumerate(rows) if place % 20]
    train, held = taken[50:], taken[:50]
    for name, found in {
        "mixes/all/dropped": duplicates,
        "mixes/all/train": train,
        "mixes/all/eval": held,
        "certified/all/train": train,
        "certified/all/eval": held,
        "certified/all/dropped": [],
    }.items():
        _lines(root / f"data/{name}.jsonl", found)
    counts = {"found": len(rows), "taken": len(taken), "dropped": {"duplicate": len(duplicates)}, "not_drawn": 0}
    parts = [{"kind": "scheme", "name": "evol", **counts}]
    sizes = {"train": len(train), "eval": len(held)}
    paged.put(root, "data/mixes/all/report.json", sizes | {"parts": parts})
    none = {"train": 0, "eval": 0}
    paged.put(root, "data/certificates/all.json", paged.certificate(rows=sizes, matching_rows=none))


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
    """Seconds of CPU time and of the clock, MB of memory, and MB of the page."""
    os.chdir(root)
    clock, start = time.monotonic(), time.process_time()
    write_page(page(), Path("report.html"))
    seconds, wall = time.process_time() - start, time.monotonic() - clock
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = int(status["VmHWM"].split()[0]) / 1e3  # getrusage's is the parent's, too
    size = Path("report.html").stat().st_size
    found = {"cpu_seconds": round(seconds, 2), "seconds": round(wall, 2)}
    return found | {"memory_mb": round(memory), "page_mb": round(size / 1e6, 2)}


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
