"""The model requests of a run and their cost, before anything is sent."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from bezoar.cache.job import Step
from bezoar.jsonl import read_json_lines
from bezoar.recipe.recipe import Recipe
from bezoar.requests import dry_run, prices
from bezoar.requests.api import ApiBackend
from bezoar.requests.blocks import BackendBlock
from bezoar.requests.budget import MILLION
from bezoar.requests.calls import CHARS_PER_TOKEN
from bezoar.requests.demand import Demand
from bezoar.requests.ledger import Total, totals
from bezoar.requests.prices import Usage
from bezoar.steps.evaluate.questions import read_questions

JOBS_LOOKED_INTO = 8  # of each stage; stored answers of later jobs aren't counted, since the first jobs are done first


@dataclass(frozen=True)
class Expected:
    """The requests of a stage's planned jobs.

    Attributes:
        calls: The most calls, without repeats; None if it is unknown before the inputs exist.
        stored: Calls that already have a stored answer; a lower bound.
        tokens: Of prompts and answers of the calls to send.
        guessed: Whether `tokens` is an upper bound, not an estimate by earlier calls of the stage.
        micro: Their cost in millionths of a dollar; None without a price.
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
        calls = "an unknown number of calls" if self.calls is None else f"at most {self.calls:,} calls without repeats"
        parts = [
            f"{self.stage}: {calls} to {self.model}",
            f"at least {self.stored:,} of them stored" if self.stored else "",
        ]
        about = "at most" if self.guessed else "about"
        parts.append(f"{about} {self.tokens:,} tokens" if self.tokens is not None else "")
        if self.calls is not None:
            parts.append("no price known" if self.micro is None else f"${self.micro / MILLION:,.2f}")
        return ", ".join(part for part in parts if part)


