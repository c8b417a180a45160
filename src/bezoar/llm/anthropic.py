"""Anthropic's messages, through the anthropic package."""

from functools import cached_property
from typing import Any

from anthropic import APIStatusError, AsyncAnthropic, DefaultAioHttpClient

from bezoar.backends.base import Request
from bezoar.llm import failures, provider
from bezoar.llm.calls import Call, canonical, encoded
from bezoar.llm.environment import from_environment
from bezoar.llm.prices import Usage
from bezoar.llm.provider import Answer, Ending, Result, count, parsed
from bezoar.params.data import AnthropicBackend

ADDRESS = "https://api.anthropic.com"
ENDPOINT = "/v1/messages"
API_VERSION = "2026-10-21"  # as anthropic 2.12 sends it; another one is another question
ENDINGS: dict[str, Ending] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "refusal",
}
STATUS = {  # that a live request gets for an error of this type
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
}


class Anthropic(provider.Connected):
    """Messages; current models take no sampling parameters, so none are sent."""

    name = "anthropic"

    def __init__(self, block: AnthropicBackend) -> None:
        super().__init__(block)
        self.block = block

    @cached_property
    def client(self) -> AsyncAnthropic:
        """The client; made, and so the key asked for, when there is something to send."""
        connection = self.block.connection
        return AsyncAnthropic(
            api_key=from_environment(connection.api_key_env, "API key"),
            base_url=self.address or ADDRESS,  # else the package takes one from a variable
            max_retries=0,
            timeout=connection.timeout,
            http_client=DefaultAioHttpClient(follow_redirects=False, trust_env=not self.direct),
            default_headers={"anthropic-version": API_VERSION},
        )

    def call(self, request: Request, tries: int, limit: int) -> Call:
        body: dict[str, Any] = {
            "model": self.block.model,
            "messages": [{"role": role, "content": text} for role, text in request.messages if role != "system"],
            "max_tokens": limit,
        }
        if request.system:
            body["system"] = request.system
        output: dict[str, Any] = {"effort": self.block.effort} if self.block.effort else {}
        if request.schema and self.block.json_schema:
            output["format"] = {"type": "json_schema", "schema": request.schema}
        if output:
            body["output_config"] = output
        sample = f"{request.sample}+{tries}" if tries else request.sample
        return Call(self.name, ENDPOINT, API_VERSION, canonical(body), sample)

    def read(self, text: str) -> Answer:
        """A message's text blocks; thinking may come before them."""
        data = parsed(text, "a message")
        try:
            blocks, finish, model, usage = data["content"], data["stop_reason"], data["model"], data["usage"]
            said = "".join(block["text"] for block in blocks if block["type"] == "text").strip()
            prompt, completion = int(usage["input_tokens"]), int(usage["output_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise failures.of_answer("a message without content or usage", text) from error
        if finish is None:
            raise failures.of_answer("a message that didn't end", text)
        ending = ENDINGS.get(finish, "other")
        if not blocks and ending == "stop":
            raise failures.of_answer("a message without content", text)
        hour = count(usage, "cache_creation", "ephemeral_1h_input_tokens")
        written = count(usage, "cache_creation_input_tokens") - hour
        cached = count(usage, "cache_read_input_tokens")
        used = Usage(prompt=prompt, completion=completion, cached=cached, written=written, written_1h=hour)
        return Answer(said, "empty" if ending == "stop" and not said else ending, str(model), used)

    async def send(self, call: Call, seconds: float) -> str:
        return await provider.posted(self.session, ENDPOINT.removeprefix("/"), call, seconds)

    async def model_facts(self) -> dict[str, Any]:
        """From the model's own page.

        Raises:
            Failure: The server can't be reached, refuses the key, or doesn't know the model.
        """
        client = self.client
        with provider.failing(APIStatusError):
            found = (await client.models.retrieve(self.model)).model_dump(mode="json")
        stage = found.get("lifecycle")
        ends = found.get("retires_at") or found.get("deprecated_at") if stage == "deprecated" else None
        return {"context": found.get("max_input_tokens"), "ends": ends, "retired": stage == "retired"}

    async def submit(self, calls: list[Call], note: str) -> str:
        requests: Any = [{"custom_id": call.key, "params": call.body} for call in calls]
        client = self.client
        with provider.failing(APIStatusError):
            return (await client.messages.batches.create(requests=requests)).id

    async def ended(self, batch: str) -> bool:
        client = self.client
        with provider.failing(APIStatusError):
            return (await client.messages.batches.retrieve(batch)).processing_status == "ended"

    async def results(self, batch: str) -> list[Result]:
        client = self.client
        with provider.failing(APIStatusError):
            lines = await client.messages.batches.results(batch)
            return [_result(line.model_dump(mode="json")) async for line in lines]


def _result(line: dict[str, Any]) -> Result:
    result, key = line["result"], str(line["custom_id"])
    if result["type"] == "succeeded":
        return Result(key, encoded(result["message"]).decode(), None)
    error = (result.get("error") or {}).get("error") or {}
    status = STATUS.get(error.get("type", ""))
    if status:
        return Result(key, None, failures.of_status(status, {}, encoded({"error": error}).decode()))
    said = f"{result['type']} in the batch: {error.get('message', '')}"
    return Result(key, None, failures.Failure("transient", said))
