"""The ledger: a line for each request that was sent, with its outcome and its cost."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.costs import spend
from bezoar.logs import logger
from bezoar.requests.budget import MILLION, Amount
from bezoar.requests.calls import Call
from bezoar.requests.failures import Failure
from bezoar.requests.index import LEDGER
from bezoar.requests.prices import Price
from bezoar.requests.store import FOLDER, Appender, lines_of

if TYPE_CHECKING:
    from bezoar.requests.provider import Answer  # brings an HTTP client, which plans don't need


class Ledger:
    """The lines of a session.

    Args:
        file: Where the lines go.
        price: The model's.
        batch: Whether requests are sent in batches, at the price for batches.
    """

    def __init__(self, file: Appender, price: Price, *, batch: bool) -> None:
        self.file, self.price, self.batch = file, price, batch
        self._spent: Counter[str] = Counter()
        self._replaced = 0  # characters

    def answered(self, call: Call, answer: "Answer", *, believed: bool = True) -> Amount:
        """Write down an answer, and return its usage; `believed` unless the server's count was replaced."""
        usage = answer.usage
        micro = self.price.micro(usage, batch=self.batch)
        tokens = {"prompt_tokens": usage.read, "cached_tokens": usage.cached, "completion_tokens": usage.completion}
        written = {"written_tokens": usage.written, "written_1h_tokens": usage.written_1h}
        tokens |= {name: count for name, count in written.items() if count}
        marks: dict[str, Any] = {} if believed else {"usage": "not believed"}
        if answer.replaced:
            marks["replaced_characters"] = answer.replaced
        self._add(call, answer.ending, {**tokens, "micro": micro, "model": answer.model, **marks})
        self._spent.update(prompt_tokens=usage.read, completion_tokens=usage.completion, micro=micro)
        self._replaced += answer.replaced
        return Amount(micro, usage.read + usage.completion)

    def failed(self, call: Call, failure: Failure, worst: Amount) -> Amount:
        """Write down a failure, and return the most that it may have used."""
        facts = {"status": failure.status, "detail": failure.detail}
        if not failure.perhaps_billed:
            self._add(call, failure.kind, facts)
            return Amount()
        self._add(call, failure.kind, {**facts, "perhaps_micro": worst.micro, "perhaps_tokens": worst.tokens})
        return worst

    def batch_created(self, batch: str, provider: str, keys: list[str]) -> None:
        """Write down, and sync to disk, that a batch was submitted."""
        self.file.add({"time": _now(), "event": "batch created", "batch": batch, "provider": provider, "keys": keys})
        self.file.sync()

    def batch_settled(self, batch: str) -> None:
        """Write down that all of a batch's calls are stored or failed."""
        self.file.add({"time": _now(), "event": "batch settled", "batch": batch})
        self.file.sync()

    def report(self) -> None:
        """Report to the job's record what was spent since the last call, and to the log what was replaced."""
        if self._replaced:
            logger.warning(f"{self._replaced:,} broken characters in answers were replaced by U+FFFD")
            self._replaced = 0
        if self._spent:
            spent, self._spent = self._spent, Counter()
            dollars = spent.pop("micro") / MILLION
            spend(**spent, dollars=dollars)

    def _add(self, call: Call, outcome: str, facts: dict[str, Any]) -> None:
        line = {"time": _now(), "key": call.key, "outcome": outcome, "asked": call.body["model"], "batch": self.batch}
        self.file.add({**line, "price_since": self.price.since.isoformat(), **facts})


@dataclass
class Total:
    """The totals of a stage's lines.

    Attributes:
        outcomes: Requests by outcome.
        perhaps_micro: The most that requests without a whole answer may have cost in addition.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    micro: int = 0
    perhaps_micro: int = 0

    def add(self, line: dict[str, Any]) -> None:
        """Add a line."""
        if "outcome" in line:
            self.outcomes[str(line["outcome"])] += 1
            self.answers += "micro" in line
            for name in ("prompt_tokens", "completion_tokens", "micro", "perhaps_micro"):
                setattr(self, name, getattr(self, name) + _number(line.get(name)))


def totals(folder: Path = FOLDER, model: str | None = None) -> dict[str, Total]:
    """The total of each stage; of one model, if given."""
    found: dict[str, Total] = {}
    for path, line in lines_of(folder, LEDGER):
        if model in (None, line.get("asked")):
            found.setdefault(path.parent.name, Total()).add(line)
    return found


def table(folder: Path = FOLDER) -> str:
    """The totals as text."""
    head = ["stage", "answers", "prompt tokens", "completion tokens", "dollars", "perhaps besides", "outcomes"]
    lines = [head]
    for name, one in sorted(totals(folder).items()):
        amounts = [f"{one.answers:,}", f"{one.prompt_tokens:,}", f"{one.completion_tokens:,}"]
        dollars = [f"{micro / MILLION:,.4f}" for micro in (one.micro, one.perhaps_micro)]
        outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(one.outcomes.items()))
        lines.append([name, *amounts, *dollars, outcomes])
    if len(lines) == 1:
        return f"no answers are stored in {folder}/"
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:-1]), line[-1]]).rstrip()
        for line in lines
    )


def _number(value: Any) -> int:
    """A number of a ledger's line; 0 for anything else, since others may have written it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
