"""A folder with results of every method and the scores of items that they are made of, by the real reports."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from harness_data import write_settings

from bezoar.steps.data.rows import QuestionRow, write_rows
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.evaluate.checklist import Checklist, CheckRow, ItemRow
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.evaluate.likelihood import Likelihood, LikelihoodRow
from bezoar.steps.evaluate.mtbench import Mtbench, VerdictRow
from bezoar.steps.evaluate.pairwise import GameRow, Pairwise
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.evaluate.rubric import Rubric, RubricRow
from bezoar.steps.evaluate.side_by_side import SideBySide
from bezoar.steps.report import agreement, checklist, harness, likelihood, rubric, side_by_side
from bezoar.steps.report import mtbench as judged
from bezoar.steps.report import pairwise as pairs

CHECKPOINTS = ["base", "sft", "dpo"]
QUESTIONS = [
    QuestionRow(question_id=number, category=["math", "writing"][number % 2], turns=["One?", "Two?"])
    for number in range(24)
]
JUDGED = {
    "method": "mtbench",
    "answers": "asked",
    "references": "known",
    "judge_prompts": "prompts",
    "judge": "judge",
}


def lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rating(checkpoint: str, number: int, turn: int) -> float | None:
    """A judge's rating: better by 2 at each step, and noisy."""
    step = CHECKPOINTS.index(checkpoint) if checkpoint in CHECKPOINTS else -1
    return 1.0 if step < 0 else float(2 + 2 * step + (number + turn) % 3)


def verdict(model: str, number: int, turn: int, score: float | None, judge: str = "j") -> VerdictRow:
    """A judge's verdict."""
    return VerdictRow(
        model=model,
        judge_id=judge,
        question_id=number,
        turn=turn,
        sample_index=0,
        status="ok" if score is not None else "refused",
        parse_flag="ok" if score is not None else "none",
        score=score,
        score_fastchat=score,
        model_returned="parrot",
        answer_empty=False,
        answer_has_delimiter=False,
        answer_has_rating=False,
    )


Rate = Callable[[str, int, int], float | None]


def write_mtbench(
    root: Path, name: str = "judged", rate: Rate = rating, judge: str = "j", *, allow: bool = False
) -> None:
    """MT-Bench with one control; `allow` goes on with a judge that fails it."""
    keys = {"controls": ["empty"], "bootstrap_samples": 200, "allow_compromised": allow}
    block = Mtbench(**JUDGED, checkpoints=CHECKPOINTS, **keys)
    folder = root / f"data/judgments/{name}"
    for model in block.judged():
        rows = [
            verdict(model, one.question_id, turn, rate(model, one.question_id, turn), judge)
            for one in QUESTIONS
            for turn in (1, 2)
        ]
        write_rows(folder / model / "verdicts.jsonl", rows)
    asked, other = root / "data/source/asked/rows.jsonl", root / "data/source/known/rows.jsonl"
    write_rows(asked, QUESTIONS)
    write_rows(other, [answer_row("known", QUESTIONS[0], ["a", "b"])])
    judged.write_report(folder, asked, other, other, block, 0, root / f"results/{name}.json", {})


def write_harness(root: Path, name: str = "harness", shift: int = 0) -> None:
    """Two tasks: one of shares by item, and one with a metric that is no mean over items."""
    block = Harness(method="harness", checkpoints=CHECKPOINTS, tasks=["choices", "words"])
    folder = root / f"data/harness/{name}"
    for step, checkpoint in enumerate(CHECKPOINTS):
        right = [float((number * 7) % 10 < 3 + 2 * step + shift) for number in range(100)]
        mean = sum(right) / 100
        found = {"choices": {"acc,none": mean, "acc_stderr,none": (mean * (1 - mean) / 99) ** 0.5}}
        found["words"] = {"bleu,strip": 20.0 + step, "bleu_stderr,strip": "N/A"}
        for task, values in found.items():
            result = {"results": {task: values}, "versions": {task: 1.0}, "n-samples": {task: {"effective": 100}}}
            result["n-shot"] = {task: 0}
            path = folder / checkpoint / task
            path.mkdir(parents=True, exist_ok=True)
            (path / "result.json").write_text(json.dumps(result))
            items = [
                {"task": task, "id": str(n), "filter": "none", "scores": {"acc": one}} for n, one in enumerate(right)
            ]
            lines(path / "items.jsonl", items if task == "choices" else [])
    for task in block.tasks:
        write_settings(root / f"data/tasks/{name}/{task}")
    harness.write_report(folder, root / f"data/tasks/{name}", block, root / f"results/{name}.json", {})


