"""`bezoar answers`: answers of checkpoints to the same questions, side by side, with what judges said of them."""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bezoar.text import printable, show

if TYPE_CHECKING:
    from bezoar.cli import Commands
    from bezoar.recipe.recipe import Recipe
    from bezoar.steps.evaluate.answered import Answer, Asked, Judgment, Question

SHOWN = 1200  # characters of a text
COLUMN = 36  # fewest characters of a column
SCORE = 6  # characters of a score in the overview


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "answers",
        help="answers of checkpoints side by side, with judgments",
        description="A line for each question with its scores by checkpoint; with --question, the answers themselves, "
        "side by side, with what judges said of each.",
    )
    parser.add_argument("name", metavar="ANSWERS|EVAL", nargs="?", help="not needed where the recipe has one of them")
    parser.add_argument("--question", type=int, action="append", default=[], metavar="N", help="show this question")
    parser.add_argument("--category", metavar="C", help="questions of this category only")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="NAME", help="this one; all by default")
    parser.add_argument("--json", action="store_true", help="for programs, with whole texts")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the overview, or questions with answers."""
    from dataclasses import asdict

    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.audit.redact import without_secrets

    asked = asked_by(args.name, args.checkpoint, recipes.load())
    found = _chosen(asked, args)
    if args.json:
        shown = [asdict(one) for one in found]
        show(json.dumps(without_secrets({"answers": asked.answers, "questions": shown}), indent=2))
    elif args.question:
        show("\n\n".join("\n".join(_whole(one, asked)) for one in found))
    else:
        show("\n".join(_overview(found, asked)))
    return 0


def asked_by(name: str | None, checkpoints: Sequence[str], recipe: "Recipe") -> "Asked":
    """What a name means: a block of `answers` with all evaluations of it, or one evaluation.

    Raises:
        InputError: No such block is asked or evaluated, or the recipe has several and none is named.
    """
    from bezoar.errors import InputError, problem
    from bezoar.steps.evaluate.answered import Asked
    from bezoar.steps.evaluate.evaluation import AnsweredEval

    evals = [one for one in recipe.evals.values() if isinstance(one, AnsweredEval)]
    names = list(dict.fromkeys(one.answers for one in evals))
    chosen = [one for one in evals if name is None or name in (one.name, one.answers)]
    if len({one.answers for one in chosen}) != 1:
        expected = f"one of {', '.join(dict.fromkeys([*names, *(one.name for one in evals)]))}" if evals else "some"
        what = "the recipe asks no questions" if not evals else "which answers?"
        raise InputError(problem(what, found=name or "no name", expected=expected))
    known = list(dict.fromkeys(one for block in chosen for one in block.checkpoints))
    for one in checkpoints:
        if one not in known:
            raise InputError(problem("no answers of this checkpoint", found=one, expected=", ".join(known)))
    return Asked(
        answers=chosen[0].answers,
        source=recipe.answers[chosen[0].answers].questions,
        checkpoints=tuple(checkpoints or known),
        judged=tuple((one.name, one.method) for one in chosen if one.asks),
    )


def _chosen(asked: "Asked", args: argparse.Namespace) -> "list[Question]":
    """The questions that the arguments name, with answers of this folder or of the cache.

    Raises:
        InputError: There are none.
    """
    from bezoar.compare.sides import of_workspace
    from bezoar.errors import InputError, problem
    from bezoar.steps.evaluate.answered import questions_of

    every = list(questions_of(asked, of_workspace().read))
    if not every:
        expected, hint = "answers that are built", "`snakemake` makes them"
        raise InputError(problem(f"no answers of {asked.answers} are here", found="none", expected=expected, hint=hint))
    for number in args.question:
        if number not in {one.number for one in every}:
            expected = f"one of {every[0].number} to {every[-1].number}"
            raise InputError(problem("no question of this number", found=number, expected=expected))
    found = [one for one in every if args.category in (None, one.category)]
    if not found:
        expected = ", ".join(sorted({one.category for one in every}))
        raise InputError(problem("no question of this category", found=args.category, expected=expected))
    return [one for one in found if not args.question or one.number in args.question]


def _overview(found: "list[Question]", asked: "Asked") -> Iterator[str]:
    """A line for each question: its scores by checkpoint, which are means of all turns, and what it asks."""
    width = shutil.get_terminal_size().columns
    legend = [f"{number} {name}" for number, name in enumerate(asked.checkpoints, start=1)]
    yield f"answers {asked.answers}, {len(found):,} questions; {', '.join(legend)}"
    for evaluation, method in asked.judged or ((None, ""),):
        numbers = range(1, len(asked.checkpoints) + 1) if evaluation else ()
        head = f"{'':>6}  {'category':<13}" + "".join(f"{number:>{SCORE}}" for number in numbers)
        yield f"\n{evaluation} ({method})" if evaluation else ""
        yield head
        for one in found:
            scores = [_mean(one.answers.get(name, ()), evaluation) for name in asked.checkpoints if evaluation]
            line = f"{one.number:>6}  {_line(one.category)[:12]:<13}" + "".join(f"{text:>{SCORE}}" for text in scores)
            yield _clipped(f"{line}  {_line(one.turns[0])}", width)
    yield f"\nbezoar answers {asked.answers} --question {found[0].number} shows the answers to one"


def _mean(answers: "Sequence[Answer]", evaluation: str) -> str:
    """The mean of the scores of all turns; a dash without any."""
    scores = [score for one in answers if (score := one.score(evaluation)) is not None]
    return f"{sum(scores) / len(scores):.2f}" if scores else "-"


def _whole(question: "Question", asked: "Asked") -> Iterator[str]:
    """A question: each turn with the answers in columns, as many side by side as the width has room for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size().columns
    console = Console(width=width, color_system=None, force_terminal=False)
    yield f"question {question.number}, {_line(question.category)}"
    names = [name for name in asked.checkpoints if name in question.answers]
    for turn, text in enumerate(question.turns):
        yield f"\nturn {turn + 1}: {_text(text)}"
        for band in _bands(names, max(1, width // COLUMN)):
            table = Table(box=None, width=width, pad_edge=False, show_header=False)
            for _ in band:
                table.add_column(ratio=1, overflow="fold")
            table.add_row(*(Text(f"\n[{name}]") for name in band))
            table.add_row(*(Text(_answer(question.answers[name], turn)) for name in band))
            with console.capture() as capture:
                console.print(table)
            yield "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _bands(names: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Names in rows of at most so many, of about equal lengths."""
    rows = -(-len(names) // most)
    size = -(-len(names) // rows) if rows else 1
    return (names[start : start + size] for start in range(0, len(names), size))


def _answer(answers: "Sequence[Answer]", turn: int) -> str:
    """An answer with what judges said of it."""
    if turn >= len(answers):
        return "(no answer)"
    one = answers[turn]
    notes = ["(empty answer)"] if not one.text.strip() else [_text(one.text)]
    if one.ending == "length":
        notes.append("(cut by the token limit)")
    return "\n".join([*notes, *(_judgment(each) for each in one.judgments)])


def _judgment(one: "Judgment") -> str:
    """A judgment: its score, or why there is none, and the judge's words."""
    score = f"{one.score:g}" if one.score is not None else f"no score, {one.status}"
    head = f"- {one.evaluation}{f', {_text(one.part)}' if one.part else ''}: {score}"
    return f"{head}\n  {_text(one.text)}" if one.text.strip() else head


def _text(text: str) -> str:
    """A text without secrets and control characters, cut to its start."""
    from bezoar.audit.redact import without_secrets

    shown: Any = without_secrets(text)
    more = f" [{len(shown) - SHOWN:,} more characters]" if len(shown) > SHOWN else ""
    return printable(shown[:SHOWN]).strip("\n") + more


def _line(text: str) -> str:
    """The same on one line."""
    return printable(_text(text), lines=False)


def _clipped(line: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(line, width).rstrip()
