"""A model server on loopback for benchmarks: OpenAI's chat completions after a fixed latency, at minimal CPU cost.

$ python benchmarks/llm_server.py --port 8123 --latency 0.2 --limit 500

It prints its address once it listens. Equal prompts get equal answers: a digest of the prompt's words, and these words
backwards. Words count as tokens. Calls above --limit in any one second get 429 and `Retry-After: 1` at once, and aren't
billed. `GET /stats` tells of the calls since the start or the last `POST /reset`, with the seconds from the first to
the last answer, and the CPU time of this process. What isn't a completion, such as a probe without messages, gets 400.

HTTP is read by hand, which takes half of aiohttp's CPU time. A body needs Content-Length, and a connection's next
request waits for the answer to its last.
"""

import argparse
import asyncio
import hashlib
import json
import resource
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}
MODELS = {"object": "list", "data": [{"id": "bench", "object": "model", "created": 0, "max_model_len": 8192}]}


@dataclass
class Counts:
    """Counts since the last reset."""

    calls: int = 0  # whatever became of them
    above_limit: int = 0  # of these, refused
    invalid: int = 0  # not in `calls`
    most_in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    bodies: set[bytes] = field(default_factory=set)  # digests
    first: float = 0.0
    last: float = 0.0
    cpu: float = field(default_factory=time.process_time)

    def shown(self) -> dict[str, Any]:
        """The counts as JSON."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("bodies", "first", "last", "cpu")}
        taken = {"seconds": max(self.last - self.first, 0.0), "cpu_seconds": time.process_time() - self.cpu}
        return {**numbers, "distinct_bodies": len(self.bodies), **{name: round(taken[name], 3) for name in taken}}


@dataclass
class Service:
    """The shared state of all connections."""

    latency: float
    limit: int  # calls a second; 0 for any number
    counts: Counts = field(default_factory=Counts)
    busy: int = 0
    taken: deque[float] = field(default_factory=deque)  # times of the last second's calls within the limit

    def admits(self, now: float) -> bool:
        """Whether one more call is within the limit; if so, it counts."""
        while self.taken and now - self.taken[0] >= 1:
            self.taken.popleft()
        if self.limit and len(self.taken) >= self.limit:
            return False
        self.taken.append(now)
        return True


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request; the request needs a message."""
    contents = [body["messages"][0]["content"], *(message["content"] or "" for message in body["messages"][1:])]
    texts = [one if isinstance(one, str) else " ".join(part.get("text", "") for part in one) for one in contents]
    words = " ".join(texts).split()
    name = hashlib.md5(" ".join(words).encode(), usedforsecurity=False).hexdigest()
    text = f"Answer {name}: {' '.join(words[::-1])}"
    spent, given = len(words), len(words) + 2
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "bench"),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": spent, "completion_tokens": given, "total_tokens": spent + given},
    }


def response(status: int, content: dict[str, Any] | str, more: str = "") -> bytes:
    """A whole response: an object, or an error with a message; `more` is for further headers."""
    shown = {"error": {"message": content, "type": "error", "code": status}} if isinstance(content, str) else content
    data = json.dumps(shown).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(data)}"
    return f"{head}\r\n\r\n".encode() + data


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, service: Service) -> None:
        self.service, self.came = service, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.came += data
        while (end := self.came.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.came[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
            stop = end + 4 + int(headers.get("content-length", 0))
            if len(self.came) < stop:
                return
            body = bytes(self.came[end + 4 : stop])
            del self.came[:stop]
            self.handle(first.rpartition(" ")[0], body)

    def handle(self, asked: str, body: bytes) -> None:
        """Answer a request, a completion after the latency."""
        if asked == "POST /v1/chat/completions":
            self.call(body)
        elif asked == "GET /v1/models":
            self.transport.write(response(200, MODELS))
        elif asked == "GET /stats":
            self.transport.write(response(200, self.service.counts.shown()))
        elif asked == "POST /reset":
            self.service.counts = Counts(most_in_flight=self.service.busy)
            self.service.taken.clear()
            self.transport.write(response(200, {}))
        else:
            self.transport.write(response(404, "no such path"))

    def call(self, body: bytes) -> None:
        """Count a completion, and answer it later."""
        service, counts, loop = self.service, self.service.counts, asyncio.get_running_loop()
        now = loop.time()
        try:
            answer = completion(json.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            counts.invalid += 1
            self.transport.write(response(400, f"not a request for a completion: {error!r}"))
            return
        counts.first = counts.first if counts.calls else now
        counts.calls += 1
        counts.bodies.add(hashlib.md5(body, usedforsecurity=False).digest())
        if not service.admits(now):
            counts.above_limit += 1
            self.transport.write(response(429, f"rate limit: {service.limit} calls a second", "Retry-After: 1\r\n"))
            return
        service.busy += 1
        counts.most_in_flight = max(counts.most_in_flight, service.busy)
        counts.prompt_tokens += answer["usage"]["prompt_tokens"]
        counts.completion_tokens += answer["usage"]["completion_tokens"]
        loop.call_at(now + service.latency, self.answer, response(200, answer), counts)

    def answer(self, data: bytes, counts: Counts) -> None:
        """Send a completion that is due; it counts as billed even if the client is gone."""
        self.service.busy -= 1
        counts.last = asyncio.get_running_loop().time()
        if not self.transport.is_closing():
            self.transport.write(data)


async def serve(port: int, latency: float, limit: int) -> None:
    """Listen until killed."""
    service = Service(latency, limit)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", port, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of each call; default: %(default)s")
    parser.add_argument("--limit", type=int, default=0, help="calls a second; 0, the default, for any number")
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    asyncio.run(serve(args.port, args.latency, args.limit))


if __name__ == "__main__":
    main()
