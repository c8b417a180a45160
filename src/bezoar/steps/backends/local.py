"""A model that runs in the job itself: batched generation with draws that don't depend on the batch."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bezoar import costs, logs
from bezoar.blocks import Dtype, Name, Reference
from bezoar.errors import InputError, problem
from bezoar.requests.base import Completion, Request
from bezoar.requests.blocks import ChatBackend
from bezoar.steps import chat, prompts
from bezoar.text import without_thinking

if TYPE_CHECKING:
    import torch  # slow to import, and every recipe imports its backends


class LocalBackend(ChatBackend):
    """A checkpoint of this recipe, or a base model, run in the job itself."""

    weights_from: ClassVar[str] = "checkpoint"

    kind: Literal["local"]
    checkpoint: Annotated[Name, Reference(("models", "stages"), "answers from an unknown checkpoint")]
    template: Literal["tokenizer"] | Annotated[str, Field(pattern=r"\{prompt\}")] = Field(
        "tokenizer",
        description="`tokenizer` for the checkpoint's chat template, or a text with {prompt} and optionally {system}, "
        "for requests of one turn.",
    )
    batch_size: int = Field(16, ge=1, description="Prompts in one batch.")
    dtype: Dtype = "bfloat16"

    @property
    def gives_logprobs(self) -> bool:
        """Whether it tells the log-probabilities of a token's alternatives."""
        return True

    def open(self, *, checkpoint: Path | None, system: str | None, seed: int, **_: Any) -> Local:
        """A model that answers requests.

        Args:
            checkpoint: Its model directory.
            system: System text of requests without one; None leaves it to the template.
            seed: Start of the draws.

        Raises:
            ValueError: There is no model directory.
        """
        if checkpoint is None:
            raise ValueError(f"a local backend needs the model directory of {self.checkpoint}")
        return Local(checkpoint, self, system=system, seed=seed)


