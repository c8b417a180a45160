"""Seeds, questions and evals of the world, each in the row format that its public counterpart has."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bezoar.steps.data.formats.hh_rlhf import ASSISTANT, HUMAN
from bezoar.world import words
from bezoar.world.dialogue import (
    Ask,
    asked,
    draw_ask,
    draw_second_turn,
    follow,
    preferred,
    wrong_response,
)
from bezoar.world.evolution import Task, draw_task
from bezoar.world.tasks import Exercise, draw_exercise

Rows = Iterator[dict[str, Any]]

LAMINI_CATEGORIES = ("writing", "roleplay", "extraction", "humanities")
ORCA_CATEGORIES = ("math", "reasoning", "coding", "stem")
FLAN_SOURCES = ("CoT", "NIV2", "Flan2021", "T0")
REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
FIRST_QUESTION = 81

# Ten questions per category: kinds of the first and the second turn.
QUESTION_PLAN = (
    ("plain", "follow_up"), ("plain", "follow_up"), ("plain", "next"), ("plain", "ask"), ("modified", "follow_up"),
    ("modified", "follow_up"), ("modified", "next"), ("modified", "ask"), ("ask", "next"), ("ask", "ask"),
)  # fmt: skip
# Of twenty preference pairs: single turns, then second turns by kind.
PREFERENCE_PLAN: tuple[tuple[str, str | None], ...] = (
    (("ask", None),) * 8 + (("plain", None),) * 1 + (("modified", None),) * 1
)
PREFERENCE_PLAN += (("plain", "ask"),) * 2 + (("ask", "ask"),) * 1
PREFERENCE_PLAN += (("plain", "follow_up"),) * 3 + (("modified", "follow_up"),) * 2
PREFERENCE_PLAN += (("plain", "next"),) * 1 + (("ask", "next"),) * 1


def distinct(draw: Callable[[], Any], key: Callable[[Any], str]) -> Iterator[Any]:
    """Endless draws, each key once; when all are used, they start again."""
    seen: set[str] = set()
    misses = 0
    while True:
        item = draw()
        if key(item) in seen:
            misses += 1
            if misses < 200:
                continue
            seen.clear()
        misses = 0
        seen.add(key(item))
        yield item


def instruction_of(item: Task | Ask) -> str:
    return item.instruction


def seed_tasks(generator: random.Random) -> Rows:
    """Plain tasks of LaMini's categories, in Self-Instruct's format."""
    for number, task in enumerate(distinct(lambda: draw_task(generator, LAMINI_CATEGORIES), instruction_of)):
        yield {
            "id": f"seed_task_{number}",
            "name": f"{task.exercise.kind.name}_{number}",
            "instruction": task.instruction,
            "instances": [{"input": "", "output": task.response()}],
            "is_classification": False,
        }


def dolly(generator: random.Random) -> Rows:
    """Plain tasks of all categories, in databricks-dolly-15k's format."""
    for task in distinct(lambda: draw_task(generator, words.CATEGORIES), instruction_of):
        yield {
            "instruction": task.instruction,
            "context": "",
            "response": task.response(),
            "category": task.category,
        }


def flan(generator: random.Random) -> Rows:
    """Queries of Orca's categories, half with the possible answers listed, in the format of the FLAN submix dumps."""
    for exercise in distinct(lambda: draw_exercise(generator, ORCA_CATEGORIES), lambda item: item.instruction):
        options = options_of(exercise, generator) if generator.random() < 0.5 else []
        yield {
            "inputs": with_options(exercise.instruction, options),
            "targets": exercise.answer,
            "task_source": generator.choice(FLAN_SOURCES),
            "task_name": exercise.kind.name,
            "template_type": "zs_opt" if options else "zs_noopt",
        }


def with_options(instruction: str, options: list[str]) -> str:
    """A query that lists its possible answers."""
    return f"{instruction} options : {' , '.join(options)} ." if options else instruction


def options_of(exercise: Exercise, generator: random.Random) -> list[str]:
    """Four possible answers in random order, the right one among them; none if an answer has more than one word."""
    answer = exercise.answer.removesuffix(" .")
    (kind, *rest) = words.signature(answer)
    if rest or kind not in words.WORDS_OF_SLOT or exercise.category == "coding":
        return []
    wrong = [word for word in words.WORDS_OF_SLOT[kind] if word != answer]
    options = [answer, *generator.sample(wrong, 3)]
    generator.shuffle(options)
    return options


