"""Any endpoint that speaks OpenAI's chat completions, through the openai package."""

from typing import Any

from openai import AsyncOpenAI

from bezoar.backends.api import from_environment, run_all
from bezoar.backends.base import Completion, Request
from bezoar.params.data import OpenAiBackend
from bezoar.spending import spend

FINISH_REASONS = {"stop": "stop", "length": "length", "content_filter": "refusal"}


class OpenAi:
    """Answers requests through chat completions."""

    def __init__(self, block: OpenAiBackend) -> None:
        self.block = block
        connection = block.connection
        self.key = from_environment(connection.api_key_env, "API key")
        self.address = from_environment(connection.base_url_env, "address") if connection.base_url_env else None

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion for each request.

        Raises:
            openai.OpenAIError: A request failed after the client's own retries.
            ValueError: The server answered with something that isn't a completion.
        """
        client = AsyncOpenAI(api_key=self.key, base_url=self.address)

        async def answer(request: Request) -> Completion:
            found = await client.chat.completions.create(**_body(request, self.block))
            if usage := getattr(found, "usage", None):
                spend(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
            return _completion(found)

        return run_all(requests, answer, client.close, self.block.connection.concurrency, what)


def _body(request: Request, block: OpenAiBackend) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": block.model,
        "messages": [{"role": role, "content": text} for role, text in request.messages],
        block.token_limit_field: request.sampling.max_new_tokens,
    }
    if block.sends_sampling:
        body |= {"temperature": request.sampling.temperature, "top_p": request.sampling.top_p}
    if request.schema and block.json_schema:
        schema = {"name": "verdict", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _completion(answer: Any) -> Completion:
    choices = getattr(answer, "choices", None)
    if not choices:
        raise ValueError(f"the server's answer is not a chat completion\n  found:    {str(answer)[:200]}")
    message = choices[0].message
    finish = "refusal" if getattr(message, "refusal", None) else FINISH_REASONS.get(choices[0].finish_reason)
    if finish is None:
        raise ValueError(f"the server ended a completion for an unknown reason: {choices[0].finish_reason}")
    return Completion((message.content or "").strip(), finish, answer.model)
