"""A model server on loopback that fails on demand: OpenAI's chat completions, files and batches, Anthropic's messages.

A test scripts by text what requests get: `server.script("row 3", limited("1"), RESET)` gives the first request whose
last user message contains "row 3" a 429 and the second a reset connection; later ones are answered. The last part of
the module is the server; above it are the steps, a line each, and the two providers' forms.
"""

import argparse
import hashlib
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Json = dict[str, Any]

# What a body may hold. `stream` is absent from both: nothing here streams.
CHAT = set(
    "audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages metadata modalities model n "
    "parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort "
    "response_format safety_identifier seed service_tier stop store temperature tool_choice tools top_logprobs top_p "
    "user verbosity web_search_options".split()
)
MESSAGES = set(
    "cache_control container inference_geo max_tokens messages metadata model output_config service_tier "
    "stop_sequences system thinking tool_choice tools".split()
)
BATCH = {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}

# By status, or by the kind of a step: OpenAI's type and code, Anthropic's type and error_code.
ERRORS: dict[int | str, tuple[str, str | None, str, str | None]] = {
    400: ("invalid_request_error", None, "invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key", "authentication_error", None),
    403: ("invalid_request_error", "unsupported_country_region_territory", "permission_error", None),
    404: ("invalid_request_error", "model_not_found", "not_found_error", None),
    413: ("invalid_request_error", "request_too_large", "request_too_large", None),
    429: ("requests", "rate_limit_exceeded", "rate_limit_error", None),
    500: ("server_error", None, "api_error", None),
    529: ("server_error", "overloaded", "overloaded_error", None),
    "quota": ("insufficient_quota", "insufficient_quota", "rate_limit_error", "enforced_spend_limit_reached"),
    "nowhere": ("invalid_request_error", None, "not_found_error", None),
    "unknown": ("invalid_request_error", "unknown_parameter", "invalid_request_error", None),
}


@dataclass(frozen=True)
class Tokens:
    """What an answer says it used; None counts words."""

    prompt: int | None = None  # neither read from a cache nor written to one
    completion: int | None = None  # with `thought`
    cached: int = 0
    written: int = 0  # Anthropic: for five minutes
    written_hour: int = 0  # Anthropic only
    thought: int = 0


@dataclass(frozen=True)
class Step:
    """What one request gets; steps combine by `replace`."""

    status: int = 200
    text: str | None = None  # None: "answer to " and the last user message; of an error, its message
    finish: str = "stop"  # stop, length, refusal (in words), filter, or a provider's own word
    thinking: str = ""  # before the text; Anthropic's block, vLLM's reasoning_content
    tokens: Tokens = Tokens()
    lacks: str = ""  # "content" or "usage"
    body: Json | bytes | None = None  # sent as it is
    headers: dict[str, str | Callable[[], str]] = field(default_factory=dict)
    kind: str = ""  # a key of ERRORS
    wait: float = 0  # seconds before the answer
    gap: float = 0  # seconds between one byte and the next
    wire: str = ""  # cut, short, reset or hang; nothing of this happens in a batch
    line: str = ""  # of a batch: expired, canceled, missing, twice or conflict; live requests are answered


OK = Step()


def say(text: str) -> Step:
    """An answer with this text."""
    return Step(text=text)


def used(**tokens: Any) -> Step:
    """An answer with these `Tokens`."""
    return Step(tokens=Tokens(**tokens))


def status(code: int, headers: dict[str, Any] | None = None, body: Json | bytes | None = None, text: str = "") -> Step:
    """An error in the provider's form, or with this body."""
    return Step(status=code, headers=headers or {}, body=body, text=text or None)


def limited(retry_after: str | Callable[[], str]) -> Step:
    """A 429 with this Retry-After."""
    return status(429, {"Retry-After": retry_after})


def date(seconds: float) -> Callable[[], str]:
    """A header's value: the HTTP date this long after it is sent, to the second below."""
    return lambda: formatdate(time.time() + seconds, usegmt=True)


def delay(seconds: float, step: Step = OK) -> Step:
    """The step, this much later."""
    return replace(step, wait=seconds)


def hang(seconds: float) -> Step:
    """No reply for so long, then the end of the connection."""
    return Step(wait=seconds, wire="hang")