class Estimator:
    """Estimates the model requests of a recipe's steps."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.shards = recipe, recipe.shards
        self._remade: set[str] = set()  # files that exist, but will be built again
        self._histories: dict[str, dict[str, Total]] = {}  # by model and stage

    def _past(self, stage: str, model: str) -> Total | None:
        """The total of a stage's calls to a model so far."""
        if model not in self._histories:
            self._histories[model] = totals(model=model)
        return self._histories[model].get(stage)

    @cached_property
    def _prices(self) -> prices.Prices:
        return prices.load_prices(self.recipe.budget.prices)

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Expected]:
        """The requests of planned steps, by stage; with the steps' commands, also how many are answered already."""
        steps = list(steps)
        self._remade = {output for step in steps for output in step.outputs}
        stages: dict[tuple[str, str], list[Step]] = {}
        for step in steps:
            for key in self.backends(step):
                stages.setdefault((step.stage, key), []).append(step)
        return [self._of_stage(name, key, members, commands) for (name, key), members in stages.items()]

    def backends(self, step: Step) -> dict[str, ApiBackend]:
        """By the block's key, the backends of a step's calls that go to an API."""
        _, backends = self._asking(step)
        return {key: one for key, one in backends.items() if isinstance(one, ApiBackend)}

    def _asking(self, step: Step) -> tuple[Any, dict[str, BackendBlock]]:
        """The block whose jobs send requests, and its backends by key; none if the step sends none."""
        return self.recipe.asked(step.rule, step.block)

    def _of_stage(self, name: str, key: str, steps: list[Step], commands: dict[str, list[str]] | None) -> Expected:
        block = self.backends(steps[0])[key]
        demands = [self._demand(step, key) for step in steps]
        known = [one.calls for one in demands if one.calls is not None]
        calls = sum(known) if len(known) == len(demands) else None
        stored = _stored(steps, commands, self._remade) if commands is not None else 0
        price = self._prices.newest.get(block.model)
        if calls is None:
            free = 0 if price and price.free else None
            return Expected(name, block.model, len(steps), None, stored, None, free, guessed=True)
        to_send = max(0, calls - stored)
        past = self._past(name, block.model)
        if past and past.answers:
            usage = Usage(ceil(past.prompt_tokens / past.answers), ceil(past.completion_tokens / past.answers))
        else:
            answer = max(one.sampling.max_new_tokens for one in demands)
            usage = Usage(max(one.prompt_tokens for one in demands), answer)
        micro = price.micro(usage, batch=block.connection.batch) * to_send if price else None
        tokens = to_send * (usage.read + usage.completion)
        return Expected(
            name, block.model, len(steps), calls, stored, tokens, micro, guessed=not past or not past.answers
        )

    def _demand(self, step: Step, key: str) -> Demand:
        block, _ = self._asking(step)
        demand: Demand = block.demand(step.inputs, self, key)
        return demand

    def candidates(self, scheme: str) -> int | None:
        """The most rows that one shard of a scheme writes."""
        return self.recipe.schemes[scheme].candidates_of_a_shard(self.seeds(scheme), self.shards)

    def seeds(self, scheme: str) -> int | None:
        """Rows that a scheme starts from: of its source, or the most that another scheme may have."""
        section, name = self.recipe.schemes[scheme].starts_from()
        if section == "sources":
            return self.rows(name)
        candidates = self.candidates(name)
        return None if candidates is None else candidates * self.shards

    def longest_answer(self, scheme: str) -> int:
        """The most tokens of an answer of a scheme's teacher."""
        return self.recipe.schemes[scheme].sampling.max_new_tokens

    def questions(self, answers: str) -> int | None:
        """Questions of a block of answers."""
        return self.rows(self.recipe.answers[answers].questions)

    def turns(self, answers: str) -> int | None:
        """Turns of all questions of a block of answers: of the questions that exist, or by the evaluations' needs."""
        path = f"data/source/{self.recipe.answers[answers].questions}/rows.jsonl"
        if self.lines([path]) is not None:
            return sum(len(row.turns) for row in read_questions(Path(path)))
        questions, turns = self.questions(answers), self.recipe.turns_of(answers)
        return None if questions is None or turns is None else questions * turns

    def most_tokens(self, answers: str) -> int:
        """The most tokens of an answer of a block of answers."""
        return self.recipe.answers[answers].max_new_tokens

    def rows(self, source: str) -> int | None:
        """Rows of a source: those that exist, or those that the recipe takes."""
        there = self.lines([f"data/source/{source}/rows.jsonl"])
        return self.recipe.sources[source].known_rows if there is None else there

    def lines(self, paths: Iterable[str]) -> int | None:
        """Rows of the files, if they exist and are up to date."""
        paths = list(paths)
        if not paths or any(path in self._remade or not os.path.exists(path) for path in paths):
            return None
        return sum(1 for path in paths for _ in read_json_lines(path))

    def tokens(self, path: str) -> int:
        """Tokens of a text file, estimated."""
        return ceil(len(Path(path).read_text(encoding="utf-8")) / CHARS_PER_TOKEN)


def _stored(steps: list[Step], commands: dict[str, list[str]], remade: set[str]) -> int:
    """Calls of the steps that are answered already: some steps run until the first call that isn't.

    Steps with inputs that are missing or will be built again are left out: their calls aren't known yet.
    """
    ready = [step for step in steps if all(path not in remade and os.path.exists(path) for path in step.inputs)]
    return sum(_stored_of(step, commands[step.name]) for step in ready[:JOBS_LOOKED_INTO])


def _stored_of(step: Step, command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts.jsonl")
        words = list(command)
        out = words.index("--out") + 1
        words[out] = str(Path(folder, *Path(words[out]).parts[-2:]))  # scripts read names from its last parts
        words[words.index("--log") + 1] = str(Path(folder, "log"))
        environment = {**os.environ, dry_run.VARIABLE: str(counts), "BEZOAR_JOB": f"{step.stage}/{step.part}"}
        subprocess.run(words, env=environment, capture_output=True, check=False)
        lines = counts.read_text().splitlines() if counts.exists() else []
        return sum(json.loads(line)["stored"] for line in lines)
