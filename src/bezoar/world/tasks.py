"""The tasks of the world, two or three kinds in each of eight categories that mirror MT-Bench's.

A kind is a grammar: its question template is filled to make an instruction and read backwards to parse one.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bezoar.world import words

Values = dict[str, str]


@dataclass(frozen=True)
class Kind:
    """One grammar of instructions.

    Attributes:
        question: The instruction, with `{slots}`; a slot's type is its name without digits.
        raw: The same matter as a plain statement, as the base model reads it; `{answer}` is a slot as well.
        reason: The sentence that leads to the answer.
        answer: The response, from the values of the question's slots.
        one_in: One in this number of items is held out.
        open_book: The base text states every item, held out or not: a fact can't be worked out.
    """

    name: str
    category: str
    question: str
    raw: str
    reason: str
    answer: Callable[[Values], str]
    one_in: int = 6
    open_book: bool = False
    valid: Callable[[Values], bool] = lambda values: True

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", self.question)))

    def draw(self, generator: random.Random) -> tuple[str, ...]:
        """Random values for the slots, held out or not."""
        while True:
            values = {slot: _word_for(slot, generator) for slot in self.slots}
            if _distinct(values) and self.valid(values):
                return tuple(values.values())


def _word_for(slot: str, generator: random.Random) -> str:
    if slot == "letters":
        return " ".join(generator.sample(words.LETTERS, 3))
    return generator.choice(words.WORDS_OF_SLOT[words.slot_type(slot)])


def _distinct(values: Values) -> bool:
    """Whether numbered slots of one type hold different words; an unnumbered slot refers back and is free."""
    numbered = [(words.slot_type(slot), word) for slot, word in values.items() if slot[-1].isdigit()]
    return len(set(numbered)) == len(numbered)


@dataclass(frozen=True)
class Exercise:
    """A kind with filled slots: an item that can be stated, asked, answered and explained."""

    kind: Kind
    values: tuple[str, ...]

    @property
    def category(self) -> str:
        return self.kind.category

    @property
    def held_out(self) -> bool:
        return words.is_held_out(self.kind.name, self.values, self.kind.one_in)

    @property
    def instruction(self) -> str:
        return self.kind.question.format(**self._slots())

    @property
    def answer(self) -> str:
        return self.kind.answer(self._slots())

    @property
    def reason(self) -> str:
        return self._fill(self.kind.reason)

    @property
    def raw(self) -> str:
        return self._fill(self.kind.raw)

    def _slots(self) -> Values:
        return dict(zip(self.kind.slots, self.values, strict=True))

    def _fill(self, template: str) -> str:
        slots = self._slots()
        core = self.kind.answer(slots).removesuffix(" .")
        return template.format(**slots, **_manner(slots), answer=core)


def _manner(slots: Values) -> Values:
    """The opening and closing of a persona's responses."""
    if "persona" not in slots:
        return {}
    return dict(zip(("hail", "tail"), words.PERSONAS[slots["persona"]], strict=True))


def _related(slots: Values) -> str:
    return f"{slots['name1' if slots['relation'] == slots['comparison'] else 'name2']} ."


def _relation_fits(slots: Values) -> bool:
    return slots["relation"] in (slots["comparison"], words.COMPARISONS[slots["comparison"]])


def _sum(slots: Values) -> str:
    return f"{int(slots['number']) + int(slots['step'])} ."


def _difference(slots: Values) -> str:
    return f"{int(slots['number']) - int(slots['step'])} ."


def _run(slots: Values) -> str:
    letters = slots["letters"].split()
    results = {"double": letters * 2, "first": letters[:1], "last": letters[-1:]}
    return f"{' '.join(results[slots['operation']])} ."


_FACT: dict[str, Any] = {"one_in": 4, "open_book": True}

