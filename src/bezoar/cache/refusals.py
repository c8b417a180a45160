"""How a refusal is explained: what a job tried, and the line that declares it."""

import os
from collections.abc import Iterable, Sequence

from bezoar.cache.landlock import Right
from bezoar.cache.room import Room
from bezoar.errors import problem

MOST_SHOWN = 3
LOOPBACK = ("127.0.0.1", "::1", "localhost")
DONE = {"read": "reads", "module": "imports", "word": "names", "write": "writes", "connect": "connects to"}


def refused(how: str, what: str | Sequence[object], room: Room) -> bool:
    """Whether the room refuses an attempt.

    Args:
        how: A kind of a trace's log: `read`, `module`, `word`, `write` or `connect`.
        what: A path; for `connect`, an address of the socket module.
        room: The room.
    """
    if not isinstance(what, str):
        return how == "connect" and not room.tcp and not (room.local and what[0] in LOOPBACK)
    if how == "connect":
        return False  # a socket of this machine has a path
    if how == "write":
        return Right.WRITE_FILE not in room.at(what)
    return os.path.exists(what) and (Right.READ_DIR if os.path.isdir(what) else Right.READ_FILE) not in room.at(what)


def explain(attempts: Iterable[tuple[str, str | Sequence[object]]], room: Room, rule: str) -> str | None:
    """What a job tried that its rule doesn't declare, and the line to add; None if there is nothing.

    Args:
        attempts: How and what, as `refused` takes them.
        room: The job's room.
        rule: Its rule.
    """
    found = list(dict.fromkeys(_attempt(how, what) for how, what in attempts if refused(how, what, room)))
    if not found:
        return None
    how, what = min(found, key=lambda one: one[1].startswith("/"))  # in the project first
    return problem(
        f"rule {rule} {DONE[how]} {what}, which it doesn't declare",
        found="; ".join(f"{DONE[how]} {what}" for how, what in found[:MOST_SHOWN])
        + (f"; and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""),
        expected="its inputs, outputs, script, packages and $TMPDIR only",
        hint=_way_out(how, what, rule),
    )


def _attempt(how: str, what: str | Sequence[object]) -> tuple[str, str]:
    if not isinstance(what, str):
        return how, ":".join(map(str, what[:2]))
    real = os.path.abspath(what)
    inside = real.startswith(os.getcwd() + "/")
    return how, os.path.relpath(real) if inside else real


def _way_out(how: str, what: str, rule: str) -> str:
    if how == "connect":
        return f'in the Snakefile, graph.attach(..., network={{"{rule}": lambda wildcards: Network()}})'
    if how == "write":
        return f'rule {rule}: output: extra="{what}", or write below $TMPDIR'
    return f'rule {rule}: input: extra="{what}"'
