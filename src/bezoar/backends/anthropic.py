"""Anthropic's messages, through the anthropic package."""

from typing import Any

from anthropic import AsyncAnthropic

from bezoar.backends.api import from_environment, run_all
from bezoar.backends.base import Completion, Request
from bezoar.params.data import AnthropicBackend
from bezoar.spending import spend

FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "refusal"}


class Anthropic:
    """Answers requests through messages; current models take no sampling parameters, so none are sent."""

    def __init__(self, block: AnthropicBackend) -> None:
        self.block = block
        connection = block.connection
        self.key = from_environment(connection.api_key_env, "API key")
        self.address = from_environment(connection.base_url_env, "address") if connection.base_url_env else None

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion for each request.

        Raises:
            anthropic.AnthropicError: A request failed after the client's own retries.
            ValueError: The server answered with something that isn't a message.
        """
        client = AsyncAnthropic(api_key=self.key, base_url=self.address)

        async def answer(request: Request) -> Completion:
            found = await client.messages.create(**_body(request, self.block))
            if usage := getattr(found, "usage", None):
                spend(prompt_tokens=usage.input_tokens, completion_tokens=usage.output_tokens)
            return _completion(found)

        return run_all(requests, answer, client.close, self.block.connection.concurrency, what)


def _body(request: Request, block: AnthropicBackend) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": block.model,
        "messages": [{"role": role, "content": text} for role, text in request.messages if role != "system"],
        "max_tokens": request.sampling.max_new_tokens,
    }
    if request.system:
        body["system"] = request.system
    output: dict[str, Any] = {"effort": block.effort} if block.effort else {}
    if request.schema and block.json_schema:
        output["format"] = {"type": "json_schema", "schema": request.schema}
    if output:
        body["output_config"] = output
    return body


def _completion(answer: Any) -> Completion:
    blocks = getattr(answer, "content", None)
    if not isinstance(blocks, list):
        raise ValueError(f"the server's answer is not a message\n  found:    {str(answer)[:200]}")
    finish = FINISH_REASONS.get(answer.stop_reason)
    if finish is None:
        raise ValueError(f"the server ended a message for an unknown reason: {answer.stop_reason}")
    text = "".join(block.text for block in blocks if block.type == "text")  # thinking blocks may come first
    return Completion(text.strip(), finish, answer.model)
