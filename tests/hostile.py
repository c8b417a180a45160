"""Texts that may harm a browser or a terminal, and a project whose answers and judgments are such texts."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from scored import game, grade, lines, verdict

from bezoar.page.block import Page, PageEval, PagePart, PageScheme
from bezoar.steps.data.rows import QuestionRow, write_rows
from bezoar.steps.evaluate.checklist import CheckRow, ItemRow
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.evaluate.rubric import RubricRow

LONG = "long " * 2000  # 10,000 characters
TEXTS = {
    "script": "<script>document.title = 'harmed'</script></script><!--",
    "handler": "<img src=x onerror=\"document.title = 'harmed'\"><svg onload=alert(1)>",
    "link": "[click](javascript:alert(1)) <a href='javascript:alert(1)'>here</a> https://evil.example/",
    "template": "{{ 7 * 7 }} {% raw %} ${7 * 7} &lt;b&gt; \\u003cb\\u003e",
    "bidi": "pay \u202e99 \u2066left\u2069 \u200fright \u200bnothing",
    "ansi": "\x1b[31mred\x1b[0m \x1b]0;harmed\x07 \x9b2J back\rto the start",
    "separators": "one\u2028two\u2029three\x85four",
    "long": LONG,
}
# Reasons of a judge, who may write anything; JSON can contain characters that XML and UTF-8 can't.
REASONS = {**TEXTS, "not XML": "no \x00 and no \ufffe or \uffff", "surrogate": "half \ud83d"}
CHECKPOINTS = ["base", "sft"]
QUESTIONS = [
    QuestionRow(question_id=number, category=["math", "writing"][number % 2], turns=[f"{name}: {text}", "And then?"])
    for number, (name, text) in enumerate(TEXTS.items(), start=1)
]
TURNS = (1, 2)
TEMPLATES = "recipes/templates"
HUB = {
    "method": "hub",
    "repository": "some/model",
    "revision": "0" * 40,
    "chat_template": f"{TEMPLATES}/openbezoar.jinja",
}
ROOT = Path(__file__).parents[1]
JUDGING = "recipes/prompts/judging"


def recipe() -> dict[str, Any]:
    """One block of answers, with an evaluation of every method that judges them."""
    made = {"kind": "builtin", "rows": 80}
    common = {"checkpoints": CHECKPOINTS, "answers": "asked", "judge": "rules", "controls": ["empty"]}
    sources = {"questions": "questions", "references": "references", "prompts": "judge_prompts"}
    return {
        "recipe": "hostile",
        "models": dict.fromkeys(CHECKPOINTS, HUB),
        "backends": {"rules": {"kind": "verifier"}},
        "sources": {name: {"origin": made | {"set": kind}, "format": kind} for name, kind in sources.items()},
        "answers": {"asked": {"questions": "questions"}},
        "evals": {
            "rated": {"method": "mtbench", "references": "references", "judge_prompts": "prompts", **common},
            "graded": {
                "method": "rubric",
                "prompts": f"{JUDGING}/rubric.yaml",
                "rubric": f"{JUDGING}/helpfulness.yaml",
                "repeats": 2,
                **common,
            },
            "checked": {"method": "checklist", "author": "rules", "prompts": f"{JUDGING}/checklist.yaml", **common},
            "paired": {
                "method": "pairwise",
                "judge_prompts": "prompts",
                "baseline": "base",
                "reference_categories": [],
                **common,
            },
        },
    }


def write_answers(root: Path) -> None:
    """Write params.yaml, questions, answers of two checkpoints, and judgments of four methods.

    The second checkpoint is better; its first answer is cut, and its last one empty.
    """
    for folder in (JUDGING, TEMPLATES):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "params.yaml").write_text(yaml.safe_dump(recipe(), sort_keys=False))
    write_rows(root / "data/source/questions/rows.jsonl", QUESTIONS)
    write_rows(
        root / "data/checklists/checked/items.jsonl",
        [
            ItemRow(question_id=one.question_id, turn=turn, item=item, text=f"Item {item}? {text}", author="a")
            for one, text in zip(QUESTIONS, TEXTS.values(), strict=True)
            for turn in TURNS
            for item in (0, 1)
        ],
    )
    for place, name in enumerate(CHECKPOINTS):
        _answers(root, name)
        _judged(root, name, 4.0 + 2 * place)
    _games(root)


def _answers(root: Path, name: str) -> None:
    texts = [*TEXTS.values()]
    said = [[f"{name} {text}", text] for text in texts[:-1]] + [[f"{name} {texts[-1]}", "" if name == "sft" else "x"]]
    folder = root / f"data/answers/asked/{name}"
    write_rows(
        folder / "answers.jsonl", [answer_row(name, one, turns) for one, turns in zip(QUESTIONS, said, strict=True)]
    )
    ends = ("length" if name == "sft" and (number, turn) == (1, 1) else "stop" for number, turn in _places())
    known = {"tokens": 3, "logprob": -1.0}
    lines(
        folder / "turns.jsonl",
        [
            {"question_id": number, "turn": turn, "finish_reason": end, **known}
            for (number, turn), end in zip(_places(), ends, strict=True)
        ],
    )


def _judged(root: Path, name: str, score: float) -> None:
    """MT-Bench, a rubric with two gradings of each answer, and a checklist of two items."""
    rated = root / f"data/judgments/rated/{name}"
    refused = ("base", 2, 1)
    write_rows(
        rated / "verdicts.jsonl", [verdict(name, *one, None if (name, *one) == refused else score) for one in _places()]
    )
    lines(
        rated / "judgments.jsonl",
        [{"question_id": number, "turn": turn, "judgment": _said(number), "score": 1} for number, turn in _places()],
    )
    graded, keys = root / f"data/gradings/graded/{name}", {"parse_flag": "ok", "with_reference": False}
    parts = [(number, turn, part) for number, turn in _places() for part in (0, 1)]
    write_rows(
        graded / "gradings.jsonl", [RubricRow(**keys, **grade(name, *one, 1.0 + one[2] + score // 4)) for one in parts]
    )
    lines(
        graded / "feedback.jsonl",
        [
            {"question_id": number, "turn": turn, "part": part, "text": f"{part} {_said(number)}"}
            for number, turn, part in parts
        ],
    )
    write_rows(
        root / f"data/checks/checked/{name}/checks.jsonl",
        [CheckRow(yes=0.5, mass=1.0, **grade(name, *one, score)) for one in parts],
    )


def _games(root: Path) -> None:
    """Both games of the first turn against the baseline."""
    folder, numbers = root / "data/comparisons/paired/sft", [one.question_id for one in QUESTIONS]
    write_rows(folder / "verdicts.jsonl", [game("sft", number, seat) for number in numbers for seat in (1, 2)])
    lines(
        folder / "judgments.jsonl",
        [
            {"question_id": number, "turn": 1, "g1_judgment": f"g1 {_said(number)}", "g2_judgment": f"g2 {number}"}
            for number in numbers
        ],
    )


def _said(number: int) -> str:
    return f"judge: {[*TEXTS.values()][number - 1]}"


def _places() -> Iterable[tuple[int, int]]:
    return ((one.question_id, turn) for one in QUESTIONS for turn in TURNS)


def page() -> Page:
    """What a page knows of a recipe with these rows and answers."""
    evals = {
        name: PageEval(
            method=one["method"], checkpoints=CHECKPOINTS, models=CHECKPOINTS, answers="asked", questions="questions"
        )
        for name, one in recipe()["evals"].items()
    }
    return Page(
        recipe="hostile",
        shards=2,
        models={},
        schemes={"evol": PageScheme(method="evol", seeds="seeds", weights=None)},
        filters={"evol": "evol"},
        mixes={"all": [PagePart(kind="scheme", name="evol"), PagePart(kind="source", name="seeds")]},
        stages={},
        evals=evals,
    )


def write_steps(root: Path, repeat: int = 1) -> None:
    """Write the rows of each step: of both shards, every text is kept and rejected `repeat` times.

    The mix and the certificate write down only the ids of the rows that they leave out.
    """
    lines(root / "data/source/seeds/dropped.jsonl", [dropped("not JSON", TEXTS["bidi"], {"value": TEXTS["script"]})])
    lines(root / "data/source/seeds/rows.jsonl", [{"id": "s0", "instruction": "Seed?", "response": "Seed."}])
    for shard in ("0000", "0001"):
        rows = [generated(f"{shard}{n}{name}", text) for n in range(repeat) for name, text in TEXTS.items()]
        parent = {"instruction": TEXTS["handler"], "parent": "p", "operation": "deepen", "round": 1}
        lines(root / f"data/generated/evol/{shard}/dropped.jsonl", [dropped("equals its parent", "", parent)])
        folder = root / f"data/filtered/evol/{shard}"
        lines(folder / "kept.jsonl", rows)
        lines(folder / "rejected.jsonl", [dropped("judge: wrong", row["reason"], row) for row in rows])
    mixed = [
        {
            "id": f"m{name}",
            "prompt": [{"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": "A"}],
        }
        for name, text in TEXTS.items()
    ]
    lines(root / "data/mixes/all/dropped.jsonl", [dropped("duplicate", "", {"id": "s0", "part": "seeds"})])
    lines(root / "data/mixes/all/train.jsonl", mixed)
    lines(root / "data/mixes/all/eval.jsonl", [])
    hit = {"split": "train", "id": "mscript"}
    lines(root / "data/certified/all/dropped.jsonl", [dropped("evaluation item", "rated 1", hit)])
    lines(root / "data/certified/all/train.jsonl", mixed[1:])
    lines(root / "data/certified/all/eval.jsonl", [])


def dropped(reason: str, detail: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row that a step left out."""
    return {"reason": reason, "detail": detail, "row": row}


def generated(name: str, text: str) -> dict[str, Any]:
    """A row of a scheme with the judge's verdict."""
    return {"id": name, "instruction": text, "response": f"Answer to {text}", "rating": 3.0, "reason": f"So: {text}"}
