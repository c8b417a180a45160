"""160 judgments through our job and through FastChat's loop, at one local model server that answers after 200 ms.

$ python benchmarks/evaluate.py

FastChat's loop (gen_judgment.py of lm-sys/FastChat at 0e6d3e4b) judges one answer after the other, or in threads; each
judgment is a call of the provider's package and a line at the end of a file. It was written for openai below 1; here it
has the package that we use. Our side is scripts/evaluate/judgments.py as its rule runs it, with its checks, its budget
and its store. Each run is a process of its own in an empty folder; *inside* is without the start of Python and imports.
"""

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from llm import LATENCY, Found, Server, measured, server
from llm_work import CONNECTION, PRICE
from timing import seconds, table

HERE = Path(__file__).resolve()
QUESTIONS = 80
TURNS = 2
JUDGMENTS = QUESTIONS * TURNS
COLUMNS = dict.fromkeys(("type", "description", "category", "output_format"), "")
RATING = "[[5]] "  # the server says a prompt backwards, so its judgments end with a rating
TEMPLATES = {
    "single-v1": "{question}\n{answer}",
    "single-math-v1": "{question}\n{ref_answer_1}\n{answer}",
    "single-v1-multi-turn": "{question_1}\n{answer_1}\n{question_2}\n{answer_2}",
    "single-math-v1-multi-turn": "{question_1}\n{answer_1}\n{question_2}\n{answer_2}",
}


def rows() -> dict[str, list[dict[str, Any]]]:
    """Questions, answers and judge prompts."""
    turns = ["Why is the sky blue over the sea?", "Say it in one line."]
    said = ["Light is scattered by the air. " * 12, "It scatters blue light most."]
    questions = [{"question_id": 81 + n, "category": str(n // 10), "turns": turns} for n in range(QUESTIONS)]
    answers = [
        {
            "question_id": one["question_id"],
            "answer_id": str(one["question_id"]),
            "model_id": "model",
            "choices": [{"index": 0, "turns": [f"{one['question_id']}: {text}" for text in said]}],
            "tstamp": 0.0,
        }
        for one in questions
    ]
    prompts = [
        {"name": name, "system_prompt": f"{RATING}Rate the answer.", "prompt_template": text, **COLUMNS}
        for name, text in TEMPLATES.items()
    ]
    return {"questions": questions, "answers": answers, "prompts": prompts, "references": []}


def prepare(workers: int) -> None:
    """Write what our job reads into this folder."""
    for name, found in rows().items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    evaluation = {
        "judge_sampling": {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 2048},
        "max_attempts": 2,
        "repeats": 1,
        "reference_categories": [],
        "max_failed_share": 0.0,
        "protocol": "mtbench-single-v1",
    }
    judge = {"kind": "openai", "model": "bench", "token_limit_field": "max_tokens"}
    params = {
        "evals": {"mtbench": evaluation},
        "answers": {"asked": {"single_turn": False}},
        "backends": {"judge": judge | {"connection": CONNECTION | {"concurrency": workers}}},
        "prompt": {"system": None},
        "seed": 0,
        "budget": {"prices": "prices.yaml", "run": {"dollars": 1e6}, "approve_above": None},
    }
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE]}))
    Path("params.yaml").write_text(yaml.safe_dump(params))


def our_script() -> Any:
    """Our script as a module, which is imported once."""
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    from mains import script

    return script("evaluate/judgments")


def ours(workers: int) -> int:
    """Our job; the number of ratings in its verdicts."""
    names = ["answers.asked.single_turn", "backends.judge", "prompt", "seed", "budget"]
    words = [
        "--params",
        *(f"evals.mtbench.{key}" for key in yaml.safe_load(Path("params.yaml").read_text())["evals"]["mtbench"]),
        *names,
    ]
    for flag in ("answers", "questions", "references"):
        words += [f"--{flag}", f"{flag}.jsonl"]
    shutil.rmtree("judged", ignore_errors=True)
    our_script().main([*words, "--judge-prompts", "prompts.jsonl", "--out", "judged/model"])
    lines = Path("judged/model/verdicts.jsonl").read_text().splitlines()
    return sum(json.loads(line)["score"] == 5 for line in lines)