def preferences(generator: random.Random) -> Rows:
    """Pairs of transcripts in HH-RLHF's format: asks with noisy labels, and tasks where chosen is right."""
    while True:
        first_kind, second_kind = generator.choice(PREFERENCE_PLAN)
        item = _first_turn(first_kind, words.CATEGORIES, generator, held_out=False)
        transcript = HUMAN + item.instruction
        if second_kind:
            turn = draw_second_turn(item, second_kind, generator)
            transcript += ASSISTANT + _spoken(item, generator) + HUMAN + turn
            later = follow(item, turn)
            if later is None:
                continue
            item = later
        chosen, rejected = _pair(item, generator)
        yield {"chosen": transcript + ASSISTANT + chosen, "rejected": transcript + ASSISTANT + rejected}


def _first_turn(kind: str, categories: tuple[str, ...], generator: random.Random, held_out: bool) -> Task | Ask:
    if kind == "ask":
        return draw_ask(generator, held_out)
    rounds = generator.choice((1, 1, 2)) if kind == "modified" else 0
    return draw_task(generator, categories, rounds, held_out)


def _spoken(item: Task | Ask, generator: random.Random) -> str:
    """The assistant's earlier turn in a transcript: a right response, sometimes explained."""
    if isinstance(item, Ask):
        return item.response()
    return item.response(generator.choice(("plain", "plain", "explained")))


def _pair(item: Task | Ask, generator: random.Random) -> tuple[str, str]:
    if isinstance(item, Ask):
        return preferred(item, generator)
    return item.response(), wrong_response(item, generator)


def questions(generator: random.Random) -> Rows:
    """Two-turn questions about held-out items, ten per category, in MT-Bench's format."""
    number = FIRST_QUESTION
    draws = {
        category: {
            kind: distinct(partial(_first_turn, kind, (category,), generator, held_out=True), instruction_of)
            for kind in ("plain", "modified", "ask")
        }
        for category in words.CATEGORIES
    }
    while True:
        for category in words.CATEGORIES:
            for first_kind, second_kind in QUESTION_PLAN:
                item = next(draws[category][first_kind])
                turn = draw_second_turn(item, second_kind, generator, held_out=True)
                yield {"question_id": number, "category": category, "turns": [item.instruction, turn]}
                number += 1


def references(asked_questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Right responses to questions of the categories that MT-Bench has references for."""
    return [
        {
            "question_id": question["question_id"],
            "answer_id": f"reference_{question['question_id']}",
            "model_id": "world",
            "choices": [{"index": 0, "turns": _right_answers(*question["turns"])}],
            "tstamp": 0.0,
        }
        for question in asked_questions
        if question["category"] in REFERENCE_CATEGORIES
    ]


def _right_answers(first: str, second: str) -> list[str]:
    items = asked([first]), asked([first, "", second])
    return [item.response() for item in items if item is not None]


def multiple_choice(generator: random.Random) -> Rows:
    """Held-out questions with four choices, for lm-eval."""
    closed = ("reasoning", "math", "extraction", "stem", "humanities")
    for exercise in distinct(lambda: draw_exercise(generator, closed, held_out=True), lambda item: item.instruction):
        choices = options_of(exercise, generator)
        answer = exercise.answer.removesuffix(" .")
        yield {
            "question": exercise.instruction,
            "choices": [f"{choice} ." for choice in choices],
            "answer": choices.index(answer),
        }


def preference_choices(generator: random.Random) -> Rows:
    """Held-out asks with their four known responses; the best one is the answer; for lm-eval."""
    for ask in distinct(lambda: draw_ask(generator, held_out=True), instruction_of):
        choices = list(ask.responses())
        generator.shuffle(choices)
        yield {"question": ask.instruction, "choices": choices, "answer": choices.index(ask.response())}


def generation(generator: random.Random) -> Rows:
    """Held-out plain tasks with their exact responses, for lm-eval."""
    for task in distinct(lambda: draw_task(generator, words.CATEGORIES, held_out=True), instruction_of):
        yield {"instruction": task.instruction, "response": task.response()}
