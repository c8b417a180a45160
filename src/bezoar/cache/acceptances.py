"""Changes that somebody found to be cosmetic, in code.accepted.yaml: code, a package or a command counts as it was."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.job import Step
from bezoar.cache.trace import Change
from bezoar.errors import problem

ACCEPTED = "code.accepted.yaml"
COMMAND = "command of "  # before a stage's name


class Acceptance(NamedTuple):
    """An accepted change.

    Attributes:
        what: A module's path, `NAME (package)`, or `command of STAGE`.
        was: What counts: the earlier meaning, version or form.
        now: The one that counts as the earlier one.
    """

    what: str
    was: str
    now: str
    reason: str


class Acceptances:
    """All accepted changes."""

    def __init__(self, entries: Iterable[Acceptance] = ()) -> None:
        self.entries = list(entries)
        self._earlier: dict[tuple[str, str], list[str]] = {}
        for one in self.entries:
            self._earlier.setdefault((one.what, one.now), []).append(one.was)
        self.used: set[Acceptance] = set()

    @classmethod
    def read(cls) -> "Acceptances":
        """Those of code.accepted.yaml; none if it doesn't exist.

        Raises:
            CacheError: The file isn't what `bezoar accept` writes.
        """
        try:
            return cls(_parsed(foreign.read(ACCEPTED)))
        except FileNotFoundError:
            return cls()
        except foreign.Malformed as error:
            raise CacheError(
                problem(
                    f"{ACCEPTED} can't be read",
                    found=error,
                    expected="a list of what, was, now and reason",
                    hint="restore it with `git checkout`; entries of an earlier version don't count any more",
                )
            ) from error

    def covers(self, what: str, was: str | None, now: str | None) -> bool:
        """Whether a change from `was` to `now` is accepted, in one or several steps."""
        todo, seen = [now], {now}
        while todo:
            for earlier in self._earlier.get((what, todo.pop() or ""), []):
                if earlier == was:
                    self.used.update(one for one in self.entries if one.what == what)
                    return True
                if earlier not in seen:
                    seen.add(earlier)
                    todo.append(earlier)
        return False

    def without(self, changes: list[Change]) -> list[Change]:
        """The changes that aren't accepted."""
        return [one for one in changes if not self.covers(shown(one), one.was, one.now)] if self.entries else changes

    def form(self, step: Step) -> str:
        """The earliest form of a step's command that counts as the present one; the present one without acceptance."""
        found, what = step.form, f"{COMMAND}{step.stage}"
        seen = {found}
        while earlier := [one for one in self._earlier.get((what, found), []) if one not in seen]:
            found = earlier[0]
            seen.add(found)
        return found


def shown(change: Change) -> str:
    """A change's name: a module's path, `NAME (package)`, a file, or what Python finds in place of a module."""
    if change.kind == "distribution":
        return f"{change.name} (package)"
    name = change.name.removeprefix("~")
    return f"{name}: {change.now} is found in its place" if change.kind == "found" else name


def _parsed(data: bytes) -> list[Acceptance]:
    from bezoar.yaml12 import Loader  # slow to import, and most projects have no such file

    read: Any = foreign.from_yaml(data, Loader)
    entries = [foreign.table(one, *Acceptance._fields) for one in ([] if read is None else foreign.array(read))]
    found = [Acceptance(*(foreign.text(one[name]) for name in Acceptance._fields)) for one in entries]
    if any(not text for one in found for text in one):
        raise foreign.Malformed("an empty text")
    return found
