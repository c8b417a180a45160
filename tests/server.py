"""A model server on loopback for tests: OpenAI's chat completions and Anthropic's messages, answered by rules.

The text of a request alone decides the answer: equal requests get equal bytes. It writes, rewrites, compares, filters
and judges as recipes/prompts/openbezoar-3b and FastChat's judge prompts ask for, with the slips that models make.
A line `server: WORD` asks for one outcome: length, refusal, filtered, thinking, html, fail or slow.
"""

import argparse
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WISH = re.compile(r"^server: (\w+)$", re.MULTILINE)
EXAMPLE = re.compile(r"^<example>(.*?)</example>$", re.DOTALL | re.MULTILINE)
REWRITE = re.compile(r"Starting request:\n(.*?)\n+\w+ request:\s*$", re.DOTALL)
CODES = re.compile(r"^- (\w+): ", re.MULTILINE)
SINGLE = re.compile(r"\[The Start of Assistant's Answer\]\n(.*)\n\[The End of Assistant's Answer\]", re.DOTALL)
SECOND = re.compile(r".*### Assistant A:\n(.*)\n\n<\|The End of Assistant A's Conversation with User\|>", re.DOTALL)

MODELS = ("writer", "teacher", "judge", "test-teacher", "test-filter")  # that tests reach as OpenAI's


@dataclass(frozen=True)
class Answer:
    """What the model says, and how it ends: stop, length, refusal (in words) or filtered (without any)."""

    text: str
    end: str = "stop"


def draw(text: str, sides: int) -> int:
    """A die whose throw depends on the text alone, from 0 to sides - 1."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % sides


def listing(prompt: str) -> Answer:
    """Four instructions of the examples' words; now and then an echo, a line without tags or an unclosed last item."""
    examples = [text.split() for text in EXAMPLE.findall(prompt)]
    lines = []
    for number in range(4):
        first, second = examples[number % len(examples)], examples[(number + 1) % len(examples)]
        words = [*first[: 3 + draw(f"{prompt}{number}", 6)], *second[-5 - number :]]
        lines.append(f"<example>{number + 1}. {' '.join(words)}</example>")
    slip = draw(prompt, 5)
    if slip == 0:
        lines[1] = f"<example>{' '.join(examples[0])}</example>"
    elif slip == 1:
        lines[2] = lines[2].removeprefix("<example>").removesuffix("</example>")
    elif slip == 2:
        return Answer("\n".join(lines).removesuffix("</example>"), "length")
    return Answer("\n".join(lines))


def skills(prompt: str) -> Answer:
    """Five skills of the prompt's words, as a list in Markdown; now and then a sentence between them."""
    words = sorted(set(re.findall(r"\w{5,}", prompt)), key=lambda word: draw(prompt + word, 10**6))[:5]
    lines = [f"{number}. Knowing about {word}" for number, word in enumerate(words, start=1)]
    if draw(prompt, 3) == 0:
        lines.insert(2, "- This one takes more than the eight words of a name.")
    return Answer("\n".join(lines))


def rewrite(instruction: str) -> Answer:
    """A longer instruction; one in six is a copy, one in six repeats a label of the prompt."""
    slip = draw(instruction, 6)
    label = "Reworked request: " if slip == 0 else ""
    more = f" Name {draw(instruction, 7) + 2} reasons and write for a reader of {draw(instruction, 60) + 10} years."
    return Answer(instruction if slip == 1 else f"{label}{instruction}{more}")