def drip(milliseconds: float) -> Step:
    """An answer byte by byte."""
    return Step(gap=milliseconds / 1000)


LENGTH = Step(finish="length")  # half the text
REFUSAL = Step(text="I can't help with that.", finish="refusal")
FILTERED = Step(text="", finish="filter")  # OpenAI's content filter, and Anthropic's empty content
THINKING = Step(thinking="Let me see.")
THINKING_ONLY = Step(text="", thinking="Let me see.")
QUOTA = Step(429, kind="quota")
NO_RETRY = status(500, {"x-should-retry": "false"})
HTML502 = status(502, body=b"<html>bad gateway</html>")
HTML200 = status(200, body=b"<html>maintenance</html>")
EMPTY = Step(lacks="content")
NO_USAGE = Step(lacks="usage")
CUT_JSON = Step(wire="cut")
SHORT_BODY = Step(wire="short")
RESET = Step(wire="reset")
EXPIRED, CANCELED, MISSING, TWICE, CONFLICT = (
    Step(line=line) for line in ("expired", "canceled", "missing", "twice", "conflict")
)


@dataclass(frozen=True)
class Ending:
    """How a batch goes."""

    polls: int = 0  # so many find it in progress
    status: str = "completed"  # or failed, expired, cancelled: OpenAI's words; Anthropic's are `ended` and the lines'
    done: int | None = None  # so many lines, in the order sent, got their turn; None: all
    unknown: int = 0  # so many lines more, with ids that nobody sent
    shuffled: bool = True
    relative: bool = False  # Anthropic's results_url


@dataclass
class Batch:
    """A batch that was created, with the lines of its results."""

    id: str
    claude: bool
    sent: dict[str, Json]  # custom id: body
    ending: Ending
    good: list[Json]
    bad: list[Json]
    polls: int = 0

    def line(self, name: str, status: int, content: Json) -> Json:
        """An answer or an error as a line of the results."""
        if self.claude:
            kind = {"type": "succeeded", "message": content} if status == 200 else {"type": "errored", "error": content}
            return {"custom_id": name, "result": kind}
        reply = {"status_code": status, "request_id": f"req_{self.id}", "body": content}
        return {"id": f"req_{self.id}", "custom_id": name, "response": reply, "error": None}


@dataclass
class Call:
    """A request, with what it was sent in return; status 0 is nothing."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: Json
    data: bytes
    time: float = field(default_factory=time.monotonic)
    status: int = 0

    @property
    def claude(self) -> bool:
        """Whether this is Anthropic's protocol."""
        return "anthropic-version" in self.headers or self.path.startswith("/v1/messages")

    @property
    def text(self) -> str:
        """The last user message."""
        return asked(self.body)

    @property
    def counts(self) -> bool:
        """Whether a model is asked."""
        return self.method == "POST" and self.path in ("/v1/chat/completions", "/v1/messages")


class Problem(Exception):
    """A request that gets an error; the argument is the step."""


def words(content: Any) -> str:
    """The text of a string or of blocks."""
    return content if isinstance(content, str) else " ".join(block.get("text", "") for block in content or [])


def asked(body: Json) -> str:
    """The last user message of a body."""
    return next((words(one["content"]) for one in body.get("messages", [])[::-1] if one["role"] == "user"), "")


def check(body: Json, allowed: set[str], needed: set[str], claude: bool) -> None:
    """Turn down keys that the API doesn't know and bodies without one that it needs."""
    for name in sorted(set(body) - allowed):
        text = f"{name}: Extra inputs are not permitted" if claude else f"Unknown parameter: '{name}'."
        raise Problem(Step(400, text, kind="unknown"))
    for name in sorted(needed - set(body)):
        text = f"{name}: Field required" if claude else f"Missing required parameter: '{name}'."
        raise Problem(Step(400, text))


def error(step: Step, claude: bool, request: str) -> Json:
    """An error in the provider's form."""
    other = ERRORS[400 if step.status < 500 else 500]
    kind, code, claude_kind, claude_code = ERRORS.get(step.kind or step.status, other)
    text = step.text or f"scripted {step.kind or step.status}"
    if not claude:
        return {"error": {"message": text, "type": kind, "code": code, "param": None}}
    details = {"details": {"error_code": claude_code}} if claude_code else {}
    return {"type": "error", "error": {"type": claude_kind, "message": text, **details}, "request_id": request}


