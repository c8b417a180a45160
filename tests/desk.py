"""What tests of the request layer share: a desk, at which jobs ask a server that fails on demand, and jobs apart."""

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import guard.sitecustomize  # noqa: F401  processes apart import this module, and so stay on this machine
import pytest
import yaml
from faults import Faults

from bezoar.blocks import Sampling
from bezoar.errors import Stopped
from bezoar.requests import persistence
from bezoar.requests.anthropic import AnthropicBackend
from bezoar.requests.base import Backend, Completion, ask
from bezoar.requests.blocks import Budget
from bezoar.requests.index import ANSWERS, LEDGER
from bezoar.requests.openai import OpenAiBackend
from bezoar.requests.prices import Price
from bezoar.requests.rate_limit import ConcurrencyLimiter
from bezoar.requests.store import FOLDER, lines_of

apart = multiprocessing.get_context("forkserver")  # processes that have the imports, but no threads and no sockets
apart.set_forkserver_preload(
    ["bezoar.requests.anthropic", "bezoar.requests.client", "bezoar.requests.openai", "pytest", "yaml"]
)
MILLION = 1_000_000
KEY = "sk-dummy-0123456789abcdef"
RUN = "a-run"
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=16)
PRICE: dict[str, Any] = {  # dollars for a million tokens, so millionths of a dollar for one
    "model": "rules",
    "since": "2026-01-01",
    "source": "a test",
    "input": 1.0,
    "cached": 0.1,
    "written": 1.25,
    "written_1h": 2.0,
    "output": 5.0,
    "batch": 0.5,
    "long_prompts": None,
}
CONNECTION: dict[str, Any] = {
    "server": None,
    "api_key_env": "FAULTS_API_KEY",
    "concurrency": 8,
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "timeout": 5.0,
    "deadline": 20.0,
    "batch": False,
}
OWN: dict[str, dict[str, Any]] = {
    "openai": {"token_limit_field": "max_tokens", "sends_sampling": True},
    "anthropic": {"effort": None},
}


def price(**changes: Any) -> Price:
    """The price of the only model, with other values."""
    return Price(**PRICE | changes)


def ceilings(
    dollars: float | None = 1.0, tokens: int | None = None, approve_above: float | None = None, **stages: Any
) -> Budget:
    """Ceilings of the run, and of stages by name with _ for -."""
    run = {"dollars": dollars, "tokens": tokens}
    by_name = {name.replace("_", "-"): one for name, one in stages.items()}
    return Budget(prices="prices.yaml", run=run, stages=by_name, approve_above=approve_above)


def block(kind: str, connection: dict[str, Any], **changes: Any) -> OpenAiBackend | AnthropicBackend:
    """A provider's block, which asks twice at most."""
    common = {"kind": kind, "model": "rules", "json_schema": True, "max_attempts": 2, "max_output_tokens": None}
    whole = {**common, **OWN[kind], "connection": {**CONNECTION, "base_url_env": f"{kind.upper()}_URL", **connection}}
    return (OpenAiBackend if kind == "openai" else AnthropicBackend)(**whole | changes)


def addresses(server: str) -> dict[str, str]:
    """The variables with a server's address and with the key."""
    return {"OPENAI_URL": f"{server}/v1", "ANTHROPIC_URL": server, "FAULTS_API_KEY": KEY}


def rows(count: int, first: int = 0) -> list[str]:
    """Texts of which none contains another."""
    return [f"row {number:04}" for number in range(first, first + count)]


