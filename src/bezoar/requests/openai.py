"""Any endpoint that speaks OpenAI's chat completions, through the openai package."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field

from bezoar.requests import failures, provider
from bezoar.requests.api import ApiBackend
from bezoar.requests.base import Request
from bezoar.requests.calls import Call, canonical, compact
from bezoar.requests.exchange import exchanged, posted, results_at
from bezoar.requests.failures import Failure
from bezoar.requests.prices import Usage
from bezoar.requests.provider import Answer, Ending, Result
from bezoar.requests.reading import (
    alternatives_of,
    answer_of,
    count,
    custom_id,
    logprob_of,
    name_of,
    needed_count,
    parsed,
    stored_form,
    words_of,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI  # slow to import (a second); only jobs that send need it

ADDRESS = "https://api.openai.com/v1"
ENDPOINT = "/v1/chat/completions"
TEXTS = "/v1/completions"  # of a server's own model, with log-probabilities
ENDINGS: dict[str, Ending] = {"stop": "stop", "length": "length", "content_filter": "refusal"}


class OpenAiBackend(ApiBackend):
    """Any endpoint that speaks OpenAI's chat completions."""

    kind: Literal["openai"]
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_completion_tokens",
        description="OpenAI's reasoning models want max_completion_tokens, vLLM takes max_tokens.",
    )
    sends_sampling: bool = Field(True, description="False for models that refuse temperature and top_p.")

    @property
    def serves(self) -> bool:
        """Whether an evaluation may ask it about a checkpoint of the recipe."""
        return self.checkpoint is not None

    @property
    def gives_logprobs(self) -> bool:
        """Whether it tells log-probabilities of a token's alternatives: models that refuse sampling don't."""
        return self.sends_sampling

    def provider(self, weights: str = "") -> "OpenAi":
        """The API."""
        return OpenAi(self, weights)


