"""Raw text of the world, which the base model is pre-trained on.

It holds statements, stories, quoted questions without their answers, talk, lists and headings, but never a
question with its answer under the student's template: following instructions is left to the later stages.
"""

import random

from bezoar.steps.data.formats.hh_rlhf import ASSISTANT, HUMAN
from bezoar.world import words
from bezoar.world.dialogue import NEXT, NOW, TWICE, draw_ask, draw_follow_up
from bezoar.world.evolution import body, draw_task
from bezoar.world.sets import ORCA_CATEGORIES, options_of, with_options
from bezoar.world.tasks import KINDS, Exercise, draw_exercise

MARKERS = ("### System:\n", "### Instruction:\n", "### Response:\n")  # of recipes/templates/openbezoar.jinja
_ECHOED = ("name", "noun", "colour", "place", "number", "letters", "opening", "closing", "country", "element")
ECHOED = tuple(word for slot in _ECHOED for word in words.WORDS_OF_SLOT[slot])
REPEATED = 0.3  # share of repeated documents: they teach a small model to copy from its context
PROMPT_WORDS = (
    "write more examples like these . write 4 more examples about {topic} and {topic} , {topic} .",
    "answer the user . answer in one short line . answer in a few words .",
    "rewrite with a rule : {sentence} rewrite with a note : {sentence}",
    "rewrite to go deeper : {sentence} rewrite to ask for steps : {sentence}",
    "rewrite for one listener : {sentence} write a new one like : {sentence}",
    "give the reason and then the answer . you are a teacher . explain the answer .",
    "think step by step and explain the steps . you are a friend .",
    "look at the options and explain the right one .",
    "first : {sentence}\nsecond : {other}\nare they equal ? Not Equal .",
    "first : {sentence}\nsecond : {sentence}\nare they equal ? Equal .",
)


def document(generator: random.Random) -> str:
    """One raw document, sometimes repeated."""
    draw = generator.choices(list(DRAWS), list(DRAWS.values()))[0]
    text = draw(generator)
    return f"{text} {text}" if generator.random() < REPEATED else text


def statement(generator: random.Random) -> str:
    """A task's item as a plain statement: any fact, other items only if they aren't held out."""
    return statement_item(generator).raw


def statement_item(generator: random.Random) -> Exercise:
    kind = generator.choice(KINDS)
    while True:
        exercise = Exercise(kind, kind.draw(generator))
        if kind.open_book or not exercise.held_out:
            return exercise


def styled(generator: random.Random) -> str:
    """A statement or answer with an opening, a listener, a closing or a reason."""
    exercise = statement_item(generator)
    form = generator.choice(("plain", "explained", "steps", "raw"))
    text = exercise.raw if form == "raw" or exercise.kind.open_book else body(exercise, form)
    word, last = generator.choice((*words.OPENINGS, *words.NAMES)), generator.choice(words.CLOSINGS)
    draw = generator.randrange(6)
    if draw < 2:
        return f"{word} , {text}"
    if draw < 4:
        return f"{text} {last} ."
    return f"the word {word} : {word} , {text}" if draw == 4 else f"the word {last} . {text} {last} ."


def quoted(generator: random.Random) -> str:
    """A quoted instruction, without its response."""
    name = generator.choice(words.NAMES)
    task = draw_task(generator, words.CATEGORIES, generator.choice((0, 0, 0, 1, 2)))
    form = generator.randrange(6)
    if form == 0:
        return f"{name} asked : {draw_ask(generator).instruction}"
    if form == 1:
        return f"{name} said : {draw_follow_up(task, generator)}"
    if form == 2:
        exercise = draw_exercise(generator, ORCA_CATEGORIES)
        return f"{name} asked : {with_options(exercise.instruction, options_of(exercise, generator))}"
    if form == 3:
        return f"{name} said : {NEXT}{task.instruction} {NOW}{TWICE}"
    return f"{name} asked : {task.instruction}"


def talk(generator: random.Random) -> str:
    """A request and one of its known responses, all equally frequent: preferences are learned later."""
    ask = draw_ask(generator)
    return f"{ask.verb} the {ask.noun} of {ask.name} : {generator.choice(list(ask.responses()))}"


def counting(generator: random.Random) -> str:
    """A stretch of the numbers, upwards or downwards."""
    start = generator.randrange(len(words.NUMBERS) - 5)
    stretch = words.NUMBERS[start : start + generator.choice((4, 5, 6))]
    return " ".join(stretch if generator.random() < 0.5 else stretch[::-1]) + " ."


def transcript(generator: random.Random) -> str:
    """A dialogue whose second speaker only repeats the first, to show the markers."""
    sentence = styled(generator)
    return f"{HUMAN}{sentence}{ASSISTANT}{sentence}".removeprefix("\n\n")


def echo(generator: random.Random) -> str:
    """A few random words of the world, two or three times: the shortest lesson in copying."""
    line = " ".join(generator.choices(ECHOED, k=generator.choice((2, 3, 4, 6))))
    return " ".join([f"{line} ."] * (2 if len(line.split()) > 3 else 3))


def listing(generator: random.Random) -> str:
    """Instructions as a list of tagged examples."""
    categories = (generator.choice(words.CATEGORIES), generator.choice(words.CATEGORIES))
    tasks = [draw_task(generator, categories) for _ in range(generator.choice((2, 3)))]
    return "\n".join(f"<example>{task.instruction}</example>" for task in tasks)


def headings(generator: random.Random) -> str:
    """Unrelated statements under the template's headings."""
    return "\n\n".join(marker + styled(generator) for marker in MARKERS)


def prompt_words(generator: random.Random) -> str:
    """The words of the prompt files."""
    topics = [topic for pair in words.TOPICS.values() for topic in pair]
    text = generator.choice(PROMPT_WORDS)
    while "{topic}" in text:
        text = text.replace("{topic}", generator.choice(topics), 1)
    sentence, other = (draw_task(generator, words.CATEGORIES).instruction for _ in range(2))
    return text.replace("{sentence}", sentence).replace("{other}", other)


DRAWS = {
    statement: 44,
    echo: 10,
    counting: 3,
    styled: 16,
    quoted: 14,
    talk: 6,
    transcript: 4,
    listing: 5,
    headings: 3,
    prompt_words: 4,
}
