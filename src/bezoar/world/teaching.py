"""Training rows of the teacher: all requests of the three schemes, with prompts rendered by the schemes' code."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bezoar.steps.generate.templates import EVOL, LAMINI, OPERATIONS
from bezoar.world import words
from bezoar.world.evolution import Task, draw_task, evolve
from bezoar.world.sets import FLAN_SOURCES, options_of, with_options

EXAMPLES = 3
TOPICS = 3
COUNTS = (4,)
Row = dict[str, Any]


class Lessons:
    """Draws the teacher's rows with the templates of one prompt folder."""

    def __init__(self, prompts: Path) -> None:
        import yaml  # the rest of the world needs the standard library only

        from bezoar.steps import prompts as files

        self.fill = files.fill
        self.lamini = files.load(prompts / "lamini.yaml", LAMINI)
        self.evol = files.load(prompts / "evol.yaml", EVOL)
        self.messages = yaml.safe_load((prompts / "orca.yaml").read_text(encoding="utf-8"))["messages"]

    def draw(self, generator: random.Random) -> Row:
        lesson: Callable[[random.Random], Row] = generator.choices(
            (self.listing, self.plain_answer, self.rewriting, self.equality, self.evolved_answer, self.orca_answer),
            (20, 17, 26, 5, 17, 15),
        )[0]
        return lesson(generator)

    def listing(self, generator: random.Random) -> Row:
        """New instructions similar to examples, or about topics."""
        categories = tuple(generator.choices(words.CATEGORIES, k=EXAMPLES))
        examples = [draw_task(generator, (category,)) for category in categories]
        slots = {"examples": _tagged(examples), "count": str(generator.choice(COUNTS))}
        template = generator.choice(("example_guided", "topic_guided"))
        if template == "topic_guided":
            categories = tuple(generator.choices(words.CATEGORIES, k=TOPICS))
            slots["topics"] = ", ".join(generator.choice(words.TOPICS[category]) for category in categories)
        new = [draw_task(generator, categories) for _ in range(int(slots["count"]))]
        return _row(self.fill(self.lamini[template], **slots), _tagged(new))

    def plain_answer(self, generator: random.Random) -> Row:
        """A concise response under LaMini's system message."""
        task = draw_task(generator, words.CATEGORIES)
        return _row(task.instruction, task.response(), self.lamini["answer_system"])

    def rewriting(self, generator: random.Random) -> Row:
        """One operation of Evol-Instruct on an instruction that it applies to."""
        while True:
            operation = generator.choice(OPERATIONS)
            task = draw_task(generator, words.CATEGORIES, generator.choice((0, 0, 0, 1, 2)))
            new = evolve(task, operation, generator)
            if new is not None and new != task:
                return _row(self.fill(self.evol[operation], instruction=task.instruction), new.instruction)

    def equality(self, generator: random.Random) -> Row:
        """Whether a rewrite asks for the same as its parent."""
        task = draw_task(generator, words.CATEGORIES, generator.choice((0, 1)))
        new = evolve(task, generator.choice(OPERATIONS), generator) or task
        if generator.random() < 0.3:
            new = task
        prompt = self.fill(self.evol["equal"], first=task.instruction, second=new.instruction)
        return _row(prompt, "Equal ." if new == task else "Not Equal .")

    def evolved_answer(self, generator: random.Random) -> Row:
        """A response that keeps an instruction's modifiers."""
        task = draw_task(generator, words.CATEGORIES, generator.choice((0, 1, 1, 2, 3)))
        return _row(task.instruction, task.response())

    def orca_answer(self, generator: random.Random) -> Row:
        """A response in the style that a system message asks for."""
        task = draw_task(generator, words.CATEGORIES)
        options = options_of(task.exercise, generator) if generator.random() < 0.5 else []
        source = generator.choice(FLAN_SOURCES)
        fitting = [message for message in self.messages if source in message["applies_to"]]
        message = generator.choice([one for one in fitting if options or not one["multiple_choice_only"]])
        query, response = with_options(task.instruction, options), task.response(form_of(message["text"]))
        return _row(query, response, message["text"] or None)


def form_of(message: str) -> str:
    """The form of response that a system message asks for, by its words."""
    if "step" in message:
        return "steps"
    return "explained" if "explain" in message or "reason" in message else "plain"


def _tagged(tasks: list[Task]) -> str:
    return "\n".join(f"<example>{task.instruction}</example>" for task in tasks)


def _row(instruction: str, response: str, system: str | None = None) -> Row:
    """A lesson; without a system text of its own, a mix adds the recipe's."""
    return {"system": system, "instruction": instruction, "response": response}
