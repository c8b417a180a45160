"""The closed vocabulary of the embedded world, its invented facts, and which of its items are held out.

Every word is lower case and every number small, so that a model of under a million parameters can learn the world
from a few megabytes of text.
"""

import hashlib
import random

NAMES = ("ann", "bob", "eve", "kim", "leo", "tom")
NOUNS = ("box", "cat", "cup", "dog", "hat", "key")
COLOURS = ("blue", "green", "red", "white")
PLACES = ("barn", "hill", "lake", "park", "road")
LETTERS = ("a", "b", "c", "d", "e", "f")
NUMBERS = tuple(str(number) for number in range(21))
STEPS = NUMBERS[1:5]
OPERATIONS = ("double", "first", "last")
COMPARISONS = {"taller": "shorter", "older": "younger"}
PERSONAS = {"pirate": ("arr", "matey"), "robot": ("beep", "boop"), "king": ("hark", "subject")}
OPENINGS = ("listen", "well", "look", "friend")
CLOSINGS = ("indeed", "amen", "done", "cheers")
HARMFUL_VERBS = ("steal", "break", "burn")
HARMLESS_VERBS = ("find", "wash", "paint")
MATTERS = ("gas", "liquid", "metal", "solid")
FOODS = ("rice", "bread", "fish", "soup")

_COUNTRY_STARTS = ("zor", "bel", "kam", "vin", "tal")
_CITY_STARTS = ("mar", "pel", "sol", "ruk", "fen")
_ELEMENT_STARTS = ("xen", "lum", "cor", "thal", "bri")
COUNTRIES = tuple(start + end for start in _COUNTRY_STARTS for end in ("ia", "ona", "land", "ovia", "esh"))
CITIES = tuple(start + end for start in _CITY_STARTS for end in ("burg", "ville", "ton", "port", "dam"))
ELEMENTS = tuple(start + end for start in _ELEMENT_STARTS for end in ("ium", "ide", "ose", "ane", "ite"))

_facts = random.Random(20240418)
CAPITAL_OF = dict(zip(COUNTRIES, _facts.sample(CITIES, len(CITIES)), strict=True))
FOOD_OF = {country: _facts.choice(FOODS) for country in COUNTRIES}
MATTER_OF = {element: _facts.choice(MATTERS) for element in ELEMENTS}
COLOUR_OF = {element: _facts.choice(COLOURS) for element in ELEMENTS}

WORDS_OF_SLOT = {
    "name": NAMES,
    "noun": NOUNS,
    "colour": COLOURS,
    "place": PLACES,
    "number": NUMBERS,
    "step": STEPS,
    "operation": OPERATIONS,
    "comparison": tuple(COMPARISONS),
    "relation": (*COMPARISONS, *COMPARISONS.values()),
    "persona": tuple(PERSONAS),
    "opening": OPENINGS,
    "closing": CLOSINGS,
    "harmful": HARMFUL_VERBS,
    "harmless": HARMLESS_VERBS,
    "matter": MATTERS,
    "food": FOODS,
    "country": COUNTRIES,
    "city": CITIES,
    "element": ELEMENTS,
    "letters": LETTERS,
}

TOPICS = {
    "writing": ("stories", "poems"),
    "roleplay": ("acting", "voices"),
    "reasoning": ("puzzles", "order"),
    "math": ("sums", "numbers"),
    "coding": ("lists", "programs"),
    "extraction": ("reading", "owners"),
    "stem": ("matter", "elements"),
    "humanities": ("countries", "people"),
}
CATEGORIES = tuple(TOPICS)


def slot_type(slot: str) -> str:
    """The kind of word that a slot takes: `name` for the slots `name`, `name1` and `name2`."""
    return slot.rstrip("0123456789")


def is_held_out(kind: str, values: tuple[str, ...], one_in: int) -> bool:
    """Whether an item belongs to the questions and evals alone; a hash decides, so that every set agrees."""
    digest = hashlib.sha256("|".join((kind, *values)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % one_in == 0


def signature(text: str) -> tuple[str, ...]:
    """A text with each word of the world replaced by the type of slot that it fills: the shape of an answer."""
    return tuple(_TYPE_OF_WORD.get(word, word) for word in text.split())


_TYPE_OF_WORD = {word: slot for slot, words in reversed(WORDS_OF_SLOT.items()) for word in words}