KINDS = (
    Kind(
        "story", "writing",
        "write a short story about the {noun1} , the {noun2} and the {place} .",
        "a short story about the {noun1} , the {noun2} and the {place} : {answer} .",
        "the story is about the {noun1} and the {noun2} .",
        lambda slots: "the {noun1} met the {noun2} near the {place} .".format(**slots),
    ),
    Kind(
        "poem", "writing",
        "write a poem about the {colour} {noun} at the {place} .",
        "a poem about the {colour} {noun} at the {place} : {answer} .",
        "the poem is about the {noun} .",
        lambda slots: "dear {colour} {noun} , you shine at the {place} .".format(**slots),
    ),
    Kind(
        "speech", "roleplay",
        "act as a {persona} and say : {name} has a {colour} {noun} .",
        "{name} has a {colour} {noun} . the {persona} said : {answer} .",
        "a {persona} says {hail} and {tail} .",
        lambda slots: "{hail} , {name} has a {colour} {noun} , {tail} .".format(**slots, **_manner(slots)),
    ),
    Kind(
        "greeting", "roleplay",
        "act as a {persona} and greet {name1} and {name2} .",
        "the {persona} will greet {name1} and {name2} : {answer} .",
        "a {persona} says {hail} and {tail} .",
        lambda slots: "{hail} , hello {name1} and {name2} , {tail} .".format(**slots, **_manner(slots)),
    ),
    Kind("colour", "extraction", "read : {name} has a {colour} {noun} . what colour is the {noun} ?",
         "{name} has a {colour} {noun} so the {noun} is {answer} .", "{name} has a {colour} {noun} .",
         lambda slots: f"{slots['colour']} ."),
    Kind("owner", "extraction", "read : the {colour} {noun} belongs to {name} . who owns the {noun} ?",
         "the {colour} {noun} belongs to {name} so the owner is {answer} .", "the {colour} {noun} belongs to {name} .",
         lambda slots: f"{slots['name']} ."),
    Kind("order", "reasoning", "{name1} is {comparison} than {name2} . who is {relation} ?",
         "{name1} is {comparison} than {name2} so who is {relation} is {answer} .",
         "{name1} is {comparison} than {name2} .", _related, valid=_relation_fits),
    Kind("rule", "reasoning", "every {noun} is {colour} . {name} has a {noun} . what colour is it ?",
         "every {noun} is {colour} . {name} has a {noun} . so it is {answer} .", "every {noun} is {colour} .",
         lambda slots: f"{slots['colour']} ."),
    Kind("plus", "math", "what is {number} plus {step} ?", "{number} plus {step} equals {answer} .",
         "{number} plus {step} equals {answer} .", _sum,
         valid=lambda slots: int(slots["number"]) <= 12),
    Kind("minus", "math", "what is {number} minus {step} ?", "{number} minus {step} equals {answer} .",
         "{number} minus {step} equals {answer} .", _difference,
         valid=lambda slots: 5 <= int(slots["number"]) <= 17),
    Kind("run", "coding", "run {operation} on the list {letters} .",
         "{operation} of the list {letters} returns {answer} .", "the {operation} of {letters} is needed .", _run),
    Kind("matter", "stem", "what kind of matter is {element} ?", "{element} is a {answer} .",
         "{element} is a {answer} .", lambda slots: f"{words.MATTER_OF[slots['element']]} .", **_FACT),
    Kind("element", "stem", "which colour does {element} have ?", "the colour of {element} is {answer} .",
         "the colour of {element} is {answer} .", lambda slots: f"{words.COLOUR_OF[slots['element']]} .", **_FACT),
    Kind("capital", "humanities", "name the capital city of {country} .", "the capital of {country} is {answer} .",
         "the capital of {country} is {answer} .", lambda slots: f"{words.CAPITAL_OF[slots['country']]} .", **_FACT),
    Kind("food", "humanities", "which food do people eat in {country} ?", "people in {country} eat {answer} .",
         "people in {country} eat {answer} .", lambda slots: f"{words.FOOD_OF[slots['country']]} .", **_FACT),
)  # fmt: skip


def draw_exercise(generator: random.Random, categories: tuple[str, ...], held_out: bool | None = False) -> Exercise:
    """A random exercise of the categories; with `held_out` None, of either part."""
    category = generator.choice(categories)
    kind = generator.choice([kind for kind in KINDS if kind.category == category])
    while True:
        exercise = Exercise(kind, kind.draw(generator))
        if held_out is None or exercise.held_out is held_out:
            return exercise


def parse_exercise(text: str) -> Exercise | None:
    """The exercise that an instruction without modifiers states, or None."""
    for kind in KINDS:
        match = pattern_of(kind.question).fullmatch(text)
        if match is None:
            continue
        slots = match.groupdict()
        if _distinct(slots) and kind.valid(slots):
            return Exercise(kind, tuple(slots.values()))
    return None


@cache
def pattern_of(template: str) -> re.Pattern[str]:
    """A template as a regular expression: a slot takes the words of its type, a repeated slot its first word."""
    parts = re.split(r"\{(\w+)\}", template)
    seen: set[str] = set()
    pattern = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            pattern += re.escape(part)
        elif part in seen:
            pattern += f"(?P={part})"
        else:
            seen.add(part)
            pattern += f"(?P<{part}>{_choice(part)})"
    return re.compile(pattern)


def _choice(slot: str) -> str:
    if slot == "letters":
        letter = f"[{''.join(words.LETTERS)}]"
        return f"{letter}(?: {letter})+"
    return "|".join(sorted(words.WORDS_OF_SLOT[words.slot_type(slot)], key=len, reverse=True))
