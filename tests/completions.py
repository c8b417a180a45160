"""A server that has loaded a model, on loopback: OpenAI's chat completions and completions, in vLLM's form.

It decodes greedily, one request at a time. `echo` with `logprobs` gives log-probabilities of the prompt's tokens.
"""

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class ModelServer:
    """The server, with the paths and bodies of the requests that came; `with` starts and stops it.

    Attributes:
        refusal: A status and words for each completion; None to answer.
    """

    def __init__(self, folder: Path, key: str, port: int = 0) -> None:
        from bezoar.steps import models  # slow to import

        self.model = models.load(folder, "float32").eval()
        self.tokenizer = models.load_tokenizer(folder)
        models.ignore_generation_config(self.model, self.tokenizer)
        self.ends = models.end_tokens(self.model, self.tokenizer)
        self.key, self.asked, self.lock = key, list[tuple[str, Json]](), threading.Lock()
        self.refusal: tuple[int, str] | None = None
        self.http = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"server_of": self}))
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "ModelServer":
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def chat(self, body: Json) -> Json:
        """A chat completion under the model's own template."""
        ids = self.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        limit = body.get("max_tokens") or body["max_completion_tokens"]
        if len(ids) + limit > self.model.config.max_position_embeddings:
            raise ValueError("prompt and answer are longer than the model's context")
        written, finish = self.written(ids, limit)
        message = {"role": "assistant", "content": self.tokenizer.decode(written, skip_special_tokens=True)}
        choice = {"message": message, "finish_reason": finish}
        if body.get("logprobs"):
            own = self.logprobs([*ids, *written])["token_logprobs"][len(ids) :] if written else []
            choice["logprobs"] = {"content": [{"token": "t", "logprob": one, "top_logprobs": []} for one in own]}
        return self.form(body, ids, written, choice)

    def text(self, body: Json) -> Json:
        """A completion of the tokens of one prompt."""
        (ids,) = body["prompt"]
        written, finish = self.written(ids, body["max_tokens"])
        choice: Json = {"finish_reason": finish, "logprobs": None}
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        for stop in body.get("stop") or []:
            text = text.split(stop)[0]
        if body.get("logprobs"):
            choice["logprobs"] = self.logprobs([*ids, *written] if body.get("echo") else written)
        return self.form(body, ids, written, choice | {"text": text})

    def written(self, ids: list[int], limit: int) -> tuple[list[int], str]:
        """The most likely tokens, without an end token, and why they end."""
        import torch

        with torch.inference_mode():
            drawn = self.model.generate(
                input_ids=torch.tensor([ids]), max_new_tokens=limit, do_sample=False, eos_token_id=self.ends
            )[0, len(ids) :].tolist()
        return (drawn[:-1], "stop") if drawn[-1] in self.ends else (drawn, "length")

    def logprobs(self, ids: list[int]) -> Json:
        """Of each token but the first, with the most likely one in its place."""
        import torch

        with torch.inference_mode():
            scores = torch.log_softmax(self.model(torch.tensor([ids])).logits[0].float(), dim=-1)
        own = [scores[place, token].item() for place, token in enumerate(ids[1:])]
        best = [{"token:best": row.max().item(), "token:own": one} for row, one in zip(scores, own, strict=False)]
        return {"token_logprobs": [None, *own], "top_logprobs": [None, *best]}

    def form(self, body: Json, ids: list[int], written: list[int], choice: Json) -> Json:
        """What chat completions and completions have in common."""
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return {"id": "1", "model": body["model"], "choices": [{"index": 0, **choice}], "usage": usage}

    def answer(self, path: str, key: str, body: Json) -> tuple[int, Json]:
        """Status and content for a request."""
        with self.lock:
            self.asked.append((path, body))
            if key != self.key:
                return 401, {"error": {"message": f"no such key: {key}"}}
            if self.refusal:
                return self.refusal[0], {"error": {"message": self.refusal[1]}}
            try:
                return 200, {"/v1/chat/completions": self.chat, "/v1/completions": self.text}[path](body)
            except ValueError as error:
                return 400, {"error": {"message": str(error)}}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_of: ModelServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body would wait for each other

    def do_GET(self) -> None:
        """Health, and no list of models."""
        self.send(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        """A completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.send(*self.server_of.answer(self.path, key, body))

    def send(self, status: int, content: Json) -> None:
        """One response."""
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    with ModelServer(given.model, os.environ["BEZOAR_SERVER_SECRET"], given.port):
        threading.Event().wait()
