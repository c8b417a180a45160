"""Programs that benchmarks/llm.py starts as processes: requests by our layer, and opening a store.

Each command prints one line of JSON.
"""

import argparse
import hashlib
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.requests.calls import Call

LOOKUPS = 1000
OURS = "our session"
CARRIERS = {"SDK and aiohttp": "DefaultAioHttpClient", "SDK and httpx2": "DefaultAsyncHttpxClient"}  # of openai
PRICE: dict[str, Any] = {"model": "bench", "since": "2026-01-01", "source": "none", "long_prompts": None}
PRICE |= {"input": 1.0, "cached": 0.1, "written": 1.25, "written_1h": 2.0, "output": 5.0, "batch": 0.5}
CONNECTION: dict[str, Any] = {"base_url_env": "BENCH_URL", "api_key_env": "BENCH_KEY", "requests_per_minute": None}
CONNECTION |= {"tokens_per_minute": None, "timeout": 60.0, "deadline": 600.0, "batch": False, "server": None}


def prompts(rows: int, edit: int, template: int = 0) -> list[str]:
    """The peers' prompts; the middle one can differ, and so can the template."""
    lead = f"[{template}] " if template else ""
    texts = [f"{lead}Write one sentence about number {number} for a reader in a hurry." for number in range(rows)]
    if edit:
        texts[rows // 2] += " Be brief."
    return texts


def work(args: argparse.Namespace) -> dict[str, Any]:
    """Request rows in this process and folder, and print the time."""
    import openai  # noqa: F401  else the first call imports it, and `complete` is what is measured
    import yaml

    from bezoar.blocks import Sampling
    from bezoar.requests.base import ask
    from bezoar.requests.blocks import Budget, Ceiling
    from bezoar.requests.openai import OpenAiBackend

    if args.carrier != OURS:
        _carried_by(args.carrier)
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE]}))
    budget = Budget(prices="prices.yaml", run=Ceiling(dollars=1e6, tokens=None), stages={}, approve_above=None)
    options = {"kind": "openai", "model": "bench", "token_limit_field": "max_tokens", "sends_sampling": True}
    options |= {"json_schema": False, "max_attempts": 3, "max_output_tokens": None}
    block = OpenAiBackend.model_validate({**options, "connection": CONNECTION | {"concurrency": args.concurrency}})
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=256)
    wanted = prompts(args.rows, args.edit, args.template)
    requests = [ask(str(number), text, sampling) for number, text in enumerate(wanted)]
    backend = block.open(checkpoint=None, system="", seed=0, budget=budget)
    start, cpu = time.perf_counter(), time.process_time()
    found = backend.complete(requests, "rows")
    taken, used = time.perf_counter() - start, time.process_time() - cpu
    now = {" ".join(text.split()[::-1]) for text in wanted}  # the server says a prompt backwards
    line = {"rows": args.rows, "seconds": taken, "cpu_inside": used, "answers": sum(bool(one.text) for one in found)}
    line["current"] = sum(one.text.split(": ", 1)[1] in now for one in found)
    line["digest"] = hashlib.sha256("\n".join(one.text for one in found).encode()).hexdigest()
    return {**line, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _carried_by(carrier: str) -> None:
    """Send calls through the SDK's own client, for comparison."""
    import httpx2
    import openai

    import bezoar.requests.openai as ours

    async def send(self: ours.OpenAi, call: "Call", seconds: float) -> str:
        options: Any = {"headers": {"Content-Type": "application/json"}}
        path = "/chat/completions"
        return (await self.client.post(path, cast_to=httpx2.Response, content=call.data, options=options)).text

    vars(openai)["DefaultAioHttpClient"] = getattr(openai, CARRIERS[carrier])  # which a provider imports when it sends
    type.__setattr__(ours.OpenAi, "send", send)


def fill(folder: Path, sessions: int, answers: int) -> None:
    """A store with a number of answers, in its own format."""
    from bezoar.requests.index import ANSWERS, INDEX, write_index

    message = {"role": "assistant", "content": "An answer of a few words, no more. " * 2}
    usage = {"prompt_tokens": 12, "completion_tokens": 14, "total_tokens": 26}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    response = json.dumps({"id": "0" * 32, "model": "bench", "choices": choices, "usage": usage})
    body = {"max_tokens": 256, "messages": [{"content": prompts(1, 0)[0], "role": "user"}], "model": "bench"}
    rest = json.dumps({"request": body, "response": response}, separators=(",", ":"))[1:]
    for session in range(sessions):
        name = f"generate-{session % 4}/{session}-20260101T000000-{session:08x}"
        path = folder / f"{name}{ANSWERS}"
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = map(_key, range(session, answers, sessions))
        path.write_text("".join(f'{{"key":"{key}",{rest}\n' for key in keys))
        write_index(folder / f"{name}{INDEX}", path)


def _key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def lookups(args: argparse.Namespace) -> dict[str, Any]:
    """Open a store in this process, find answers, and print the time."""
    from bezoar.requests.store import Store

    start = time.perf_counter()
    stored = Store("generate-bench", "0", args.folder)
    opened = time.perf_counter()
    found = sum(stored.find(_key(number)) is not None for number in range(0, args.rows, args.rows // LOOKUPS))
    taken = time.perf_counter() - opened
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"open": opened - start, "lookups": taken, "found": found, "rss": rss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("work", help=work.__doc__)
    asked.set_defaults(work=work)
    asked.add_argument("--concurrency", type=int, required=True)
    asked.add_argument("--carrier", choices=(OURS, *CARRIERS), default=OURS)
    asked.add_argument("--edit", type=int, default=0)
    asked.add_argument("--template", type=int, default=0)
    found = commands.add_parser("lookups", help=lookups.__doc__)
    found.set_defaults(work=lookups)
    found.add_argument("--folder", type=Path, required=True)
    for command in (asked, found):
        command.add_argument("--rows", type=int, required=True)
    args = parser.parse_args()
    print(json.dumps(args.work(args)))


if __name__ == "__main__":
    main()
