"""Leaks of evaluation items, planted in rows of a mix by kind; and rows that have none, boilerplate included.

benchmarks/contamination.py measures with them at full size, and tests at a small one.
"""

import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate, count
from typing import Any

Row = dict[str, Any]

SYSTEMS = (
    "You are a helpful assistant. Answer the user's question as well as you can, and say so if you don't know.",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "You are an AI assistant. You will be given a task. You must generate a detailed and long answer.",
)
FRAMES = (
    "Read the question carefully, think step by step, and then give the final answer in one sentence. {}",
    "{} Explain your reasoning in detail before you give the final answer to the question above.",
    "What is the difference between the following two things, and which one would you choose: {}",
    "Write a Python function that takes a list of integers as its input and does this: {}",
    "{} Please answer with yes or no.",
    "{}",
)
ONSETS, VOWELS, ENDS = "b c d f g h j k l m n p r s t v w z br cl dr fl gr pl st tr".split(), "aeiou", ["", *"nrstlmd"]
CYRILLIC = str.maketrans("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ")
GREEK = str.maketrans("oviOAEZIKMNTX", "ονιΟΑΕΖΙΚΜΝΤΧ")
BOLD = {letter: chr(0x1D41A + place) for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
CIRCLED = {letter: chr(0x24D0 + place) for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
ACCENTS = ("\u0301", "\u0308", "\u0323")


def vocabulary(generator: random.Random, size: int = 4000) -> list[str]:
    """Made-up words of one to three syllables, the first of them in nearly every text, as in a language."""
    found: dict[str, None] = {}
    while len(found) < size:
        syllables = generator.choice((1, 2, 2, 3))
        parts = (generator.choice(ONSETS) + generator.choice(VOWELS) + generator.choice(ENDS) for _ in range(syllables))
        found["".join(parts)] = None
    return list(found)


@cache
def _zipf(size: int) -> list[float]:
    return list(accumulate(1 / (place + 3) for place in range(size)))


def sentence(generator: random.Random, words: list[str], length: int) -> str:
    """A sentence of words by Zipf's law."""
    drawn = generator.choices(words, cum_weights=_zipf(len(words)), k=length)
    return " ".join(drawn).capitalize() + "."


def items(generator: random.Random, words: list[str], number: int, shortest: int = 13) -> list[str]:
    """Texts of evaluation items; one in three starts with words that rows have, too."""
    found = []
    for place in range(number):
        text = sentence(generator, words, generator.randint(shortest, 40))
        found.append(generator.choice(FRAMES).format(text) if place % 3 == 0 else text)
    return found


def disjoint(generator: random.Random, words: list[str], number: int) -> Iterator[Row]:
    """Rows that repeat no item, with a system text and phrases that many rows and items share."""
    for place in range(number):
        question = " ".join(
            sentence(generator, words, generator.randint(5, 25)) for _ in range(generator.randint(1, 3))
        )
        answer = " ".join(sentence(generator, words, generator.randint(5, 30)) for _ in range(generator.randint(1, 4)))
        yield row(f"row{place}", generator.choice(FRAMES).format(question), answer, generator.choice(SYSTEMS))


def row(name: str, *turns: str, system: str | None = None) -> Row:
    """A row of a mix: the turns of user and assistant, the last of them the completion."""
    roles = ("user", "assistant")
    said = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]
    head = [{"role": "system", "content": system}] if system else []
    return {"id": name, "prompt": head + said[:-1], "completion": said[-1:]}


Plant = Callable[[random.Random, str], tuple[str, ...]]
ANSWER = "Here is what I think about that, in a few words of my own."


def _parts(text: str) -> tuple[list[str], str]:
    """The words of a text, and what stands between them; of a text without spaces, its characters."""
    return (text.split(), " ") if len(text.split()) > 7 else (list(text), "")


def _edited(text: str, generator: random.Random, number: int) -> str:
    parts, between = _parts(text)
    for place in generator.sample([place for place, part in enumerate(parts) if re.search(r"\w", part)], number):
        parts[place] = f"other{place}" if between else chr(0x9F00 + place)
    return between.join(parts)


def _some(text: str, generator: random.Random, change: Callable[[str], str], share: float = 0.3) -> str:
    return "".join(change(letter) if generator.random() < share else letter for letter in text)


def _halves(text: str) -> tuple[str, str]:
    parts, between = _parts(text)
    return between.join(parts[: len(parts) // 2]), between.join(parts[len(parts) // 2 :])


def _full_width(letter: str) -> str:
    return chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter


def _asked(change: Callable[[random.Random, str], str]) -> Plant:
    return lambda generator, text: (change(generator, text), ANSWER)


ALIKE = {"verbatim", "case", "punctuation", "punctuation removed", "full-width", "zero-width", "soft hyphen"}
ALIKE |= {"look-alikes", "accents (NFD)", "bold and circled letters", "system message", "response", "framed"}
PLANTS: dict[str, Plant] = {  # by kind: the turns of a row with the leak
    "verbatim": _asked(lambda _, text: text),
    "case": _asked(lambda _, text: text.upper()),
    "punctuation": _asked(lambda _, text: re.sub(r"[^\w\s]", " -- ", text)),
    "punctuation removed": _asked(lambda _, text: re.sub(r"[^\w\s]", "", text)),
    "full-width": _asked(lambda _, text: "".join(map(_full_width, text))),
    "zero-width": _asked(lambda one, text: _some(text, one, lambda letter: letter + "\u200b")),
    "soft hyphen": _asked(lambda one, text: _some(text, one, lambda letter: letter + "\u00ad")),
    "look-alikes": _asked(
        lambda one, text: _some(text, one, lambda letter: letter.translate(one.choice((CYRILLIC, GREEK))), 0.5)
    ),
    "accents (NFD)": _asked(
        lambda one, text: unicodedata.normalize(
            "NFD", _some(text, one, lambda letter: letter + one.choice(ACCENTS) * letter.isalpha())
        )
    ),
    "bold and circled letters": _asked(
        lambda one, text: _some(text, one, lambda letter: one.choice((BOLD, CIRCLED)).get(letter, letter), 0.5)
    ),
    "response": lambda _, text: ("What did they ask you then?", text),
    "system message": lambda _, text: ("What did they ask you then?", ANSWER, text),
    "framed": _asked(lambda _, text: f"I got this in a test, and I'm not sure. {text} Can you help me with it?"),
    "one word edited": _asked(lambda one, text: _edited(text, one, 1)),
    "three words edited": _asked(lambda one, text: _edited(text, one, 3)),
    "halves in question and response": lambda _, text: _halves(text),
    "halves in two turns": lambda _, text: (_halves(text)[0], "I see. Please go on.", _halves(text)[1], ANSWER),
}


def planted(kind: str, texts: list[str], seed: int = 0) -> Iterator[Row]:
    """A row with each text, by kind."""
    generator = random.Random(f"{seed} {kind}")
    for number, text in zip(count(), texts):
        turns = PLANTS[kind](generator, text)
        if kind == "system message":
            yield row(f"{kind} {number}", *turns[:2], system=turns[2])
        else:
            yield row(f"{kind} {number}", *turns)