def completion(body: Json, step: Step) -> Json:
    """OpenAI's form of an answer."""
    text, used = said(body, step), step.tokens
    prompt, given = counted(body, step, text)
    prompt += used.cached + used.written
    spoken: Json = {"role": "assistant", "content": text or (None if step.finish == "filter" else ""), "refusal": None}
    if step.finish == "refusal":
        spoken |= {"content": None, "refusal": text}
    if step.thinking:
        spoken["reasoning_content"] = step.thinking
    finish = {"refusal": "stop", "filter": "content_filter"}.get(step.finish, step.finish)
    choices = [{"index": 0, "message": spoken, "logprobs": None, "finish_reason": finish}]
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": given, "total_tokens": prompt + given}
    usage["prompt_tokens_details"] = {"cached_tokens": used.cached, "cache_write_tokens": used.written}
    usage["completion_tokens_details"] = {"reasoning_tokens": used.thought}
    head = {"id": f"chatcmpl-{digest(body)}", "object": "chat.completion", "created": 0}
    return {**head, "model": body["model"], "choices": [] if step.lacks == "content" else choices, "usage": usage}


def message(body: Json, step: Step) -> Json:
    """Anthropic's form of an answer."""
    text, used = said(body, step), step.tokens
    prompt, given = counted(body, step, text)
    blocks = [{"type": "thinking", "thinking": step.thinking, "signature": "none"}] if step.thinking else []
    blocks += [{"type": "text", "text": text}] if text else []
    reason = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal"}.get(step.finish, step.finish)
    details = {"type": "refusal", "category": "frontier_llm", "explanation": None} if reason == "refusal" else None
    usage: Json = {"input_tokens": prompt, "output_tokens": given, "cache_read_input_tokens": used.cached}
    usage["cache_creation_input_tokens"] = used.written + used.written_hour
    spans = ((5, "m", used.written), (1, "h", used.written_hour))
    usage["cache_creation"] = {f"ephemeral_{number}{unit}_input_tokens": count for number, unit, count in spans}
    usage |= {"output_tokens_details": {"thinking_tokens": used.thought}}
    head = {"id": f"msg_{digest(body)}", "type": "message", "role": "assistant", "model": body["model"]}
    ending = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
    return {**head, "content": [] if step.lacks == "content" else blocks, **ending, "usage": usage}