def write_likelihood(root: Path, name: str = "held", tokens: int = 10) -> None:
    """Twenty answers of ten families."""
    block = Likelihood(method="likelihood", checkpoints=CHECKPOINTS, mixes=["sums"], bootstrap_samples=200)
    noise = random.Random(0)
    paths = [root / f"data/likelihood/{name}/{checkpoint}/scores.jsonl" for checkpoint in CHECKPOINTS]
    base = [-20.0 - noise.random() for _ in range(20)]
    for step, path in enumerate(paths):
        values = [one + 2 * step + noise.random() / 10 for one in base]
        write_rows(
            path,
            [
                LikelihoodRow(mix="sums", id=f"{n}", family=f"{n // 2}", tokens=tokens, loglikelihood=round(one, 4))
                for n, one in enumerate(values)
            ],
        )
    likelihood.write_report(paths, block, 0, root / f"results/{name}.json")


def write_answers(root: Path, name: str = "look") -> None:
    """Answers side by side."""
    block = SideBySide(method="answers", checkpoints=CHECKPOINTS, answers="asked")
    folder = root / f"data/answers/{name}"
    for checkpoint in CHECKPOINTS:
        write_rows(
            folder / checkpoint / "answers.jsonl",
            [answer_row(checkpoint, one, ["one", ""]) for one in QUESTIONS],
        )
        end = {"turn": 1, "finish_reason": "stop", "tokens": 2, "logprob": -1.0}
        ends = [{"question_id": one.question_id, **end} for one in QUESTIONS]
        lines(folder / checkpoint / "turns.jsonl", ends)
    write_rows(root / "data/source/asked/rows.jsonl", QUESTIONS)
    side_by_side.write_report(folder, root / "data/source/asked/rows.jsonl", block, root / f"results/{name}.json")


def write_pairwise(root: Path, name: str = "pairs") -> None:
    """Games against the first checkpoint, with one control."""
    values = {key: JUDGED[key] for key in ("answers", "judge_prompts", "judge")}
    block = Pairwise(
        **values,
        method="pairwise",
        checkpoints=CHECKPOINTS,
        baseline="base",
        controls=["empty"],
        style=["length"],
        bootstrap_samples=200,
    )
    folder = root / f"data/comparisons/{name}"
    for model in block.judged():
        rows = [game(model, one.question_id, number) for one in QUESTIONS for number in (1, 2)]
        write_rows(folder / model / "verdicts.jsonl", rows)
    asked = root / "data/source/asked/rows.jsonl"
    write_rows(asked, QUESTIONS)
    (root / "prompts.jsonl").write_text("")
    out = root / f"results/{name}.json"
    pairs.write_report(folder, asked, None, root / "prompts.jsonl", block, 0, out, {})


def game(model: str, number: int, seat: int) -> GameRow:
    """A verdict: by the ratings of both answers, noisy by the seat; an empty answer loses."""
    gap = (rating(model, number, 1) or 0) - (rating("base", number, seat) or 0) if model in CHECKPOINTS else -1
    score = 0.5 if gap == 0 else float(gap > 0)
    length = 0 if model not in CHECKPOINTS else 40 + (number * 7) % 13
    counts = {"headers": 0, "lists": 0, "bold": 0}
    first = score if seat == 2 else 1 - score
    return GameRow(
        model=model,
        judge_id="j",
        question_id=number,
        turn=1,
        game=seat,
        sample_index=0,
        status="ok",
        parse_flag="ok",
        verdict={1.0: "A>B", 0.5: "A=B", 0.0: "B>A"}[first],
        score=score,
        model_returned="m",
        answer_has_delimiter=False,
        answer_has_verdict=False,
        model_counts={"length": length, **counts},
        baseline_counts={"length": 45, **counts},
    )


