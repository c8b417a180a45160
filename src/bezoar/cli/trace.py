"""`bezoar trace`: where a row is from, and what became of it."""

import argparse
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bezoar.text import printable, show

if TYPE_CHECKING:
    from bezoar.audit.find import Found
    from bezoar.audit.trace import Trace
    from bezoar.cli import Commands

SHOWN = 600  # characters of a text
LABEL = 18
INDENT = " " * LABEL
COLUMNS = ("instruction", "context", "response")  # of rows with these texts; those of other rows:
TRAINED = ("prompt", "completion", "chosen", "rejected", "gold")
OTHERS = ("messages", "chosen", "rejected", "gold", "text", "value")


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "trace",
        help="where a row is from: its seed, prompt, response, verdict, and what it cost",
        description="Goes from a training row back to its seed and the source's file, with prompt, response, verdict, "
        "and the calls that were paid for it; or from a row that was left out to its reason.",
    )
    parser.add_argument("row", metavar="ROW", help="an id, its first digits, or FILE:LINE, as `bezoar rows` prints it")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the row's way, the last step first."""
    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.audit.redact import without_secrets
    from bezoar.audit.trace import trace

    found = trace(args.row, recipes.load())
    show(json.dumps(without_secrets(found.data()), indent=2) if args.json else "\n".join(_lines(found)))
    return 0


def _lines(found: "Trace") -> Iterator[str]:
    yield f"row {printable(found.steps[0].id or 'without an id', lines=False)}"
    for one in found.steps:
        yield from _entry(f"{one.step.kind} {one.step.name}", one, found)
    for one in found.ancestors:
        yield from _entry("made from", one, found)
    for label, text in _texts(found):
        yield from _block(label, text)
    for role, call in found.calls:
        yield from _block(f"prompt, {role}", "\n".join(f"[{name}] {text}" for name, text in call.messages))
        yield f"{f'call, {role}':<{LABEL}}{call.key}"
        yield f"{'':<{LABEL}}${call.dollars:.6f}, {call.place}"
        for sent in call.sent:
            tokens = f"{sent['prompt_tokens']} + {sent['completion_tokens']} tokens"
            yield printable(f"{INDENT}{sent['time']}: {sent['outcome']}, {sent['model']}, {tokens}", lines=False)
    yield from (printable(f"note: {text}", lines=False) for text in found.missing)


def _entry(label: str, one: "Found", found: "Trace") -> Iterator[str]:
    """A row in one step: where it is, and what the step says of it, which may quote the row."""
    from bezoar.audit.redact import without_secrets

    yield printable(f"{label:<{LABEL - 2}}  {one.place}", lines=False)
    facts = [f"left out: {': '.join(filter(None, (one.reason, one.detail)))}"] if one.reason is not None else []
    if origin := found.origins.get(one.place):
        cluster = f", cluster {origin['cluster']}" if origin["cluster"] else ""
        facts.append(f"part {origin['part']} ({origin['kind']}), from {origin['file']}:{origin['line']}{cluster}")
    facts += [f"from {place}" for place in [found.places.get(one.place)] if place and one.reason is None]
    facts += _known(one)
    for fact in without_secrets(facts):
        yield from textwrap.wrap(
            printable(fact, lines=False), 80, initial_indent=" " * LABEL, subsequent_indent=" " * 20
        )


def _known(one: "Found") -> list[str]:
    from bezoar.audit.trace import MAKING, PAIR, SCORE, VERDICT

    columns = {"generate": MAKING, "filter": VERDICT, "score": SCORE, "pairs": PAIR}.get(one.step.kind, ())
    known = {name: one.row.get(name) for name in columns}
    text = ", ".join(f"{name} {value}" for name, value in known.items() if value not in (None, "", []))
    return [text] if text else []


def _texts(found: "Trace") -> Iterator[tuple[str, str]]:
    """The texts of the row and of its seed."""
    row: dict[str, Any] = {}
    for one in reversed(found.steps):
        row |= one.row
    for name in COLUMNS if row.get("instruction") else TRAINED if row.get("prompt") else OTHERS:
        if value := row.get(name):
            yield name, value if isinstance(value, str) else _dialogue(value)
    if found.ancestors and (text := found.ancestors[-1].row.get("instruction")):
        yield "seed", str(text)


def _dialogue(turns: Any) -> str:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return json.dumps(turns, ensure_ascii=False)
    return "\n".join(f"[{turn.get('role')}] {turn.get('content')}" for turn in turns)


def _block(label: str, text: str) -> Iterator[str]:
    """A text without secrets, cut to its start, under a label."""
    from bezoar.audit.redact import without_secrets

    text = without_secrets(text)
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]} [{len(text) - SHOWN:,} more characters]"
    lines = printable(cut).split("\n")
    yield f"{label:<{LABEL}}{lines[0]}"
    yield from (f"{'':<{LABEL}}{line}" for line in lines[1:])