def asked() -> Iterator[tuple[int, int, str, str]]:
    """Question, turn, system text and user text of each judgment, as FastChat makes them."""
    found = rows()
    prompts = {one["name"]: one for one in found["prompts"]}
    for question, answer in zip(found["questions"], found["answers"], strict=True):
        turns, said = question["turns"], answer["choices"][0]["turns"]
        first, second = prompts["single-v1"], prompts["single-v1-multi-turn"]
        user = first["prompt_template"].format(question=turns[0], answer=said[0])
        yield question["question_id"], 1, first["system_prompt"], user
        slots = {"question_1": turns[0], "question_2": turns[1], "answer_1": said[0], "answer_2": said[1]}
        yield question["question_id"], 2, second["system_prompt"], second["prompt_template"].format(**slots)


def loop(workers: int) -> int:
    """FastChat's loop; the number of ratings in its file."""
    from openai import OpenAI

    from bezoar.steps.evaluate import fastchat

    client = OpenAI(api_key=os.environ["BENCH_KEY"], base_url=os.environ["BENCH_URL"])
    guard, out = threading.Lock(), Path("judgment.jsonl")
    out.unlink(missing_ok=True)

    def judge(one: tuple[int, int, str, str]) -> None:
        number, turn, system, user = one
        messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        answer = client.chat.completions.create(model="bench", messages=messages, n=1, temperature=0, max_tokens=2048)
        text = answer.choices[0].message.content or ""
        row = {"question_id": number, "turn": turn, "user_prompt": user, "judgment": text}
        with guard, out.open("a") as file:  # FastChat has no lock; it costs nothing
            file.write(json.dumps(row | {"score": fastchat.rating(text)}) + "\n")

    if workers == 1:
        for one in asked():
            judge(one)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(judge, asked()))
    return sum(json.loads(line)["score"] == 5 for line in out.read_text().splitlines())


SIDES = {"bezoar": ours, "loop": loop}


def work(side: str, workers: int) -> None:
    """One run of a side in this process and folder; prints its time as JSON."""
    import openai  # noqa: F401  else the first call imports it

    from bezoar.steps.evaluate import fastchat  # noqa: F401

    if side == "bezoar":
        prepare(workers)
        our_script()
    start = time.perf_counter()
    rated = SIDES[side](workers)
    print(json.dumps({"seconds": time.perf_counter() - start, "rated": rated}))


def run(at: Server, folder: Path, side: str, workers: int) -> Found:
    """One run of a side in a process of its own."""
    environment = {"BENCH_URL": f"{at.address}/v1", "BENCH_KEY": "dummy", "BEZOAR_JOB": "judgments-bench/0"}
    command = [sys.executable, str(HERE), "--side", side, "--workers", str(workers)]
    return measured(at, folder, command, **environment)


def line(name: str, workers: int, found: list[Found]) -> list[str]:
    """A row of the table: medians, and the range of the rates."""
    inside = sorted(one["seconds"] for one in found)
    rates = [f"{JUDGMENTS / one:,.0f}" for one in (median(inside), inside[-1], inside[0])]
    calls, rated = found[0]["server"]["calls"], found[0]["rated"]
    rate = f"{rates[0]} ({rates[1]} to {rates[2]})" if calls else ""
    times = [seconds(median(one[key] for one in found)) for key in ("seconds", "wall", "cpu")]
    return [name, str(workers), f"{workers / LATENCY:,.0f}" if calls else "", rate, *times, f"{calls:,}", f"{rated:,}"]


def compared(at: Server, folder: Path, rounds: int) -> str:
    """Both sides, in turn."""
    sides = [("loop", 1), ("bezoar", 1), ("loop", 50), ("bezoar", 50)]
    found: dict[Any, list[Found]] = {}
    for number in range(rounds):
        for side, workers in sides[:: -1 if number % 2 else 1]:
            place = folder / f"{side}-{workers}-{number}"
            found.setdefault((side, workers), []).append(run(at, place, side, workers))
            if side == "bezoar" and workers == 50:
                found.setdefault(("again", workers), []).append(run(at, place, side, workers))
    names = {"loop": "FastChat's loop", "bezoar": "bezoar", "again": "bezoar, again"}
    head = ["", "workers", "ideal, answers/s", "answers/s", "inside, s", "process, s", "CPU s", "calls", "ratings"]
    order = [*sides, ("again", 50)]
    return table(head, [line(names[side], workers, found[side, workers]) for side, workers in order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("scratch/evaluate"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side; default: %(default)s")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        work(args.side, args.workers)
        return
    folder = args.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    before = os.getloadavg()[0]
    with server() as at:
        found = compared(at, folder, args.rounds)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Load average {before:.1f} before and {os.getloadavg()[0]:.1f} after:\n\n{found}")


if __name__ == "__main__":
    main()