def write_agreement(root: Path, name: str = "judges") -> None:
    """The judge of MT-Bench beside another one, whose own report isn't among the results."""
    block = Agreement(method="agreement", checkpoints=CHECKPOINTS, evals=["judged", "other"], bootstrap_samples=200)
    grades = [root / f"data/judgments/{judge}/{one}/verdicts.jsonl" for judge in block.evals for one in CHECKPOINTS]
    for one in CHECKPOINTS:
        rows = [verdict(one, asked.question_id, turn, 5.0 + turn) for asked in QUESTIONS for turn in (1, 2)]
        write_rows(root / f"data/judgments/other/{one}/verdicts.jsonl", rows)
    report = root / "results/judged.json"
    other = root / "data/other.json"
    other.write_bytes(report.read_bytes())
    asked = root / "data/source/asked/rows.jsonl"
    out = root / f"results/{name}.json"
    agreement.write_report(grades, [report, other], asked, block, 0, out)


def grade(model: str, number: int, turn: int, part: int, score: float) -> dict[str, Any]:
    """A judge's grading, with what both methods' rows have."""
    flags = dict.fromkeys(("answer_empty", "answer_has_delimiter", "answer_has_rating"), False)
    place = {"model": model, "question_id": number, "turn": turn, "part": part, "score": score}
    return place | flags | {"judge_id": "j", "status": "ok", "model_returned": "parrot"}


def write_checklist(root: Path, name: str = "checked") -> None:
    """Two items for each answer, and one control."""
    keys = {"answers": "asked", "author": "author", "judge": "judge", "prompts": "p", "controls": ["empty"]}
    block = Checklist(method="checklist", checkpoints=CHECKPOINTS, bootstrap_samples=200, **keys)
    asked, items = root / "data/source/asked/rows.jsonl", root / f"data/checklists/{name}/items.jsonl"
    write_rows(asked, QUESTIONS)
    write_rows(items, [ItemRow(question_id=0, turn=1, item=0, text="Is it?", author="author")])
    for model in block.judged():
        rows = [
            CheckRow(yes=(score - 1) / 9, mass=1.0, **grade(model, one.question_id, turn, part, score))
            for one in QUESTIONS
            for turn in (1, 2)
            for part in (0, 1)
            if (score := rating(model, one.question_id, turn)) is not None
        ]
        write_rows(root / f"data/checks/{name}/{model}/checks.jsonl", rows)
    inputs = checklist.Inputs(root / f"data/checks/{name}", asked, items, items)
    checklist.write_report(inputs, block, 0, root / f"results/{name}.json", {})


RUBRIC = {"version": 1, "criterion": "Is it?", "scores": dict.fromkeys(range(1, 6), "so")}


def write_rubric(root: Path, name: str = "graded") -> None:
    """Two gradings of each answer, and one control."""
    keys = {"answers": "asked", "judge": "judge", "prompts": "p", "rubric": "r", "controls": ["empty"], "repeats": 2}
    block = Rubric(method="rubric", checkpoints=CHECKPOINTS, bootstrap_samples=200, **keys)
    asked, shown = root / "data/source/asked/rows.jsonl", root / "rubric.yaml"
    write_rows(asked, QUESTIONS)
    shown.write_text(yaml.safe_dump(RUBRIC))
    for model in block.judged():
        rows = [
            RubricRow(parse_flag="ok", with_reference=False, **grade(model, one.question_id, turn, part, score))
            for one in QUESTIONS
            for turn in (1, 2)
            for part in (0, 1)
            if (score := rating(model, one.question_id, turn)) is not None
        ]
        rows = [row.model_copy(update={"score": (1 + (row.score or 0)) // 2}) for row in rows]  # from 1 to 5
        write_rows(root / f"data/gradings/{name}/{model}/gradings.jsonl", rows)
    inputs = rubric.Inputs(root / f"data/gradings/{name}", asked, shown, shown, None)
    rubric.write_report(inputs, block, 0, root / f"results/{name}.json", {})


WRITERS = {
    "mtbench": write_mtbench,
    "checklist": write_checklist,
    "rubric": write_rubric,
    "pairwise": write_pairwise,
    "harness": write_harness,
    "likelihood": write_likelihood,
    "answers": write_answers,
    "agreement": write_agreement,
}
NAMES = {
    "mtbench": "judged",
    "checklist": "checked",
    "rubric": "graded",
    "pairwise": "pairs",
    "harness": "harness",
    "likelihood": "held",
    "answers": "look",
    "agreement": "judges",
}
