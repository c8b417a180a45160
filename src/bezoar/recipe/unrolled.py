"""What unrolling makes: a recipe's data with more blocks, and where each of them comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bezoar.problems import KeyPath, Problem

MERGE = "<<"
LONGEST = 60  # characters of a name (bezoar.blocks.Name)

Block = tuple[str, str]  # section and name


@dataclass(frozen=True)
class Unrolled:
    """A recipe's data, as a user may have written it without loops and matrices.

    Attributes:
        data: The content of the params file.
        lines: The line in the file of each key; of a made block, the line of what it is made from.
        made: By made block, what made it: `loop spin, round 2`.
    """

    data: Any
    lines: dict[KeyPath, int]
    made: dict[Block, str]

    def distinct(self, problems: list[Problem]) -> list[Problem]:
        """Problems without those of made blocks that repeat one at the same line."""
        seen: set[tuple[int | None, str]] = set()
        found = []
        for problem in problems:
            mark = (line_of(problem.key, self.lines), problem.what)
            if self._is_made(problem.key) and mark in seen:
                continue
            seen.add(mark)
            found.append(self._told(problem))
        return found

    def _is_made(self, key: KeyPath) -> bool:
        return key[:2] in self.made

    def _told(self, problem: Problem) -> Problem:
        """A problem that names the loop or the matrix that made its block."""
        label = self.made.get((str(problem.key[0]), str(problem.key[1]))) if len(problem.key) > 1 else None
        return replace(problem, what=f"{problem.what} ({label})") if label else problem


def line_of(key: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line that a value comes from, perhaps by a merge (`<<`) of another block."""
    if key in lines:
        return lines[key]
    for place in range(len(key) - 1, 0, -1):
        merged = (*key[:place], MERGE, *key[place:])
        if merged in lines:
            return lines[merged]
    return None


def below(key: KeyPath, lines: Mapping[KeyPath, int]) -> Iterator[tuple[KeyPath, int]]:
    """The lines of a key and of everything in it, by the rest of their keys."""
    for one, line in lines.items():
        if one[: len(key)] == key:
            yield one[len(key) :], line


def too_long(key: KeyPath, name: str, hint: str) -> Iterator[Problem]:
    """A problem if the name of a block has too many characters."""
    if len(name) > LONGEST:
        found, expected = f"{name}, {len(name)} characters", f"at most {LONGEST}"
        yield Problem(key, "the name of a block that it makes is too long", found, expected, hint)
