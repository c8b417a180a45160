"""The judge prompts of the embedded recipe, in FastChat's schema and with its slots, in our own words."""

from typing import Any

TASK = "You grade a small assistant. Rate its answer from 1 to 10, 10 for a fully right one."
FORMAT = "Explain in one sentence, then write the rating as [[rating]]."
SINGLE = "[Question]\n{question}\n\n[Answer]\n{answer}\n[End of answer]"
SINGLE_REFERENCE = "[Question]\n{question}\n\n[Reference]\n{ref_answer_1}\n\n[Answer]\n{answer}\n[End of answer]"
FIRST = "[User]\n{question_1}\n\n[Assistant]\n{answer_1}"
SECOND = "[User]\n{question_2}\n\n[Assistant]\n{answer_2}\n[End of dialogue]"
FIRST_REFERENCE = "[User]\n{question_1}\n\n[Reference]\n{ref_answer_1}\n\n[Assistant]\n{answer_1}"
SECOND_REFERENCE = "[User]\n{question_2}\n\n[Reference]\n{ref_answer_2}\n\n[Assistant]\n{answer_2}\n[End of dialogue]"


def judge_prompts() -> list[dict[str, Any]]:
    """Single-answer grading for one and for two turns, with and without references."""
    second = "Only the answer to the second question counts."
    return [
        _prompt("single-v1", "", SINGLE, "general"),
        _prompt("single-math-v1", "Compare with the reference.", SINGLE_REFERENCE, "math"),
        _prompt("single-v1-multi-turn", second, f"{FIRST}\n\n{SECOND}", "general"),
        _prompt(
            "single-math-v1-multi-turn",
            f"{second} Compare with the references.",
            f"{FIRST_REFERENCE}\n\n{SECOND_REFERENCE}",
            "math",
        ),
    ]


def _prompt(name: str, hint: str, template: str, category: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "single",
        "system_prompt": " ".join(part for part in (TASK, hint, FORMAT) if part),
        "prompt_template": template,
        "description": f"Grades one answer of the embedded world: {name}",
        "category": category,
        "output_format": "[[rating]]",
    }
