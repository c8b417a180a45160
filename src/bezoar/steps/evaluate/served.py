"""Answers of a checkpoint through a server that has loaded it: the same prompts and limits as when a job loads it."""

from pathlib import Path
from typing import Any

from bezoar.blocks import Prompt
from bezoar.errors import InputError, problem
from bezoar.requests.base import Backend, Completion, Request
from bezoar.requests.blocks import Budget
from bezoar.requests.openai import OpenAiBackend
from bezoar.steps import chat


class Served:
    """Answers requests as a job would that loads the checkpoint, but for the numbers' precision.

    Args:
        client: Sends requests.
        checkpoint: The model directory that its server has loaded.
        system: System text of requests without one; None leaves it to the template.
        seed: Start of the draws: another one gets other answers, where they are drawn.
    """

    def __init__(self, client: Backend, checkpoint: Path, system: str | None, seed: int) -> None:
        from transformers import AutoConfig

        from bezoar.steps import models

        self.client, self.system, self.seed, self.name = client, system, seed, checkpoint.name
        self.tokenizer = models.load_tokenizer(checkpoint)
        chat.check_template(self.tokenizer)
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
        self.positions = models.positions(config)

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion per request; a prompt that leaves no room for an answer ends with `length`.

        Raises:
            InputError: The server refuses a request.
        """
        fitted = [self._fitted(request) for request in requests]
        answers = iter(self.client.complete([one for one in fitted if one], what))
        found = [next(answers) if one else Completion("", "length", self.name, tokens=0, logprob=0.0) for one in fitted]
        refused = [one for one in found if one.finish_reason == "error"]
        if refused:
            shown = f"{len(refused):,} of {len(found):,}: {refused[0].error}"
            raise InputError(
                problem(
                    f"{what}: the server of {self.name} refuses requests",
                    found=shown,
                    expected="an answer to each",
                    hint="a server with a context of its own, such as --max-model-len, needs all that the model has",
                )
            )
        return found

    def _fitted(self, request: Request) -> Request | None:
        """A request with the system text, and with a token limit that the model has room for; None if there is none."""
        turns = [chat.Turn(role=role, content=text) for role, text in request.messages]
        turns = chat.with_system(turns, self.system)
        room = self.positions - len(chat.ids(self.tokenizer, turns, prompt=True))
        if room <= 0:
            return None
        sampling = request.sampling
        sampling = sampling.model_copy(update={"max_new_tokens": min(sampling.max_new_tokens, room)})
        messages = tuple((turn["role"], turn["content"]) for turn in turns)
        sample = str(self.seed) if sampling.temperature else "0"
        return Request(request.key, messages, sampling, sample=sample, logprobs=True)


def served(checkpoint: Path, block: OpenAiBackend, prompt: Prompt, seed: int, budget: Budget) -> Served:
    """A checkpoint, to answer questions through its server.

    One try for each, and no part of an answer is left out as thinking: its whole text is judged, as in FastChat. So
    these keys of the backend, which a filter or judge may need, are no part of an answer's key.
    """
    once: Any = block.model_copy(update={"max_attempts": 1, "thinking": []})
    once._name = block.name
    client = once.open(checkpoint=checkpoint, system=None, seed=seed, budget=budget)
    return Served(client, checkpoint, prompt.system, seed)
