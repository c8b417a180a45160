"""Harness tasks through us against lm-evaluation-harness's own command line: one checkpoint, the same scores.

    OMP_NUM_THREADS=1 python benchmarks/harness.py --rounds 3

For one task and for ten: the jobs' own processes (settings of the tasks, then all tasks with one loaded model), the
command line with all tasks in one call, and with a call for each task. Prints wall time and CPU time, and ratios within
a round; every other round has the reverse order. The load of the machine is printed, too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

ROWS, WORDS = 40, "a boat can drift east for good if no one likes its old rope and sail".split()
KINDS = (
    "output_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: [' rope', ' sail']\ndoc_to_target: 0\n"
    "metric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: rope\n"
    "generation_kwargs: {until: ['.'], do_sample: false, max_gen_toks: 16}\nmetric_list: [{metric: exact_match}]\n",
    "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{question}}'\n"
    "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n",
)
BLOCK = {"task_folder": "tasks", "max_length": 512, "batch_size": 8, "dtype": "float32"}
WAYS = ("ours", "one call", "a call each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", type=int, default=[1, 10])
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, max(args.tasks))
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {args.rounds} rounds")
        heads = [
            "tasks",
            "ours/one call, wall",
            "ours/a call each, wall",
            *(f"s: {way}" for way in WAYS),
            "CPU s of these",
        ]
        print(f"| {' | '.join(heads)} |")
        print("|---" * 7 + "|")
        for count in args.tasks:
            print(row(count, [measured(folder, count, number) for number in range(args.rounds)]), flush=True)
        print(f"load after: {os.getloadavg()[0]:.1f}")


def prepare(folder: Path, count: int) -> None:
    """Write a checkpoint of 12 million weights, and tasks with their rows."""
    import torch
    from sentences import write_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6}
    write_tokenizer(folder / "weights", [" ".join(WORDS)] * 9)
    LlamaForCausalLM(LlamaConfig(vocab_size=2048, **sizes)).save_pretrained(folder / "weights")
    (folder / "tasks").mkdir()
    for number in range(count):
        rows = [{"question": " ".join(WORDS[(at + number) % 9 :])} for at in range(ROWS)]
        path = folder / f"tasks/rows{number}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        data = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {path}}}}}\ntest_split: test\n"
        text = f"task: task{number}\n{data}metadata: {{version: 1.0}}\n{KINDS[number % 3]}"
        (folder / f"tasks/task{number}.yaml").write_text(text)
    settings = {"num_fewshot": 0, "chat_template": False, "system": None, "limit": None}
    evals = {"own": {**BLOCK, "revisions": {}, "tasks": {f"task{number}": settings for number in range(count)}}}
    (folder / "params.yaml").write_text(json.dumps({"seed": 0, "prompt": {"system": None}, "evals": evals}))


def measured(folder: Path, count: int, number: int) -> dict[str, dict[str, Any]]:
    """Seconds, CPU seconds and results of each way; the results have to be equal."""
    tasks, found = [f"task{one}" for one in range(count)], {}
    for way in WAYS if number % 2 else reversed(WAYS):
        out = Path(tempfile.mkdtemp(dir=folder))
        start, cpu = time.monotonic(), cpu_seconds()
        if way == "ours":
            ours(folder, out, tasks)
        for group in {"ours": [], "one call": [tasks], "a call each": [[one] for one in tasks]}[way]:
            theirs(folder, out, group)
        seconds = {"wall": time.monotonic() - start, "cpu": cpu_seconds() - cpu}
        found[way] = {**seconds, "scores": scores(out)}
    first, *others = (one["scores"] for one in found.values())
    if not all(one == first and set(one) == set(tasks) for one in others):
        raise SystemExit(f"the scores differ: {found}")
    return found


def ours(folder: Path, out: Path, tasks: list[str]) -> None:
    """The processes of our jobs: one for the settings of all tasks, one for all scores."""
    names = [[f"evals.own.tasks.{task}", "evals.own.task_folder"] for task in tasks]
    settings = [["--params", *own, "--out", f"{out}/tasks/{task}"] for task, own in zip(tasks, names, strict=True)]
    together(folder, out, "harness_tasks", settings)
    names = [f"evals.own.{key}" for key in BLOCK]
    flags = ["--params", *names, "seed", "--checkpoint", "weights"]
    scored = [[*flags, "--task", f"{out}/tasks/{task}", "--out", f"{out}/scores/{task}"] for task in tasks]
    together(folder, out, "harness", scored)


def together(folder: Path, out: Path, script: str, jobs: list[list[str]]) -> None:
    """Run a script for several jobs in one process, as `bezoar exec` does."""
    todo = out / f"{script}.jsonl"
    lines = [{"name": str(number), "argv": job, "costs": f"{out}/costs"} for number, job in enumerate(jobs)]
    todo.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(folder, [str(ROOT / f"scripts/evaluate/{script}.py"), *jobs[0]], BEZOAR_TOGETHER=str(todo))


def theirs(folder: Path, out: Path, tasks: list[str]) -> None:
    """The harness's own command line."""
    model = "pretrained=weights,dtype=float32,max_length=512"
    flags = {"model": "hf", "model_args": model, "tasks": ",".join(tasks), "include_path": "tasks", "batch_size": "8"}
    flags |= {"device": "cpu", "seed": "0", "num_fewshot": "0", "output_path": str(out)}
    run(folder, ["-m", "lm_eval", *(word for name, value in flags.items() for word in (f"--{name}", value))])


def run(folder: Path, words: list[str], **variables: str) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])


def scores(out: Path) -> dict[str, Any]:
    """By task, its scores with seven digits, as our results have them."""
    found: dict[str, Any] = {}
    for path in [*out.rglob("result.json"), *out.rglob("results_*.json")]:
        for task, values in json.loads(path.read_text())["results"].items():
            found[task] = {name: f"{one:.7g}" for name, one in values.items() if isinstance(one, float)}
    return found


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(count: int, rounds: list[dict[str, dict[str, Any]]]) -> str:
    """A line of the table: medians, and ratios of each round with their range."""
    texts = []
    for other in WAYS[1:]:
        ratios = sorted(one["ours"]["wall"] / one[other]["wall"] for one in rounds)
        texts.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    texts += [f"{median(one[way]['wall'] for one in rounds):.1f}" for way in WAYS]
    cpu = [f"{median(one[way]['cpu'] for one in rounds):.1f}" for way in WAYS]
    return f"| {count} | {' | '.join(texts)} | {', '.join(cpu)} |"


if __name__ == "__main__":
    main()
