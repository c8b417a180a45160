"""Local batched generation against transformers one by one, `transformers serve`, and llama.cpp's server.

$ python benchmarks/generate.py data/base/smollm2 --gguf MODEL.gguf --llama /path/to/venv/bin/python

Each way answers the same requests, greedily and with one thread, on a model that is loaded already. A table shows
written tokens per CPU second, of the server's process where there is one, and seconds by the clock. llama.cpp computes
with the GGUF's quantised weights, the others in float32. Its server is in the wheel `xllamacpp`, in an environment of
its own; without --llama it is left out.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from timing import table

TOPICS = Path(__file__).parents[1] / "recipes/prompts/openbezoar-3b/topics.txt"
IN_FLIGHT = 8
LLAMA = """
import sys, time
import xllamacpp
model, port, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path = model
params.hostnames = ["127.0.0.1"]
params.port = port
params.n_ctx, params.n_parallel, params.cont_batching = 1024 * slots, slots, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.use_jinja, params.n_gpu_layers = True, 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
while True:
    time.sleep(1)
"""


class Result(NamedTuple):
    """Written tokens, and seconds of CPU and by the clock."""

    tokens: int
    cpu: float
    wall: float


def timed(work: Callable[[], int], cpu: Callable[[], float]) -> Result:
    """The cost of what returns its number of tokens."""
    wall, used = time.perf_counter(), cpu()
    tokens = work()
    return Result(tokens, cpu() - used, time.perf_counter() - wall)


def prompts_of(count: int) -> list[str]:
    """Requests about as many topics."""
    topics = TOPICS.read_text(encoding="utf-8").splitlines()[:count]
    return [f"Tell me in a few sentences what one should know about {topic}." for topic in topics]


def batched(model: Path, prompts: list[str], limit: int, size: int) -> Result:
    """Our local backend."""
    from bezoar.blocks import Sampling
    from bezoar.requests.base import ask
    from bezoar.steps.backends.local import LocalBackend

    block = LocalBackend(kind="local", checkpoint="model", batch_size=size, dtype="float32")
    backend = block.open(checkpoint=model, system=None, seed=0)
    requests = [ask(str(number), text, Sampling(max_new_tokens=limit)) for number, text in enumerate(prompts)]

    def work() -> int:
        answers = backend.complete(requests, "batched")
        return sum(len(backend.tokenizer(one.text, add_special_tokens=False).input_ids) for one in answers)

    return timed(work, time.process_time)


def one_by_one(model: Path, prompts: list[str], limit: int) -> Result:
    """A plain loop around `generate`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)

    def work() -> int:
        written = 0
        for text in prompts:
            messages = [{"role": "user", "content": text}]
            ids = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            answer = network.generate(**ids, max_new_tokens=limit, do_sample=False)[0, ids["input_ids"].shape[1] :]
            said = tokenizer.decode(answer, skip_special_tokens=True)
            written += len(tokenizer(said, add_special_tokens=False).input_ids)
        return written

    return timed(work, time.process_time)


def served(address: str, process: int, name: str, prompts: list[str], limit: int, model: Path) -> Result:
    """A server's answers to requests in flight together; its own CPU time counts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)

    def ask(text: str) -> str:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": limit,
            "temperature": 0.0,
            "stream": False,
        }
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=1800) as response:
            return str(json.load(response)["choices"][0]["message"]["content"])

    def work() -> int:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            answers = list(pool.map(ask, prompts))
        return sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in answers)

    ask(prompts[0])  # it may load its model only now
    return timed(work, lambda: _cpu_of(process))


def _cpu_of(process: int) -> float:
    """CPU seconds of a process so far, with its threads and ended children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(command: list[str], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running server."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            _wait_for(process, port, log)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Any) -> None:
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    log.seek(0)
    sys.exit(f"the server doesn't listen: {log.read().decode(errors='replace')[-2000:]}")


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def results(args: argparse.Namespace) -> Iterator[tuple[str, Result]]:
    """The cost of each way."""
    prompts = prompts_of(args.requests)
    for size in args.batch_sizes:
        yield f"local backend, batches of {size}", batched(args.model, prompts, args.max_new_tokens, size)
    yield "transformers, one by one", one_by_one(args.model, prompts, args.max_new_tokens)
    rest = (prompts, args.max_new_tokens, args.model)
    for label, more in (("transformers serve", []), ("transformers serve, continuous", ["--continuous-batching"])):
        port = free_port()
        with tempfile.TemporaryDirectory() as home:
            Path(home, "hub").mkdir()  # its list of models needs one
            words = [
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--device",
                "cpu",
                "--dtype",
                "float32",
                *more,
            ]
            command = [str(Path(sys.executable).with_name("transformers")), *words, str(args.model)]
            with server(command, port, HF_HOME=home, HF_HUB_OFFLINE="1") as process:
                yield label, served(f"http://127.0.0.1:{port}", process.pid, str(args.model), *rest)
    if args.llama and args.gguf:
        port = free_port()
        command = [args.llama, "-c", LLAMA, str(args.gguf), str(port), str(IN_FLIGHT)]
        with server(command, port) as process:
            yield "llama.cpp's server, Q4_1", served(f"http://127.0.0.1:{port}", process.pid, "model", *rest)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path, help="model directory")
    parser.add_argument("--gguf", type=Path, help="the same model as a GGUF file")
    parser.add_argument("--llama", help="Python of an environment with xllamacpp")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32])
    args = parser.parse_args()
    args.model = args.model.resolve()
    import torch

    torch.set_num_threads(1)
    rows = []
    for label, one in results(args):
        rows.append([label, str(one.tokens), f"{one.tokens / one.cpu:.1f}", f"{one.cpu:.0f}", f"{one.wall:.0f}"])
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    print(table(["way", "tokens", "tokens per CPU s", "CPU s", "wall s"], rows))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
