"""What a run would ask of models over a network, and what that can cost, before anything is sent."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

from bezoar.cache.job import Step
from bezoar.llm import dry, prices
from bezoar.llm.budget import MILLION
from bezoar.llm.calls import CHARACTERS_A_TOKEN
from bezoar.llm.ledger import Total, totals
from bezoar.llm.prices import Usage
from bezoar.params.blocks import Sampling
from bezoar.params.data import AnthropicBackend, Builtin, OpenAiBackend
from bezoar.params.recipe import Recipe
from bezoar.rows import read_json_lines

JOBS_LOOKED_INTO = 8  # of each stage; what others may find stored isn't counted, since the first are done first
Ask = Callable[[Step], tuple[int | None, int, Sampling]]  # calls, tokens of a prompt, how the answer is drawn


@dataclass(frozen=True)
class Expected:
    """What the planned jobs of a stage would ask.

    Attributes:
        calls: At most, without those that are asked again; None if that isn't known before its inputs are there.
        stored: How many of them are answered already, at least.
        tokens: Of the calls to send, prompts and answers.
        guessed: Whether tokens are what the calls may take at most, not what the model's earlier calls took there.
        micro: What they cost, in millionths of a dollar; None without a price.
    """

    stage: str
    model: str
    jobs: int
    calls: int | None
    stored: int
    tokens: int | None
    micro: int | None
    guessed: bool

    def __str__(self) -> str:
        calls = "an unknown number of calls" if self.calls is None else f"at most {self.calls:,} calls, repeats apart,"
        parts = [
            f"{self.stage}: {calls} to {self.model}",
            f"at least {self.stored:,} answered before" if self.stored else "",
        ]
        about = "at most" if self.guessed else "about"
        parts.append(f"{about} {self.tokens:,} tokens" if self.tokens is not None else "")
        if self.calls is not None:
            parts.append("no price known" if self.micro is None else f"${self.micro / MILLION:,.2f}")
        return ", ".join(part for part in parts if part)


class Estimator:
    """What steps of a recipe ask of models over a network."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._remade: set[str] = set()  # files that are there, but not as they will be
        self._histories: dict[str, dict[str, Total]] = {}  # by model and stage

    def _past(self, stage: str, model: str) -> Total | None:
        """What a stage's calls to a model have taken so far."""
        if model not in self._histories:
            self._histories[model] = totals(model=model)
        return self._histories[model].get(stage)

    @cached_property
    def _prices(self) -> prices.Prices:
        return prices.load(self.recipe.budget.prices)

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Expected]:
        """What planned steps would ask, by stage; with their commands also what of it is stored."""
        steps = list(steps)
        self._remade = {output for step in steps for output in step.outputs}
        stages: dict[str, list[Step]] = {}
        for step in steps:
            if self.backend(step):
                stages.setdefault(step.stage, []).append(step)
        return [self._of_stage(name, members, commands) for name, members in stages.items()]

    def backend(self, step: Step) -> OpenAiBackend | AnthropicBackend | None:
        """Who answers a step's calls, if they go over a network."""
        recipe, name = self.recipe, step.block[0] if step.block else ""
        asks = {
            "generate": lambda: recipe.schemes[name].teacher,
            "filter": lambda: recipe.filters[name].judge,
            "judgments": lambda: getattr(recipe.evals[name], "judge", ""),
        }
        block = recipe.backends[asks[step.rule]()] if step.rule in asks else None
        return block if isinstance(block, OpenAiBackend | AnthropicBackend) else None

    def _of_stage(self, name: str, steps: list[Step], commands: dict[str, list[str]] | None) -> Expected:
        block = self.backend(steps[0])
        assert block
        asks = [self._ask(step) for step in steps]
        known = [calls for calls, _, _ in asks if calls is not None]
        calls = sum(known) if len(known) == len(asks) else None
        stored = _stored(steps, commands) if commands is not None else 0
        price = self._prices.newest.get(block.model)
        if calls is None:
            free = 0 if price and price.free else None
            return Expected(name, block.model, len(steps), None, stored, None, free, guessed=True)
        to_send = max(0, calls - stored)
        past = self._past(name, block.model)
        if past and past.answers:
            usage = Usage(ceil(past.prompt_tokens / past.answers), ceil(past.completion_tokens / past.answers))
        else:
            usage = Usage(max(prompt for _, prompt, _ in asks), max(one.max_new_tokens for _, _, one in asks))
        micro = price.micro(usage, batch=block.connection.batch) * to_send if price else None
        tokens = to_send * (usage.read + usage.completion)
        return Expected(
            name, block.model, len(steps), calls, stored, tokens, micro, guessed=not past or not past.answers
        )

    def _ask(self, step: Step) -> tuple[int | None, int, Sampling]:
        """A step's calls at most, the tokens of a prompt by guess, and how an answer is drawn."""
        ask: dict[str, Ask] = {"generate": self._generate, "filter": self._filter, "judgments": self._judgments}
        return ask[step.rule](step)

    def _generate(self, step: Step) -> tuple[int | None, int, Sampling]:
        block = self.recipe.schemes[step.block[0]]
        rows = self._candidates(step.block[0])
        prompt = _tokens(block.prompts) + getattr(block, "most_characters", 1000) // CHARACTERS_A_TOKEN
        if block.method == "lamini":
            listings = ceil(block.calls / self.recipe.shards)
            return listings * (1 + block.instructions_per_call), prompt, block.sampling
        if rows is None:
            return None, prompt, block.sampling
        return rows * (3 if block.method == "evol" else 1), prompt, block.sampling  # rewrite, answer, compare

    def _candidates(self, name: str) -> int | None:
        """Rows that a scheme writes in one shard at most."""
        block, shards = self.recipe.schemes[name], self.recipe.shards
        if block.method == "lamini":
            return ceil(block.calls / shards) * block.instructions_per_call
        if block.method == "orca" and block.candidates is not None:
            return ceil(block.candidates / shards)
        rows = self._rows(block.seeds)
        if rows is None:
            return None
        return ceil(rows / shards) * (block.rounds if block.method == "evol" else 1)

    def _filter(self, step: Step) -> tuple[int | None, int, Sampling]:
        block, scheme = self.recipe.filters[step.block[0]], self.recipe.schemes[step.block[0]]
        path = next(path for path in step.inputs if path.endswith("/rows.jsonl"))
        calls = self._lines(path)
        if calls is None:
            calls = self._candidates(step.block[0])
        return calls, _tokens(block.prompts) + 2 * scheme.sampling.max_new_tokens, block.sampling

    def _judgments(self, step: Step) -> tuple[int | None, int, Sampling]:
        block = self.recipe.evals[step.block[0]]
        assert block.method == "mtbench"
        questions = self._rows(block.questions)
        calls = None if questions is None else questions * 2 * block.repeats
        return calls, 1000 + 2 * block.max_new_tokens, block.judge_sampling

    def _rows(self, source: str) -> int | None:
        """Rows of a source: as many as are there, or as the recipe takes."""
        block, there = self.recipe.sources[source], self._lines(f"data/source/{source}/rows.jsonl")
        if there is not None:
            return there
        made = block.origin.rows if isinstance(block.origin, Builtin) else None
        return block.sample or block.first or made

    def _lines(self, path: str) -> int | None:
        """Rows of a file that is there and stays."""
        if path in self._remade or not os.path.exists(path):
            return None
        return sum(1 for _ in read_json_lines(path))


def _tokens(path: str) -> int:
    return ceil(len(Path(path).read_text(encoding="utf-8")) / CHARACTERS_A_TOKEN)


def _stored(steps: list[Step], commands: dict[str, list[str]]) -> int:
    """Calls of the steps that are answered already, by running some of them up to the first call that isn't."""
    ready = [step for step in steps if all(os.path.exists(path) for path in step.inputs)]
    return sum(_stored_of(step, commands[step.name]) for step in ready[:JOBS_LOOKED_INTO])


def _stored_of(step: Step, command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts.jsonl")
        words = list(command)
        out = words.index("--out") + 1
        words[out] = str(Path(folder, *Path(words[out]).parts[-2:]))  # scripts take their names from its last parts
        words[words.index("--log") + 1] = str(Path(folder, "log"))
        environment = {**os.environ, dry.VARIABLE: str(counts), "BEZOAR_JOB": f"{step.stage}/{step.part}"}
        subprocess.run(words, env=environment, capture_output=True, check=False)
        lines = counts.read_text().splitlines() if counts.exists() else []
        return sum(json.loads(line)["stored"] for line in lines)
