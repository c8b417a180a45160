"""How fast a job is, as far as its log says so."""

import os
import re
from contextlib import suppress

from bezoar.text import printable

MOST = 1 << 16  # bytes at the end of a log
DONE = re.compile(
    r"^(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d) .*?(?P<unit>step )?(?P<done>\d[\d,]*) of (?P<all>\d[\d,]*),"
)
RATES = re.compile(r"(\d[\d,.]* \w+/s)\b")  # what a line says itself, such as `950 tokens/s`
DAY = 86_400


def pace(path: str) -> str:
    """The last progress in a log, such as `30 of 148 steps, 7.1 steps/s`; empty if it says none.

    `logs.Bar` and trainings write such lines. The rate is that between the first and the last of them that are read.
    """
    lines = [(found, one) for one in _last_lines(path) if (found := DONE.match(one))]
    if not lines:
        return ""
    (first, _), (last, line) = lines[0], lines[-1]
    unit = " steps" if last["unit"] else ""  # of training; other lines don't say what they count
    parts = [f"{last['done']} of {last['all']}{unit}"]
    if rate := _rate(first, last):
        parts.append(f"{rate:,.3g}{unit}/s")
    return ", ".join([*parts, *RATES.findall(line)])


def _rate(first: re.Match[str], last: re.Match[str]) -> float | None:
    seconds = (_time(last) - _time(first)) % DAY
    done = _number(last["done"]) - _number(first["done"])
    return done / seconds if seconds and done > 0 and first["all"] == last["all"] else None


def _time(found: re.Match[str]) -> int:
    return int(found["hours"]) * 3600 + int(found["minutes"]) * 60 + int(found["seconds"])


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _last_lines(path: str) -> list[str]:
    with suppress(OSError), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - MOST))
        return [printable(one, lines=False) for one in file.read().decode(errors="replace").splitlines()]
    return []
