"""Stored calls by the prompt that they sent: their keys, and what they cost by the ledger."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.requests.budget import MILLION
from bezoar.requests.calls import decoded
from bezoar.requests.store import ANSWERS, FOLDER, LEDGER

FACTS = ("time", "outcome", "model", "prompt_tokens", "completion_tokens")  # of a line in the ledger


@dataclass(frozen=True)
class StoredCall:
    """A call that was sent, and its response.

    Attributes:
        key: Its key.
        place: File and line of the response.
        messages: Role and text of each message.
        sent: For each time that it was sent: facts of the ledger, and `dollars`; empty if the ledger isn't here.
    """

    key: str
    place: str
    messages: tuple[tuple[str, str], ...]
    sent: tuple[dict[str, Any], ...]

    @property
    def dollars(self) -> float:
        """The cost of all times that it was sent."""
        return sum(float(one["dollars"]) for one in self.sent)


def calls_with(prompt_hash: str, stage: str, part: str, folder: Path = FOLDER) -> list[StoredCall]:
    """The stored calls with a prompt, by the time of their session; those of a job itself, else those of all jobs.

    A prompt may have been sent several times: again after a cut response, or to several models.

    Args:
        prompt_hash: Sha256 of the messages, as rows have it.
        stage: Stage of the job, such as `generate-evol`.
        part: The job's part, such as a shard.
        folder: Folder of all sessions.
    """
    for pattern in (f"{stage}/{part}-*{ANSWERS}", f"*/*{ANSWERS}"):
        found = [one for path in sorted(folder.glob(pattern)) for one in _calls_in(path, prompt_hash)]
        if found:
            return found
    return []


def messages_of(body: Any) -> tuple[tuple[str, str], ...]:
    """Role and text of each message in a request's body, the system's first; none if it is of another form."""
    if not isinstance(body, dict):
        return ()
    head = [{"role": "system", "content": body["system"]}] if "system" in body else []
    messages = body.get("messages")
    found = [*head, *(messages if isinstance(messages, list) else [])]
    texts = [(one.get("role"), one.get("content")) for one in found if isinstance(one, dict)]
    return tuple((role, text) for role, text in texts if isinstance(role, str) and isinstance(text, str))


def _calls_in(path: Path, prompt_hash: str) -> Iterator[StoredCall]:
    for number, record in _lines(path):
        messages, key = messages_of(record.get("request")), record.get("key")
        if isinstance(key, str) and _hash(messages) == prompt_hash:
            yield StoredCall(key, f"{path}:{number}", messages, tuple(_sent(path, key)))


def _hash(messages: tuple[tuple[str, str], ...]) -> str:
    """As `Request.prompt_hash`."""
    return hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()


def _sent(answers: Path, key: str) -> Iterator[dict[str, Any]]:
    """The lines of a key in the ledger of a session."""
    ledger = Path(f"{str(answers).removesuffix(ANSWERS)}{LEDGER}")
    for _, line in _lines(ledger) if ledger.exists() else ():
        if line.get("key") == key and "outcome" in line:
            micro = line.get("micro", line.get("perhaps_micro", 0))
            yield {name: line.get(name) for name in FACTS} | {
                "dollars": micro / MILLION if isinstance(micro, int) else 0.0
            }


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete lines of a file of a session."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            with suppress(ValueError):
                data = decoded(line)
                if isinstance(data, dict):
                    yield number, data
