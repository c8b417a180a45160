"""A page of docs/ as something that can be followed: its commands with what they show, and the files that it has you
write.

A fence `console` has commands after `$ ` and what each shows. Any other fence under a line `FILE`: is a file; under
`FILE`, at its end: what is added to it. A fence `diff` under `FILE`: is a change of it.
"""

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`(?P<end>, at its end)?:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
GAP = "…"  # anything: in a line, or for lines
JOBS = re.compile(r"\s*\d[\d,]* to run, \d[\d,]* up to date\s*")  # the same in every run
COMMENT = re.compile(r"\s+#\s.*$")
MASKS = (
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "H"),
    (re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"), "N"),
    (re.compile(r"\b(N(?: N)?) (?:ms|s|min|h)\b(?: N (?:s|min)\b)?"), "TIME"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Command:
    """A command, and the lines that a page shows of its output."""

    text: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """A file that a page has its reader write, extend (`end`) or change (`diff`)."""

    path: str
    kind: str
    text: str


def steps(page: str) -> list[Command | Edit]:
    """The steps of a page below docs/, in order."""
    found: list[Command | Edit] = []
    for block in BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if block["kind"] == "console":
            found += commands(block["text"])
        elif block["path"]:
            kind = "end" if block["end"] else "diff" if block["kind"] == "diff" else "new"
            found.append(Edit(block["path"], kind, block["text"]))
    return found


def commands(text: str) -> list[Command]:
    """The commands of a fence; a line that ends in a backslash goes on in the next one."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    return [
        Command(COMMENT.sub("", lines[start][2:]), tuple(lines[start + 1 : end]))
        for start, end in pairwise([*starts, len(lines)])
    ]


def changed(text: str, change: str) -> str:
    """A text with a change: in each group of its lines, `+` comes behind the line before, which stays or goes (`-`)."""
    lines = text.splitlines()
    for group in change.strip("\n").split("\n\n"):
        place = 0
        for line in group.splitlines():
            sign, content = line[:1], line[1:]
            if sign == "+":
                lines.insert(place, content)
                place += 1
            else:
                place = lines.index(content, place) + (sign == " ")
                del lines[place : place + (sign == "-")]
    return "\n".join(lines) + "\n"


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers but those of jobs, digests, times and widths of columns."""
    if JOBS.fullmatch(line):
        return line.strip()
    for pattern, word in MASKS:
        line = pattern.sub(word, line)
    return line.strip()


def differs(shown: tuple[str, ...], output: str) -> str:
    """The first line that a page shows and an output doesn't have there; empty if it has them all.

    Lines follow each other as on the page; where the page has a line of `…`, others may come between.
    """
    lines = [shape(line) for line in output.splitlines() if line.strip()]
    place, loose = 0, False
    for line in (line for line in shown if line.strip()):
        if shape(line) in (GAP, "..."):
            loose = True
            continue
        pattern = re.compile(".*".join(map(re.escape, shape(line).split(GAP))))
        places = range(place, len(lines) if loose else min(place + 1, len(lines)))
        found = next((number for number in places if pattern.fullmatch(lines[number])), None)
        if found is None:
            return line
        place, loose = found + 1, False
    return "" if not shown or loose or place == len(lines) else f"(nothing more, but: {lines[place]})"


class Reader:
    """Somebody who follows a page in a folder, to the letter.

    Args:
        home: The folder to begin in.
        environment: The variables of their shell.
        instead: What they put in place of names and addresses of the page.
        skipped: The commands that they leave out, each with the reason.
        before: By command, what happens before it.
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        instead: Mapping[str, str] | None = None,
        skipped: Mapping[str, str] | None = None,
        before: Mapping[str, Callable[["Reader"], object]] | None = None,
    ) -> None:
        self.folder = home
        self.environment = dict(environment)
        self.instead = instead or {}
        self.skipped = skipped or {}
        self.before = before or {}
        self.left = {*self.skipped, *self.before}
        self.here = home / ".here"

    def follow(self, *pages: str) -> None:
        """Take all steps of pages; what is left out, or prepared for, has to be a command of theirs."""
        for page in pages:
            self._follow(page)
        assert not self.left, f"no page has these commands: {self.left}"

    def _follow(self, page: str) -> None:
        for step in steps(page):
            if isinstance(step, Edit):
                self.edit(step)
                continue
            self.left.discard(step.text)
            self.before.get(step.text, lambda _: None)(self)
            if step.text not in self.skipped:
                self.run(step, page)

    def edit(self, step: Edit) -> None:
        """Write, extend or change a file."""
        path = self.folder / step.path
        text = step.text if step.kind == "new" else path.read_text(encoding="utf-8")
        if step.kind == "end":
            text += step.text
        elif step.kind == "diff":
            text = changed(text, step.text)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, step: Command, page: str) -> None:
        """Run a command in the shell that the page's earlier ones have left, and compare what it shows."""
        text = step.text
        for name, other in self.instead.items():
            text = text.replace(name, other)
        script = f"set -e\n{text}\npwd > {self.here}\nexport -p > {self.here}.env\n"
        before = f". {self.here}.env\n" if Path(f"{self.here}.env").exists() else ""
        done = subprocess.run(
            ["bash", "-c", before + script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}: $ {text}\n{done.stdout}"
        wrong = differs(step.shown, done.stdout)
        assert not wrong, f"{page}: $ {text}\ndoesn't show: {wrong}\nbut:\n{done.stdout}"
        self.folder = Path(self.here.read_text().strip())