def said(body: Json, step: Step) -> str:
    """The text of an answer."""
    text = f"answer to {asked(body)}" if step.text is None else step.text
    return text[: len(text) // 2] if step.finish == "length" else text


def counted(body: Json, step: Step, text: str) -> tuple[int, int]:
    """Tokens of the prompt and of the answer: the step's, or words."""
    told = [body.get("system"), *(one["content"] for one in body["messages"])]
    spent, given = sum(len(words(one).split()) for one in told), len(f"{step.thinking} {text}".split())
    used = step.tokens
    return spent if used.prompt is None else used.prompt, given if used.completion is None else used.completion


def digest(body: Json) -> str:
    """An id that equal bodies share."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]


class Faults:
    """The server; `with Faults() as server:` starts and stops it. What a test sets, it sets before requests come."""

    def __init__(self, port: int = 0, latency: float = 0) -> None:
        self.latency = latency
        self.bad_key = "bad-key"
        self.models: dict[str, Json] = {"rules": {}}
        self.endings: list[Ending] = []  # of the next batches, one each
        self.calls: list[Call] = []
        self.batches: list[Batch] = []
        self.files: dict[str, bytes] = {}
        self.usage = {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self.busiest = 0
        self.scripts: dict[str, tuple[deque[Step], Step]] = {}
        self.default = OK
        self.flying: set[int] = set()
        self.lock, self.requests = threading.RLock(), 0
        self.http = Http(("127.0.0.1", port), type("Bound", (Handler,), {"server_of": self}))
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "Faults":
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def script(self, text: str, *steps: Step, after: Step = OK) -> None:
        """Give requests whose last user message contains the text these steps in order, then `after` for ever.

        Where several texts fit, the longest decides. A text like "POST /v1/batches" is for other requests than a
        model's: it fits those that begin with it. An error keeps a batch from being created, a lost reply doesn't.
        """
        with self.lock:
            self.scripts[text] = (deque(steps), after)

    def always(self, step: Step) -> None:
        """Give every request of a model that no script fits this step."""
        self.default = step

    def hits(self, text: str = "") -> int:
        """Live requests so far whose last user message contains the text, whatever became of them."""
        return sum(text in call.text for call in list(self.calls))

    def stats(self) -> Json:
        """Counts, for a test that runs in another process than the server."""
        with self.lock:
            texts = Counter(call.text for call in self.calls)
            return {"calls": len(self.calls), "usage": self.usage, "texts": texts}

    def answer(self, call: Call, request: str, wait: Callable[[float], None]) -> tuple[int, Json | bytes, Step]:
        """Status, content and the step that led to them."""
        step = OK
        try:
            self.admit(call)
            if call.counts:
                self.validate(call.body, call.claude)
                step = self.draw(call.text)
            else:
                step = self.draw(f"{call.method} {call.path}", live=False)
            wait(self.latency + step.wait)
            if step.status != 200:
                raise Problem(step)
            with self.lock:
                return 200, step.body if step.body is not None else self.route(call, step), step
        except Problem as problem:
            step = problem.args[0]
            return step.status, step.body if step.body is not None else error(step, call.claude, request), step

    def admit(self, call: Call) -> None:
        """Ask for a key."""
        key = call.headers.get("x-api-key") or call.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if key in ("", self.bad_key):
            raise Problem(status(401, text="no key came" if not key else "this key is not valid"))

    def validate(self, body: Json, claude: bool) -> None:
        """Turn down what the provider would."""
        needed = {"model", "messages", "max_tokens"} if claude else {"model", "messages"}
        check(body, MESSAGES if claude else CHAT, needed, claude)

    def draw(self, text: str, live: bool = True) -> Step:
        """The next step for a user text, or for a method and a path."""
        with self.lock:
            fits = [one for one in self.scripts if (one in text if live else one and text.startswith(one))]
            if not fits:
                return self.default if live else OK
            steps, after = self.scripts[max(fits, key=len)]
            return steps.popleft() if steps else after

    def land(self, call: Call, content: Any, whole: bool) -> None:
        """End a call before its last byte is sent, or the client's next one would overlap; bill what it can read."""
        with self.lock:
            self.flying.discard(id(call))
            if call.counts and call.status == 200 and whole and isinstance(content, dict):
                self.bill(content)

    def bill(self, content: Json) -> None:
        """Count an answer's usage."""
        if used := content.get("usage"):
            kinds = ("prompt_tokens", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            self.usage["calls"] += 1
            self.usage["prompt_tokens"] += sum(used.get(kind) or 0 for kind in kinds)
            self.usage["completion_tokens"] += used.get("completion_tokens", 0) + used.get("output_tokens", 0)

    def route(self, call: Call, step: Step) -> Json | bytes:
        """What a request asks for."""
        match call.method, call.path.split("/")[1:]:
            case "POST", ["v1", "chat", "completions"] | ["v1", "messages"]:
                return self.content(call.body, call.claude, step)
            case "POST", ["v1", "files"]:
                return self.upload(call)
            case "POST", ["v1", "batches"] | ["v1", "messages", "batches"]:
                return self.shown(self.create(call), call)
            case "GET", ["v1", "models", *name]:
                return self.listed("/".join(name), call.claude)
            case "GET", ["v1", "files", name, "content"] if name in self.files:
                return self.files[name]
            case "GET", ["v1", "batches", name] | ["v1", "messages", "batches", name]:
                for batch in self.batches:
                    if batch.id == name:
                        batch.polls += 1
                        return self.shown(batch, call)
            case "GET", ["v1", "messages", "batches", name, "results"] if name in self.files:
                return self.files[name]
        raise Problem(Step(404, f"{call.method} {call.path} leads nowhere", kind="nowhere"))

    def content(self, body: Json, claude: bool, step: Step) -> Json:
        """An answer in the provider's form."""
        content = message(body, step) if claude else completion(body, step)
        if step.lacks == "usage":
            del content["usage"]
        return content

    def listed(self, name: str, claude: bool) -> Json:
        """One model, or all of them."""
        if claude:
            made: Json = {"type": "model", "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active"}
        else:
            made = {"object": "model", "created": 0, "owned_by": "faults"}
        shown = {one: {"id": one, "display_name": one, **made, **more} for one, more in self.models.items()}
        if not name:
            return {"object": "list", "data": list(shown.values()), "has_more": False}
        if name not in shown:
            raise Problem(Step(404, f"model: {name}"))
        return shown[name]

    def upload(self, call: Call) -> Json:
        """A file of a batch's requests."""
        head = b"Content-Type: " + call.headers["content-type"].encode() + b"\r\n\r\n"
        form: Any = BytesParser().parsebytes(head + call.data).get_payload()
        parts = {part.get_param("name", header="content-disposition"): part for part in form}
        if parts["purpose"].get_payload() != "batch":
            raise Problem(Step(400, "only batches have files here"))
        name, data = f"file-{len(self.files)}", parts["file"].get_payload(decode=True)
        self.files[name] = data
        return {"id": name, "object": "file", "purpose": "batch", "status": "processed"}

    def create(self, call: Call) -> Batch:
        """A batch, with its results: each line draws its step now, and is billed now."""
        body, claude = call.body, call.claude
        allowed = {"requests"} if claude else BATCH
        check(body, allowed, allowed - {"metadata", "output_expires_after"}, claude)
        if claude:
            pairs = [(one["custom_id"], one["params"]) for one in body["requests"]]
        else:
            lines = [json.loads(line) for line in self.files.get(body["input_file_id"], b"").splitlines()]
            pairs = [(one["custom_id"], one["body"]) for one in lines]
            if {(one["method"], one["url"]) for one in lines} != {("POST", body["endpoint"])}:
                raise Problem(status(400, text="each line has to be a POST to the batch's endpoint"))
        sent = dict(pairs)
        if len(sent) < len(pairs) or not all(re.fullmatch(r"[\w-]{1,64}", name) for name in sent):
            raise Problem(
                status(400, text="each custom_id has to be one of a kind, with 1 to 64 letters, digits, - and _")
            )
        ending = self.endings.pop(0) if self.endings else Ending()
        batch = Batch(f"batch_{len(self.batches)}", claude, sent, ending, [], [])
        if claude or ending.status != "failed":
            for number, name in enumerate(sent):
                self.settle(batch, number, name)
            for number in range(ending.unknown):
                self.succeed(batch, f"unknown-{number}", next(iter(sent.values())), OK)
        self.batches.append(batch)
        if claude:
            self.files[batch.id] = jsonl(batch.good + batch.bad, ending.shuffled, len(self.batches))
        for name, results in (("output", batch.good), ("errors", batch.bad)):
            self.files[f"file-{batch.id}-{name}"] = jsonl(results, ending.shuffled, len(self.batches))
        return batch

    def settle(self, batch: Batch, number: int, name: str) -> None:
        """The lines of one request in a batch's results."""
        body, ending = batch.sent[name], batch.ending
        step = self.draw(asked(body))
        if ending.done is not None and number >= ending.done:
            step = CANCELED if ending.status == "cancelled" else EXPIRED
        elif ending.status == "failed":
            step = status(500)
        try:
            self.validate(body, batch.claude)
        except Problem as problem:
            step = problem.args[0]
        if step.line in ("expired", "canceled"):
            word = "cancelled" if step.line == "canceled" else step.line
            why = {"code": f"batch_{word}", "message": f"This request was not executed: the batch is {word}."}
            result = {"result": {"type": step.line}} if batch.claude else {"response": None, "error": why}
            batch.bad.append({"id": f"req_{batch.id}", "custom_id": name, **result})
        elif step.status != 200:
            batch.bad.append(batch.line(name, step.status, error(step, batch.claude, f"req_{batch.id}")))
        elif step.line != "missing":
            self.bill(self.succeed(batch, name, body, step))
            if step.line in ("twice", "conflict"):
                self.succeed(batch, name, body, step if step.line == "twice" else replace(step, text="another answer"))

    def succeed(self, batch: Batch, name: str, body: Json, step: Step) -> Json:
        """Add the line of an answer, and give the answer."""
        content = self.content(body, batch.claude, step)
        batch.good.append(batch.line(name, 200, content))
        return content

    def shown(self, batch: Batch, call: Call) -> Json:
        """A batch as the provider shows it."""
        ending, ended = batch.ending, batch.polls > batch.ending.polls
        path = f"/v1/messages/batches/{batch.id}/results"
        if batch.claude:
            return {
                "id": batch.id,
                "type": "message_batch",
                "processing_status": "ended" if ended else "in_progress",
                "results_url": ("" if ending.relative else self.address) + path if ended else None,
            }
        why = [{"code": "invalid_request", "message": "The batch failed as scripted.", "line": None, "param": None}]
        return {
            "id": batch.id,
            "object": "batch",
            "status": ending.status if ended else "in_progress" if batch.polls else "validating",
            "errors": {"object": "list", "data": why} if ended and ending.status == "failed" else None,
            "output_file_id": f"file-{batch.id}-output" if ended and batch.good else None,
            "error_file_id": f"file-{batch.id}-errors" if ended and batch.bad else None,
        }


def jsonl(entries: list[Json], shuffled: bool, seed: int) -> bytes:
    """Lines, in an order that isn't the given one if they are shuffled."""
    lines = [json.dumps(one).encode() + b"\n" for one in entries]
    if shuffled:
        random.Random(seed).shuffle(lines)
        if len(lines) > 1 and lines[0] == json.dumps(entries[0]).encode() + b"\n":
            lines.append(lines.pop(0))
    return b"".join(lines)


class Http(ThreadingHTTPServer):
    """The listener."""

    request_queue_size = 1024  # with the default of 5, a burst of connections waits for a second

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_of: Faults
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body would wait for each other

    def do_GET(self) -> None:
        """Counts, or what the providers have."""
        if self.path == "/stats":
            self.send(200, self.server_of.stats(), OK)
        else:
            self.serve(b"")

    def do_POST(self) -> None:
        """Everything else."""
        self.serve(self.rfile.read(int(self.headers["Content-Length"])))

    def serve(self, data: bytes) -> None:
        """One request: note it, answer it."""
        server, headers = self.server_of, {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(data) if headers.get("content-type", "").startswith("application/json") and data else {}
        call = Call(self.command, unquote(urlsplit(self.path).path), headers, body, data)
        with server.lock:
            server.requests += 1
            request = f"req_{server.requests}"
            if call.counts:
                server.calls.append(call)
                server.flying.add(id(call))
                server.busiest = max(server.busiest, len(server.flying))
        try:
            code, content, step = server.answer(call, request, self.wait)
            call.status = 0 if step.wire in ("reset", "hang") else code
            self.send(code, content, step, {"x-request-id": request, "request-id": request}, call)
        finally:
            server.flying.discard(id(call))

    def send(self, code: int, content: Any, step: Step, headers: Json | None = None, call: Call | None = None) -> None:
        """One response, or what is left of it."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        half = data[: len(data) // 2]
        if step.wire in ("reset", "hang"):
            if call:
                self.server_of.land(call, content, False)
            if step.wire == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(code)
        self.send_header("Content-Type", "text/html" if data.startswith(b"<") else "application/json")
        self.send_header("Content-Length", str(len(half if step.wire == "cut" else data)))
        for name, value in {**(headers or {}), **step.headers}.items():
            self.send_header(name, value if isinstance(value, str) else value())
        self.end_headers()
        if step.gap:
            for number in range(len(data) - 1):
                self.wfile.write(data[number : number + 1])
                self.wait(step.gap)
        if call:
            self.server_of.land(call, content, not step.wire)
        self.wfile.write(data[-1:] if step.gap else half if step.wire else data)
        self.close_connection |= step.wire == "short"

    def wait(self, seconds: float) -> None:
        """Pause, but not for a client that has gone: its call is over, and isn't billed."""
        if seconds:
            self.connection.settimeout(seconds)
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    raise ConnectionAbortedError("the client has gone")
            except TimeoutError:
                pass
            finally:
                self.connection.settimeout(None)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests count calls."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0, help="seconds before each answer")
    given = parser.parse_args()
    with Faults(given.port, given.latency) as running:
        print(running.address, flush=True)
        threading.Event().wait()