class Local:
    """Answers requests with a causal language model."""

    def __init__(self, checkpoint: Path, block: LocalBackend, *, system: str | None, seed: int) -> None:
        from bezoar.steps import models

        self.models = models
        self.model = models.load(checkpoint, block.dtype).eval()
        self.tokenizer = models.load_tokenizer(checkpoint)
        models.ignore_generation_config(self.model, self.tokenizer)
        self.positions = models.positions(self.model.config)
        self.ends = set(models.end_tokens(self.model, self.tokenizer))
        self.name = block.checkpoint
        self.template, self.batch_size, self.thinking = block.template, block.batch_size, block.thinking
        self.system, self.seed = system, seed
        if self.template == "tokenizer":
            chat.check_template(self.tokenizer)
        self.written = 0  # tokens

    def tokens(self, request: Request) -> list[int]:
        """The prompt for the model: the tokens that it was trained to answer.

        Raises:
            InputError: The template doesn't take the request.
        """
        if self.template == "tokenizer":
            turns = [chat.Turn(role=role, content=text) for role, text in request.messages]
            return chat.ids(self.tokenizer, chat.with_system(turns, self.system), prompt=True)
        if len(request.turns) > 1:
            what, found = "a text template takes one turn only", f"{len(request.turns)} turns for {self.template!r}"
            raise InputError(problem(what, found=found, expected="one turn, or template: tokenizer"))
        system = request.system if request.system is not None else self.system or ""
        return list(self.tokenizer(prompts.fill(self.template, prompt=request.turns[0], system=system)).input_ids)

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion per request; a prompt that leaves no room for an answer ends with `length`."""
        tokens = [self.tokens(request) for request in requests]
        full = [place for place, row in enumerate(tokens) if len(row) >= self.positions]
        completions = {place: Completion("", "length", self.name, tokens=0, logprob=0.0) for place in full}
        order = [place for place in range(len(requests)) if place not in completions]
        order.sort(key=lambda place: len(tokens[place]))  # sorted by length, batches have little padding
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        for batch in logs.progress(batches, len(batches), what):
            texts = self._generate([requests[place] for place in batch], [tokens[place] for place in batch])
            completions |= zip(batch, texts, strict=True)
        costs.spend(prompt_tokens=sum(len(tokens[place]) for place in order), completion_tokens=self.written)
        self.written = 0
        return [completions[place] for place in range(len(requests))]

    def _generate(self, requests: list[Request], tokens: list[list[int]]) -> list[Completion]:
        import torch
        from transformers import LogitsProcessorList

        asked = zip(requests, tokens, strict=True)
        limits = [min(one.sampling.max_new_tokens, self.positions - len(row)) for one, row in asked]
        longest, new_tokens = max(map(len, tokens)), max(limits)
        pad = self.models.padding(self.tokenizer)
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in tokens], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in tokens], device=self.model.device)
        sampling = RowSampling(requests, self.seed, self.model.device, longest, self.ends)
        with torch.inference_mode():
            drawn = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=sorted(self.ends),
                logits_processor=LogitsProcessorList([sampling]),
            )[:, longest:].tolist()
        drawn_rows = zip(drawn, limits, sampling.logprobs(), strict=True)
        found = zip([self._completion(*one) for one in drawn_rows], requests, sampling.tops, strict=True)
        return [replace(one, alternatives=self._alternatives(top, asked.top_logprobs)) for one, asked, top in found]

    def _alternatives(self, top: list[tuple[int, float]], count: int) -> tuple[tuple[str, float], ...] | None:
        """The most likely first tokens as texts, if they are wanted."""
        found = [(self.tokenizer.decode([token]), round(logprob, 6)) for token, logprob in top[:count]]
        return tuple(found) or None

    def _completion(self, row: list[int], limit: int, logprobs: list[float]) -> Completion:
        end = next((place for place, token in enumerate(row[:limit]) if token in self.ends), None)
        drawn = limit if end is None else end + 1
        row, logprob = row[: limit if end is None else end], sum(logprobs[:drawn])
        self.written += len(row)
        said, closed = without_thinking(self.tokenizer.decode(row, skip_special_tokens=True), self.thinking)
        finish = "length" if end is None else "stop" if closed else "thinking"
        return Completion(said.strip(), finish, self.name, tokens=drawn, logprob=round(logprob, 4))


class RowSampling:
    """Adds Gumbel noise of each row: the largest score is then a draw from that row's distribution.

    So a batch may mix temperatures, and a row's draw depends on its key alone, not on its neighbours.
    """

    def __init__(
        self, requests: list[Request], seed: int, device: torch.device, prompt_length: int, ends: set[int]
    ) -> None:
        import torch

        self.prompt_length, self.ends = prompt_length, torch.tensor(sorted(ends), device=device)
        self.temperatures = torch.tensor([one.sampling.temperature for one in requests], device=device)
        self.top_p = torch.tensor([one.sampling.top_p for one in requests], device=device)
        self.generators = [torch.Generator(device).manual_seed(_seed(seed, request.key)) for request in requests]
        self.most = max(one.top_logprobs for one in requests)
        self.tops: list[list[tuple[int, float]]] = [[] for _ in requests]  # most likely first tokens, if any asks
        self.steps: list[torch.Tensor] = []  # of each step, the log-probability (batch,) of the token that is drawn

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (batch, vocabulary) of the next token; rows with temperature 0, and finished ones, are unchanged."""
        import torch

        scores = scores.float()
        if self.most and not self.steps:
            values, tokens = scores.log_softmax(dim=1).topk(min(self.most, scores.shape[1]), dim=1)
            self.tops = [[*zip(*row, strict=True)] for row in zip(tokens.tolist(), values.tolist(), strict=True)]
        ended = torch.isin(input_ids[:, self.prompt_length :], self.ends).any(dim=1)
        rows = ((self.temperatures > 0) & ~ended).nonzero()[:, 0]
        drawn = self._noisy(scores, rows) if len(rows) else scores
        chosen = scores.gather(1, drawn.argmax(dim=1, keepdim=True))[:, 0]  # as `generate` takes the largest score
        self.steps.append(chosen - scores.logsumexp(dim=1))
        return drawn

    def logprobs(self) -> list[list[float]]:
        """By row, the log-probability of each token that was drawn."""
        import torch

        return torch.stack(self.steps, dim=1).tolist() if self.steps else [[] for _ in self.generators]

    def _noisy(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """A copy of the scores in which these rows have noise."""
        import torch

        noisy = scores.clone()
        heated = nucleus(scores[rows] / self.temperatures[rows, None], self.top_p[rows, None])
        for place, row in enumerate(rows.tolist()):  # row by row: a draw must not depend on its neighbours
            uniform = torch.rand(heated.shape[1], generator=self.generators[row], device=heated.device)
            noisy[row] = heated[place] - torch.log(-torch.log(uniform.clamp_(1e-20, 1 - 1e-7)))
        return noisy


def nucleus(logits: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Logits, with minus infinity for all but the most likely tokens of a total probability.

    Args:
        logits: (rows, vocabulary).
        top_p: (rows, 1), above 0; a row with 1 or more keeps all.

    Source: Holtzman et al. 2019 (arXiv:1904.09751), section 3.1; the most likely token always stays.
    """
    import torch

    if (top_p >= 1).all():
        return logits
    ordered, places = torch.sort(logits, descending=True)
    shares = torch.softmax(ordered, dim=-1)
    over = (shares.cumsum(dim=-1) - shares >= top_p) & (top_p < 1)
    return logits.masked_fill(torch.zeros_like(over).scatter(1, places, over), -torch.inf)


def _seed(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:6], "big")