class OpenAi(provider.Connected):
    """Chat completions."""

    name = "openai"
    path = "/v1"

    def __init__(self, block: OpenAiBackend, weights: str = "") -> None:
        super().__init__(block, weights)
        self.block = block

    @cached_property
    def client(self) -> "AsyncOpenAI":
        """The client; it is made, and the key read, when there is something to send."""
        from openai import AsyncOpenAI, DefaultAioHttpClient

        connection = self.block.connection
        return AsyncOpenAI(
            api_key=self.key,
            base_url=self.address or ADDRESS,  # otherwise the package reads an address from a variable
            max_retries=0,
            timeout=connection.timeout,
            http_client=DefaultAioHttpClient(follow_redirects=False, trust_env=not self.direct),
        )

    def call(self, request: Request, tries: int, limit: int) -> Call:
        body: dict[str, Any] = {
            "model": self.block.model,
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            self.block.token_limit_field: limit,
        }
        if self.block.sends_sampling:
            body |= {"temperature": request.sampling.temperature, "top_p": request.sampling.top_p}
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        elif request.logprobs and self.block.gives_logprobs:
            body["logprobs"] = True
        if request.schema and self.block.json_schema:
            schema = {"name": "verdict", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        sample = f"{request.sample}+{tries}" if tries else request.sample
        ordered = "response_format" in body
        return Call(self.name, ENDPOINT, None, canonical(body), sample, ordered, self.weights)

    def read(self, text: str) -> Answer:
        """A completion's first choice."""
        data = parsed(text, "a chat completion")
        if (error := data.get("error")) and not data.get("choices"):
            raise failures.of_error(error.get("code") if isinstance(error, dict) else None, text)
        try:
            choice = data["choices"][0]
            message, finish, model, usage = choice["message"], choice["finish_reason"], data["model"], data["usage"]
            said, refused = words_of(message.get("content")), message.get("refusal")
            prompt, completion = needed_count(usage, "prompt_tokens"), needed_count(usage, "completion_tokens")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise failures.of_answer("a chat completion without choices or usage", text) from error
        if finish is None:
            raise failures.of_answer("a chat completion that didn't end", text)
        cached = count(usage, "prompt_tokens_details", "cached_tokens")
        written = count(usage, "prompt_tokens_details", "cache_write_tokens")
        ending: Ending = "refusal" if refused else ENDINGS.get(str(finish), "other")
        used = Usage(prompt=prompt - cached - written, completion=completion, cached=cached, written=written)
        listed = choice.get("logprobs")
        found = alternatives_of(listed), logprob_of(listed, completion)
        return answer_of(said, ending, model, used, self.block.thinking, *found)

    async def send(self, call: Call, seconds: float) -> str:
        return await posted(self.session, call.endpoint.removeprefix("/v1/"), call, seconds)

    async def model_facts(self) -> dict[str, Any]:
        """From the list of models: not every server has a page for each model.

        A server without a list, or with an empty one, gives no facts; `transformers serve` answers 500 if it has no
        list.

        Raises:
            Failure: The server can't be reached, refuses the key, or lists other models only.
        """
        try:
            listed = await self._requested("GET", "models", "a list of models")
        except Failure as failure:
            own = self.block.connection.base_url_env or self.block.connection.server
            if failure.status in (404, 405, 501) or (failure.status == 500 and own):
                return {}
            raise
        listing = listed.get("data")
        entries = [one for one in listing if isinstance(one, dict)] if isinstance(listing, list) else []
        models = {str(one["id"]): one for one in entries if "id" in one}
        if not models:
            return {}
        if self.model not in models:
            raise Failure("stop", f"the server has no model {self.model}, but {', '.join(sorted(models)[:9])}")
        found = models[self.model]
        return {"context": found.get("max_model_len"), "ends": found.get("shutdown_date"), "retired": False}

    async def submit(self, calls: list[Call], note: str) -> str:
        lines = [
            compact({"custom_id": call.key, "method": "POST", "url": ENDPOINT, "body": call.body}) for call in calls
        ]
        from aiohttp import FormData

        form = FormData({"purpose": "batch"})
        form.add_field("file", b"\n".join(lines) + b"\n", filename="calls.jsonl", content_type="application/jsonl")
        file = await self._requested("POST", "files", "a file", whole=False, data=form())
        order = {
            "input_file_id": name_of(file, "a file"),
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {"bezoar": note},
        }
        return name_of(await self._requested("POST", "batches", "a batch", json=order), "a batch")

    async def ended(self, batch: str) -> bool:
        job = await self._requested("GET", f"batches/{quote(batch, safe='')}", "a batch")
        if job.get("status") == "failed":
            errors = job.get("errors")
            listed = errors.get("data") if isinstance(errors, dict) else None
            said = "; ".join(str(one.get("message")) for one in listed or [] if isinstance(one, dict))
            raise Failure("stop", f"the batch {batch} failed: {said}")
        return job.get("status") in ("completed", "expired", "cancelled")

    async def results(self, batch: str) -> list[Result]:
        """From both files: answers and errors."""
        job = await self._requested("GET", f"batches/{quote(batch, safe='')}", "a batch")
        found = []
        for name in (job.get("output_file_id"), job.get("error_file_id")):
            if name:
                path = f"files/{quote(str(name), safe='')}/content"
                found += await results_at(self.session, path, self.block.connection.timeout, _result)
        return found

    async def _requested(
        self, method: str, path: str, what: str, *, whole: bool = True, **content: Any
    ) -> dict[str, Any]:
        """A response's JSON map. `what` names it in errors; `whole`: the time limit is for the whole exchange."""
        if "data" in content:
            content["headers"] = {"Content-Type": content["data"].content_type}
        seconds = self.block.connection.timeout
        return parsed(await exchanged(self.session, method, path, seconds, total=whole, **content), what)


def _result(line: dict[str, Any]) -> Result:
    response, key = line.get("response") or {}, custom_id(line)
    if response.get("status_code") == 200:
        return Result(key, stored_form(response["body"]), None)
    said = stored_form(response.get("body") or {"error": line.get("error") or {}})
    if response:
        return Result(key, None, failures.of_status(int(response.get("status_code", 500)), {}, said))
    return Result(key, None, Failure("transient", f"not answered in the batch: {said}"))