@dataclass
class Desk:
    """A folder with a price table, in which jobs ask a server.

    Attributes:
        gates: Those that were opened, for a look at how wide they are.
        waits: Waits that the layer chose itself.
    """

    server: Faults
    kind: str
    folder: Path
    gates: list[ConcurrencyLimiter] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def client(self, budget: Budget | None = None, connection: dict[str, Any] | None = None, **changes: Any) -> Backend:
        """A job's client, new: it knows nothing but what is on the disk."""
        made = block(self.kind, connection or {}, **changes)
        return made.open(checkpoint=None, system="", seed=0, budget=budget or ceilings())

    def ask(self, *texts: str, **settings: Any) -> list[Completion]:
        """What a new client answers."""
        return self.client(**settings).complete([ask(text, text, SAMPLING) for text in texts], "test")

    def stop(self, *texts: str, **settings: Any) -> Stopped:
        """Why a new client stops."""
        with pytest.raises(Stopped) as caught:
            self.ask(*texts, **settings)
        return caught.value

    def ledger(self) -> list[dict[str, Any]]:
        """The lines of all jobs' ledgers."""
        return [line for _, line in lines_of(FOLDER, LEDGER)]

    def outcomes(self) -> Counter[str]:
        """What became of requests."""
        return Counter(line["outcome"] for line in self.ledger() if "outcome" in line)

    def micro(self) -> int:
        """What all answers cost by the ledgers."""
        return sum(line.get("micro", 0) for line in self.ledger())

    def stored(self) -> list[dict[str, Any]]:
        """The records of all jobs."""
        return [line for _, line in lines_of(FOLDER, ANSWERS)]

    def billed(self) -> int:
        """Millionths of a dollar by the server's own count, where it counts no caches."""
        return int(self.server.usage["prompt_tokens"] * 1 + self.server.usage["completion_tokens"] * 5)

    def start(self, count: int, job: str = "try/0", **settings: Any) -> BaseProcess:
        """A job in its own process."""
        return start(self.folder, self.server.address, self.kind, count, job, **settings)


def start(folder: Path, server: str, kind: str, count: int, job: str = "try/0", **settings: Any) -> BaseProcess:
    """A job in a folder and its own process: it requests rows, and writes the completions to `out.jsonl`."""
    process = apart.Process(target=run, args=(folder, server, kind, count, job), kwargs=settings)
    process.start()
    return process


def run(
    folder: Path,
    server: str,
    kind: str,
    count: int,
    job: str,
    first: int = 0,
    dollars: float = 1.0,
    batch: bool = False,
) -> None:
    """That job; it exits as a script does."""
    os.chdir(folder)
    os.environ.update({**addresses(server), "BEZOAR_JOB": job, "BEZOAR_RUN": RUN, "BEZOAR_BATCH_POLL": "0.05"})
    made = block(kind, {"batch": batch})
    backend = made.open(checkpoint=None, system="", seed=0, budget=ceilings(dollars))
    try:
        found = backend.complete([ask(text, text, SAMPLING) for text in rows(count, first)], "test")
    except Stopped as stopped:
        sys.exit(stopped.status)
    Path("out.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in found))


def end(process: BaseProcess) -> int | None:
    """How a process exits, within half a minute."""
    process.join(30)
    return process.exitcode


@pytest.fixture(params=["openai", "anthropic"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each provider."""
    return str(request.param)


only_openai = pytest.mark.parametrize("kind", ["openai"])
only_anthropic = pytest.mark.parametrize("kind", ["anthropic"])


@pytest.fixture
def desk(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk in its own folder, where the layer's waits take a hundredth of a second."""
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path)
    with Faults() as server:
        made = Desk(server, kind, tmp_path)
        own = {"BEZOAR_JOB": "try/0", "BEZOAR_RUN": RUN, "BEZOAR_BATCH_POLL": "0.05"}
        for name, value in {**addresses(server.address), **own}.items():
            monkeypatch.setenv(name, value)

        def wait(state: Any) -> float:
            made.waits.append(0.01)
            return 0.01

        def gate(*arguments: Any, **more: Any) -> ConcurrencyLimiter:
            made.gates.append(ConcurrencyLimiter(*arguments, **more))
            return made.gates[-1]

        monkeypatch.setattr(persistence, "backoff", wait)
        monkeypatch.setattr(persistence, "ConcurrencyLimiter", gate)
        yield made


def set_up(folder: Path, *prices: dict[str, Any]) -> None:
    """Write the price table."""
    (folder / "prices.yaml").write_text(yaml.safe_dump({"prices": list(prices) or [PRICE]}))
