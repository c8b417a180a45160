"""Tasks: an exercise plus modifiers, the world's version of Evol-Instruct's operations, each checkable by a rule."""

import random
import re
from dataclasses import dataclass, replace
from typing import Any

from bezoar.steps.generate.templates import OPERATIONS
from bezoar.world import words
from bezoar.world.tasks import Exercise, draw_exercise, parse_exercise, pattern_of

SUFFIXES = {
    "opening": "begin with the word {opening} .",
    "closing": "end with the word {closing} .",
    "deepen": "and say why .",
    "reasoning": "think step by step .",
    "listener": "tell it to {name} .",
}
NOTE = "note that {name} likes the {colour} {noun} . "
OPTIONS = re.compile(r"(.*) options : ([^.:]+) \.")
FORMS = ("plain", "explained", "steps")


@dataclass(frozen=True)
class Task:
    """An exercise and the required form of its response.

    Attributes:
        form: `explained` or `steps` where the instruction asks for it; None leaves the choice to the responder.
        suffixes: The modifying sentences in the order in which they were added.
        note: An extra fact in front that the response doesn't need, or "".
        twice: Whether the response has to be said twice; only a later turn of a dialogue can require that.
    """

    exercise: Exercise
    suffixes: tuple[str, ...] = ()
    note: str = ""
    form: str | None = None
    opening: str | None = None
    closing: str | None = None
    listener: str | None = None
    twice: bool = False

    @property
    def category(self) -> str:
        return self.exercise.category

    @property
    def held_out(self) -> bool:
        return self.exercise.held_out

    @property
    def instruction(self) -> str:
        return self.note + " ".join((self.exercise.instruction, *self.suffixes))

    @property
    def modified(self) -> bool:
        return bool(self.suffixes or self.note)

    @property
    def free_prefix(self) -> bool:
        return self.opening is None and self.listener is None

    def response(self, form: str = "plain") -> str:
        """The right response; the task's own form overrides the given one."""
        text = body(self.exercise, self.form or form)
        if self.twice:
            text = f"{text} {text}"
        if self.listener:
            text = f"{self.listener} , {text}"
        if self.opening:
            text = f"{self.opening} , {text}"
        return f"{text} {self.closing} ." if self.closing else text

    def with_suffix(self, sentence: str) -> "Task | None":
        """The task with another modifying sentence; None for any other sentence."""
        for name, template in SUFFIXES.items():
            match = pattern_of(template).fullmatch(sentence)
            if match:
                suffixes = (*self.suffixes, sentence)
                if name in ("deepen", "reasoning"):
                    return replace(self, suffixes=suffixes, form="explained" if name == "deepen" else "steps")
                word: dict[str, Any] = {name: match.group(1)}
                return replace(self, suffixes=suffixes, **word)
        return None


def body(exercise: Exercise, form: str) -> str:
    """An exercise's response without opening, listener or closing."""
    if form == "explained":
        return f"{exercise.reason} so : {exercise.answer}"
    if form == "steps":
        return f"step 1 : {exercise.reason} step 2 : {exercise.answer}"
    return exercise.answer


def suffix(name: str, generator: random.Random) -> str:
    """A modifying sentence with its word drawn at random."""
    return SUFFIXES[name].format(
        opening=generator.choice(words.OPENINGS),
        closing=generator.choice(words.CLOSINGS),
        name=generator.choice(words.NAMES),
    )


def evolve(task: Task, operation: str, generator: random.Random) -> Task | None:
    """The task after one operation of Evol-Instruct; None if the operation doesn't apply any more."""
    if operation == "breadth":
        return Task(draw_exercise(generator, (task.category,)))
    if operation == "complicate":
        return None if task.note else replace(task, note=_note(generator))
    names = _suffixes(task, operation)
    return task.with_suffix(suffix(generator.choice(names), generator)) if names else None


def _suffixes(task: Task, operation: str) -> list[str]:
    """Names of the modifying sentences that an operation may add to a task."""
    possible = {
        "constraint": {"opening": task.free_prefix, "closing": task.closing is None},
        "deepen": {"deepen": task.form is None},
        "reasoning": {"reasoning": task.form is None},
        "concretise": {"listener": task.free_prefix},
    }
    return [name for name, applies in possible[operation].items() if applies]


def _note(generator: random.Random) -> str:
    return NOTE.format(
        name=generator.choice(words.NAMES),
        colour=generator.choice(words.COLOURS),
        noun=generator.choice(words.NOUNS),
    )


def evolved(task: Task, rounds: int, generator: random.Random) -> Task:
    """The task after some rounds of in-depth operations that apply."""
    for _ in range(rounds):
        task = evolve(task, generator.choice(OPERATIONS[:-1]), generator) or task
    return task


def draw_task(generator: random.Random, categories: tuple[str, ...], rounds: int = 0, held_out: bool = False) -> Task:
    """A random task with up to `rounds` modifiers."""
    return evolved(Task(draw_exercise(generator, categories, held_out)), rounds, generator)


def parse_task(instruction: str) -> Task | None:
    """The task that an instruction states, its modifiers and listed options stripped; None if none fits."""
    text = " ".join(instruction.split())
    options = OPTIONS.fullmatch(text)
    if options:
        text = options.group(1)
    note = pattern_of(NOTE).match(text)
    text, suffixes = _split(text[note.end() :] if note else text)
    exercise = parse_exercise(text)
    if exercise is None:
        return None
    task: Task | None = Task(exercise, note=note.group() if note else "")
    for sentence in suffixes:
        task = task.with_suffix(sentence) if task else None
    return task


def _split(text: str) -> tuple[str, list[str]]:
    """An instruction's core and its modifying sentences, in order."""
    suffixes: list[str] = []
    while True:
        for template in SUFFIXES.values():
            match = re.search(f" ({pattern_of(template).pattern})$", text)
            if match:
                suffixes.insert(0, match.group(1))
                text = text[: match.start()]
                break
        else:
            return text, suffixes