def verdict(prompt: str, codes: list[str]) -> Answer:
    """A verdict as JSON: a third reject, three in twenty are wrapped in prose, one in twenty can't be read."""
    rejected = draw(prompt, 3) == 0
    found = {"reasons": [codes[draw(prompt, len(codes))]], "reason": "One is not met.", "rating": 3, "status": "reject"}
    text = json.dumps(found if rejected else {"reasons": [], "reason": "All are met.", "rating": 8, "status": "accept"})
    slip = draw(f"slip {prompt}", 20)
    if slip == 0:
        return Answer(text[: len(text) // 2])
    return Answer(f"I went through {{each}} of them.\n{text}\nThat is all." if slip < 4 else text)


def judgment(prompt: str) -> Answer:
    """An explanation and a rating: 1 for no answer, 2 for one that mentions ratings; one in fifty has none."""
    found = SINGLE.search(prompt) or SECOND.search(prompt)
    answer = found.group(1).strip() if found else ""
    if answer and draw(f"slip {prompt}", 50) == 0:
        return Answer("I can't decide how good this is.")
    rating = 1 if not answer else 2 if "[[" in answer else 3 + draw(prompt, 7)
    return Answer(f"The answer has {len(answer.split())} words.\n\nRating: [[{rating}]]")


def response(instruction: str) -> Answer:
    """Words of the instruction in another order; one in twelve is a refusal, one in twelve is cut."""
    words = sorted(set(re.findall(r"\w+", instruction)), key=lambda word: draw(instruction + word, 10**6))[:40]
    text, slip = f"Here is what I think of {', '.join(words)}.", draw(instruction, 12)
    if slip == 0:
        return Answer("I'm sorry, but I can't help with that.")
    return Answer(text[: len(text) // 2], "length") if slip == 1 else Answer(text)


def answer_to(system: str, user: str, schema: dict[str, Any] | None, tokens: int) -> Answer:
    """The answer to a request, cut to its token limit, in words."""
    if schema or '"status"' in user:
        answer = verdict(user, schema["properties"]["reasons"]["items"]["enum"] if schema else CODES.findall(user))
    elif "[[rating]]" in system + user:
        answer = judgment(user)
    elif EXAMPLE.search(user):
        answer = listing(user)
    elif "Write one skill on each line" in user:
        answer = skills(user)
    elif found := REWRITE.search(user):
        answer = rewrite(found.group(1))
    elif "the word Equal" in user:
        answer = Answer("Equal." if draw(user, 7) == 0 else "Not Equal.")
    else:
        answer = response(user)
    if wish(user) in ("length", "refusal", "filtered"):
        return replace(answer, end=wish(user))
    words = answer.text.split(" ")
    return Answer(" ".join(words[:tokens]), "length") if len(words) > tokens else answer


def wish(text: str) -> str:
    """The word after `server:`; empty if there is none."""
    return WISH.findall(text)[-1] if WISH.search(text) else ""


def texts(body: dict[str, Any], role: str) -> str:
    """What a role says in a request."""
    return "\n".join(one["content"] for one in body["messages"] if one["role"] == role)


def digits(body: dict[str, Any]) -> dict[str, Any]:
    """Log-probabilities of the first token, if they are wanted: of a digit and the next one, or now and then a word."""
    if not body.get("top_logprobs"):
        return {}
    user = texts(body, "user")
    first = 1 + draw(user, 5)
    tokens = (
        [("The", 0.0)] if draw(f"slip {user}", 40) == 0 else [(str(first), -0.3566749), (str(first + 1), -1.2039728)]
    )
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in tokens]
    return {"logprobs": {"content": [listed[0] | {"top_logprobs": listed}]}}


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's form of an answer."""
    system, user = texts(body, "system"), texts(body, "user")
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    answer = answer_to(system, user, schema, body.get("max_tokens") or body["max_completion_tokens"])
    words = {"content": None, "refusal": answer.text} if answer.end == "refusal" else {"content": answer.text}
    finish = {"filtered": "content_filter", "refusal": "stop"}.get(answer.end, answer.end)
    spent, given = len(f"{system} {user}".split()), len(answer.text.split())
    return {
        "id": f"chatcmpl-{draw(user, 10**9)}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", **words}, "finish_reason": finish, **digits(body)}],
        "usage": {"prompt_tokens": spent, "completion_tokens": given, "total_tokens": spent + given},
    }


def message(body: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's form of an answer."""
    user, schema = texts(body, "user"), body.get("output_config", {}).get("format", {}).get("schema")
    answer = answer_to(body.get("system", ""), user, schema, body["max_tokens"])
    thinking = [{"type": "thinking", "thinking": "Let me see.", "signature": ""}] if wish(user) == "thinking" else []
    return {
        "id": f"msg_{draw(user, 10**9)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [*thinking, {"type": "text", "text": answer.text}],
        "stop_reason": {"stop": "end_turn", "length": "max_tokens"}.get(answer.end, "refusal"),
        "usage": {"input_tokens": len(user.split()), "output_tokens": len(answer.text.split())},
    }


class Server:
    """The server, with the bodies of the requests that came; `with Server() as server:` starts and stops it."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.lock, self.busy, self.busiest = threading.Lock(), 0, 0  # requests in flight, now and at most
        self.http = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"server_of": self}))
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def hits(self) -> int:
        """Requests so far, whatever became of them."""
        return len(self.bodies)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_of: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body would wait for each other

    def do_GET(self) -> None:
        """The list of models, or one of them: any name is known."""
        version, models, *name = self.path.removeprefix("/").split("/")
        if (version, models) != ("v1", "models") or len(name) > 1:
            self.send(404, {"error": {"message": "no such path"}})
        elif name:
            self.send(
                200, {"id": name[0], "type": "model", "display_name": name[0], "created_at": "2026-01-01T00:00:00Z"}
            )
        else:
            known = [{"id": one, "object": "model", "created": 0, "owned_by": "tests"} for one in MODELS]
            self.send(200, {"object": "list", "data": known})

    def do_POST(self) -> None:
        """A completion or a message."""
        body, server = json.loads(self.rfile.read(int(self.headers["Content-Length"]))), self.server_of
        with server.lock:
            server.bodies.append(body)
            server.busy += 1
            server.busiest = max(server.busy, server.busiest)
        form = {"/v1/chat/completions": completion, "/v1/messages": message}.get(self.path)
        key = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        wanted = wish(texts(body, "user"))
        time.sleep(0.3 if wanted == "slow" else 0)
        with server.lock:
            server.busy -= 1
        if form is None or not key or wanted == "fail":
            status, why = (404, "no such path") if form is None else (400, "as wished") if key else (401, "no key came")
            self.send(status, {"error": {"message": why}})
        else:
            self.send(200, b"<html>maintenance</html>" if wanted == "html" else form(body))

    def send(self, status: int, content: dict[str, Any] | bytes) -> None:
        """One response, JSON or HTML."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if data is content else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests count hits."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with Server(parser.parse_args().port) as running:
        print(running.address, flush=True)
        threading.Event().wait()
