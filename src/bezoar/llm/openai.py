"""Any endpoint that speaks OpenAI's chat completions, through the openai package."""

import json
from functools import cached_property
from typing import Any

from openai import APIStatusError, AsyncOpenAI, DefaultAioHttpClient

from bezoar.backends.base import Request
from bezoar.llm import failures, provider
from bezoar.llm.calls import Call, canonical, encoded
from bezoar.llm.environment import from_environment
from bezoar.llm.failures import Failure
from bezoar.llm.prices import Usage
from bezoar.llm.provider import Answer, Ending, Result, count, parsed
from bezoar.params.data import OpenAiBackend

ADDRESS = "https://api.openai.com/v1"
ENDPOINT = "/v1/chat/completions"
ENDINGS: dict[str, Ending] = {"stop": "stop", "length": "length", "content_filter": "refusal"}


class OpenAi(provider.Connected):
    """Chat completions."""

    name = "openai"
    path = "/v1"

    def __init__(self, block: OpenAiBackend) -> None:
        super().__init__(block)
        self.block = block

    @cached_property
    def client(self) -> AsyncOpenAI:
        """The client; made, and so the key asked for, when there is something to send."""
        connection = self.block.connection
        return AsyncOpenAI(
            api_key=from_environment(connection.api_key_env, "API key"),
            base_url=self.address or ADDRESS,  # else the package takes one from a variable
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
        if request.schema and self.block.json_schema:
            schema = {"name": "verdict", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        sample = f"{request.sample}+{tries}" if tries else request.sample
        return Call(self.name, ENDPOINT, None, canonical(body), sample)

    def read(self, text: str) -> Answer:
        """A completion's first choice."""
        data = parsed(text, "a chat completion")
        try:
            choice = data["choices"][0]
            message, finish, model, usage = choice["message"], choice["finish_reason"], data["model"], data["usage"]
            said, refused = message.get("content") or "", message.get("refusal")
            prompt, completion = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise failures.of_answer("a chat completion without choices or usage", text) from error
        if finish is None:
            raise failures.of_answer("a chat completion that didn't end", text)
        cached = count(usage, "prompt_tokens_details", "cached_tokens")
        written = count(usage, "prompt_tokens_details", "cache_write_tokens")
        ending: Ending = "refusal" if refused else ENDINGS.get(finish, "other")
        said = str(said).strip()
        used = Usage(prompt=prompt - cached - written, completion=completion, cached=cached, written=written)
        return Answer(said, "empty" if ending == "stop" and not said else ending, str(model), used)

    async def send(self, call: Call, seconds: float) -> str:
        return await provider.posted(self.session, ENDPOINT.removeprefix("/v1/"), call, seconds)

    async def model_facts(self) -> dict[str, Any]:
        """From the list of models, since not every server can be asked for one.

        A server without a list, or with an empty one, says nothing; `transformers serve` answers 500 where it has no
        list to show.

        Raises:
            Failure: The server can't be reached, refuses the key, or lists other models only.
        """
        client = self.client
        try:
            with provider.failing(APIStatusError):
                models = {model.id: model.model_dump() async for model in client.models.list()}
        except Failure as failure:
            if failure.status in (404, 405, 501) or (failure.status == 500 and self.block.connection.base_url_env):
                return {}
            raise
        if not models:
            return {}
        if self.model not in models:
            raise Failure("stop", f"the server has no model {self.model}, but {', '.join(sorted(models)[:9])}")
        found = models[self.model]
        return {"context": found.get("max_model_len"), "ends": found.get("shutdown_date"), "retired": False}

    async def submit(self, calls: list[Call], note: str) -> str:
        lines = [
            encoded({"custom_id": call.key, "method": "POST", "url": ENDPOINT, "body": call.body}) for call in calls
        ]
        client = self.client
        with provider.failing(APIStatusError):
            file = await client.files.create(file=("calls.jsonl", b"\n".join(lines) + b"\n"), purpose="batch")
            job = await client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"bezoar": note},
            )
            return job.id

    async def ended(self, batch: str) -> bool:
        client = self.client
        with provider.failing(APIStatusError):
            job = await client.batches.retrieve(batch)
        if job.status == "failed":
            said = "; ".join(str(one.message) for one in (job.errors.data if job.errors else None) or [])
            raise Failure("stop", f"the batch {batch} failed: {said}")
        return job.status in ("completed", "expired", "cancelled")

    async def results(self, batch: str) -> list[Result]:
        """Of both files: what was answered, and what wasn't."""
        client = self.client
        with provider.failing(APIStatusError):
            job = await client.batches.retrieve(batch)
            names = [name for name in (job.output_file_id, job.error_file_id) if name]
            texts = [(await client.files.content(name)).text for name in names]
            return [_result(json.loads(line)) for text in texts for line in text.split("\n") if line.strip()]


def _result(line: dict[str, Any]) -> Result:
    response, key = line.get("response") or {}, str(line["custom_id"])
    if response.get("status_code") == 200:
        return Result(key, encoded(response["body"]).decode(), None)
    said = encoded(response.get("body") or {"error": line.get("error") or {}}).decode()
    if response:
        return Result(key, None, failures.of_status(int(response.get("status_code", 500)), {}, said))
    return Result(key, None, Failure("transient", f"not answered in the batch: {said}"))
