"""Anthropic's messages, through the anthropic package."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from bezoar.requests import failures, provider
from bezoar.requests.api import ApiBackend
from bezoar.requests.base import Request
from bezoar.requests.calls import Call, canonical, compact
from bezoar.requests.exchange import exchanged, posted, results_at
from bezoar.requests.prices import Usage
from bezoar.requests.provider import Answer, Ending, Result
from bezoar.requests.reading import answer_of, count, custom_id, name_of, needed_count, parsed, stored_form, words_of

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic  # slow to import (a second); only jobs that send need it

ADDRESS = "https://api.anthropic.com"
ENDPOINT = "/v1/messages"
BATCHES = "v1/messages/batches"
API_VERSION = "2026-10-21"  # as anthropic 2.12 sends it; it is part of a call's key
ENDINGS: dict[str, Ending] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "refusal",
}
STATUS = {  # of a live request with an error of this type
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
}


class AnthropicBackend(ApiBackend):
    """Anthropic's messages; current models take no sampling parameters."""

    kind: Literal["anthropic"]
    effort: Literal["low", "medium", "high"] | None = None

    def provider(self, weights: str = "") -> "Anthropic":
        """The API."""
        return Anthropic(self, weights)


class Anthropic(provider.Connected):
    """Messages; current models take no sampling parameters, so none are sent."""

    name = "anthropic"

    def __init__(self, block: AnthropicBackend, weights: str = "") -> None:
        super().__init__(block, weights)
        self.block = block

    @cached_property
    def client(self) -> "AsyncAnthropic":
        """The client; it is made, and the key read, when there is something to send."""
        from anthropic import AsyncAnthropic, DefaultAioHttpClient

        connection = self.block.connection
        return AsyncAnthropic(
            api_key=self.key,
            base_url=self.address or ADDRESS,  # otherwise the package reads an address from a variable
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
            output["format"] = {"type": "json_schema", "schema": _unbounded(request.schema)}
        if output:
            body["output_config"] = output
        sample = f"{request.sample}+{tries}" if tries else request.sample
        return Call(self.name, ENDPOINT, API_VERSION, canonical(body), sample, "format" in output, self.weights)

    def read(self, text: str) -> Answer:
        """A message's text blocks; thinking may come before them."""
        data = parsed(text, "a message")
        if data.get("type") == "error":
            raise failures.of_error(_status(data.get("error")), text)
        try:
            blocks, finish, model, usage = data["content"], data["stop_reason"], data["model"], data["usage"]
            said = words_of(blocks)
            prompt, completion = needed_count(usage, "input_tokens"), needed_count(usage, "output_tokens")
        except (KeyError, TypeError) as error:
            raise failures.of_answer("a message without content or usage", text) from error
        if finish is None:
            raise failures.of_answer("a message that didn't end", text)
        ending = ENDINGS.get(str(finish), "other")
        if not blocks and ending == "stop":
            raise failures.of_answer("a message without content", text)
        hour = count(usage, "cache_creation", "ephemeral_1h_input_tokens")
        written = count(usage, "cache_creation_input_tokens") - hour
        cached = count(usage, "cache_read_input_tokens")
        used = Usage(prompt=prompt, completion=completion, cached=cached, written=written, written_1h=hour)
        return answer_of(said, ending, model, used, self.block.thinking)

    async def send(self, call: Call, seconds: float) -> str:
        return await posted(self.session, ENDPOINT.removeprefix("/"), call, seconds)

    async def model_facts(self) -> dict[str, Any]:
        """From the page of the model.

        Raises:
            Failure: The server can't be reached, refuses the key, or doesn't know the model.
        """
        found = await self._requested("GET", f"v1/models/{quote(self.model, safe='')}", "a model")
        stage = found.get("lifecycle")
        ends = found.get("retires_at") or found.get("deprecated_at") if stage == "deprecated" else None
        return {"context": found.get("max_input_tokens"), "ends": ends, "retired": stage == "retired"}

    async def submit(self, calls: list[Call], note: str) -> str:
        requests = [{"custom_id": call.key, "params": call.body} for call in calls]
        data = compact({"requests": requests})
        return name_of(await self._requested("POST", BATCHES, "a batch", whole=False, data=data), "a batch")

    async def ended(self, batch: str) -> bool:
        found = await self._requested("GET", f"{BATCHES}/{quote(batch, safe='')}", "a batch")
        return found.get("processing_status") == "ended"

    async def results(self, batch: str) -> list[Result]:
        path = f"{BATCHES}/{quote(batch, safe='')}/results"
        return await results_at(self.session, path, self.block.connection.timeout, _result)

    async def _requested(
        self, method: str, path: str, what: str, *, whole: bool = True, **content: Any
    ) -> dict[str, Any]:
        """A response's JSON map. `what` names it in errors; `whole`: the time limit is for the whole exchange."""
        seconds = self.block.connection.timeout
        return parsed(await exchanged(self.session, method, path, seconds, total=whole, **content), what)


def _unbounded(schema: Any) -> Any:
    """A JSON schema with `maxItems` as descriptions, as the SDK does it: this API refuses `maxItems` itself."""
    if isinstance(schema, list):
        return [_unbounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _unbounded(value) for key, value in schema.items()}
    if schema.get("type") == "array" and "maxItems" in made:
        made["description"] = f"{{maxItems: {made.pop('maxItems')}}}"
    return made


def _result(line: dict[str, Any]) -> Result:
    result, key = line["result"], custom_id(line)
    if result["type"] == "succeeded":
        return Result(key, stored_form(result["message"]), None)
    error = (result.get("error") or {}).get("error") or {}
    status = _status(error)
    if status:
        return Result(key, None, failures.of_status(status, {}, stored_form({"error": error})))
    said = f"{result['type']} in the batch: {error.get('message', '')}"
    return Result(key, None, failures.Failure("transient", said))


def _status(error: Any) -> int | None:
    """The status of a live request with this error; None for a transient one."""
    kind = error.get("type") if isinstance(error, dict) else None
    return STATUS.get(kind) if isinstance(kind, str) else None
