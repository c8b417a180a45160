"""Requests and completions: the input and output of every backend."""

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bezoar.blocks import Sampling


@dataclass(frozen=True)
class Subject:
    """What a judge grades, apart from the text of the prompt.

    Attributes:
        turns: User and assistant turns in alternation, user first and last.
        response: The graded answer, to the last turn.
        rival: The answer that it is compared with; None for an answer that is graded by itself.
        labels: Verdicts on two answers, from best for the response to best for the rival; an odd number.
        form: What is asked for: a `rating` from 1 to 10 in double brackets, a `result` from 1 to 5, the `items` of a
            checklist for the turns, or yes or no to one `item`.
        item: Text of that item.
    """

    turns: tuple[str, ...]
    response: str
    rival: str | None = None
    labels: tuple[str, ...] = ()
    form: Literal["rating", "result", "items", "item"] = "rating"
    item: str = ""


@dataclass(frozen=True)
class Request:
    """One call of a model.

    Attributes:
        key: Names the call within its job; a sampled answer depends on it and not on the order of calls.
        messages: Role (`system`, `user` or `assistant`) and text, at most one system message, user last.
        sampling: How tokens are drawn; a backend may not support all of it.
        subject: What is graded, for a judge; None for a call that writes.
        sample: Tells repeated draws of one request apart. Requests with equal samples share one answer from a paid API.
        schema: JSON schema of the answer; None for free text.
        top_logprobs: Most likely alternatives of the answer's first token that are wanted; 0 for none.
        logprobs: Whether the log-probability of the answer is wanted; a backend may know it anyway, or not at all.
    """

    key: str
    messages: tuple[tuple[str, str], ...]
    sampling: Sampling
    subject: Subject | None = None
    schema: dict[str, Any] | None = None
    sample: str = "0"
    top_logprobs: int = 0
    logprobs: bool = False

    @property
    def system(self) -> str | None:
        """Text of the system message."""
        return next((text for role, text in self.messages if role == "system"), None)

    @property
    def turns(self) -> list[str]:
        """Texts of user and assistant, in order."""
        return [text for role, text in self.messages if role != "system"]

    @property
    def prompt_hash(self) -> str:
        """sha256 of the messages in Unicode's form NFC, in which they are sent."""
        sent = [(role, unicodedata.normalize("NFC", text)) for role, text in self.messages]
        return hashlib.sha256(json.dumps(sent, ensure_ascii=False).encode()).hexdigest()


def ask(key: str, user: str, sampling: Sampling, system: str | None = None, sample: str = "0") -> Request:
    """A request of one user message, perhaps under a system message."""
    head = (("system", system),) if system else ()
    return Request(key, (*head, ("user", user)), sampling, sample=sample)


@dataclass(frozen=True)
class Completion:
    """What a model answered.

    Attributes:
        text: The answer without its thinking, stripped of whitespace.
        finish_reason: `stop`, `length` (cut by the token limit), `refusal`, `thinking` (which never ended), `other`, or
            `error` (the server refused the request).
        model: The model's name as its server gives it.
        error: The server's message, if it refused the request.
        tokens: Sampled for the whole answer, with the one that ends it; None if it isn't known.
        alternatives: Most likely first tokens, each with its log-probability at temperature 1, in nats; None if they
            weren't asked for or aren't known.
        logprob: Sum of the sampled tokens' log-probabilities at temperature 1, or as its server gives them, in nats;
            None if it isn't known.
    """

    text: str
    finish_reason: str
    model: str
    error: str = ""
    tokens: int | None = None
    logprob: float | None = field(default=None, compare=False)  # its last digits depend on the batch
    alternatives: tuple[tuple[str, float], ...] | None = field(default=None, compare=False)

    @property
    def fault(self) -> str | None:
        """Why this answer can't be used: `empty`, or the finish reason; None if it can."""
        if self.finish_reason != "stop":
            return self.finish_reason
        return None if self.text else "empty"


class Backend(Protocol):
    """Anything that answers requests."""

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion for each request, in their order; `what` names the work in the progress line."""
        ...
