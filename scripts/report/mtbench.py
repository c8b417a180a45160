"""MT-Bench scores of every checkpoint and control, by category and turn, each with its 95 % interval."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar import mtbench
from bezoar.files import sha256, write_json
from bezoar.logs import logger
from bezoar.mtbench import VerdictRow
from bezoar.params.evaluate import Mtbench
from bezoar.rows import QuestionRow, read_rows
from bezoar.script import Flags, run
from bezoar.stats import stratified_mean

GPT_4 = {"gpt-4", "gpt-4-0613"}  # as the server calls the judge of the leaderboard
NOT_COMPARABLE = "The judge is not GPT-4: these scores are not comparable to GPT-4-judged leaderboard numbers."


def entry(
    verdicts: list[VerdictRow],
    questions: list[QuestionRow],
    base: NDArray[np.float64] | None,
    block: Mtbench,
    seed: int,
) -> dict[str, Any]:
    """One model's scores and counts.

    Args:
        verdicts: The judge's verdicts on the model.
        questions: The questions, in the order of `base`.
        base: Strict cells of the first checkpoint, for the paired difference; None for that checkpoint itself.
        block: The evaluation.
        seed: Seed of the intervals.
    """
    strict = mtbench.cells(verdicts, questions, strict=True)
    categories = [question.category for question in questions]

    def score(cells: NDArray[np.float64], names: list[str]) -> dict[str, float] | None:
        if np.isnan(cells).all():
            return None
        return {
            name: round(value, 4) for name, value in asdict(stratified_mean(cells, names, block.draws, seed)).items()
        }

    by_category = {}
    for category in sorted(set(categories)):
        rows = [place for place, name in enumerate(categories) if name == category]
        by_category[category] = score(strict[rows], [category] * len(rows))
    fastchat = mtbench.cells(verdicts, questions, strict=False)
    return {
        "average": score(strict, categories),
        "average_fastchat": None if np.isnan(fastchat).all() else round(float(np.nanmean(fastchat)), 4),
        "turns": {str(turn): score(strict[:, [turn - 1]], categories) for turn in mtbench.TURNS},
        "categories": by_category,
        "difference_to_first": score(strict - base, categories) if base is not None else None,
        "judgments": len(verdicts),
        "status": dict(sorted(Counter(row.status for row in verdicts).items())),
        "several_ratings": sum(row.parse_flag == "multi" for row in verdicts),
        "empty_answers": sum(row.answer_empty for row in verdicts),
        "answers_with_delimiter_or_rating": sum(row.answer_has_delimiter or row.answer_has_rating for row in verdicts),
        "complete": len(verdicts) == strict.size * block.repeats
        and all(row.answer_empty or row.score is not None for row in verdicts),
    }


def compromised(models: dict[str, Any], controls: dict[str, Any]) -> list[str]:
    """Controls that a judge should have rated below every trained model, and didn't: their names.

    A control passes if the upper end of its interval lies below the mean of every model but the first, the base
    model, which may be as bad as no answer at all; the empty control, if the mean of what the judge gave is 1: its
    strict mean is 1 whatever the judge said. What a judge refused to rate throughout has no average: such a control
    was not rewarded, such a model is no bar.
    """
    rated = [one for one in list(models.values())[1:] or list(models.values()) if one["average"]]
    lowest = min((one["average"]["mean"] for one in rated), default=1.0)
    failed = {name for name, one in controls.items() if one["average"] and one["average"]["high"] >= lowest}
    empty = controls.get(f"{mtbench.CONTROL}empty")
    if empty and empty["average_fastchat"] not in (None, 1.0):
        failed.add(f"{mtbench.CONTROL}empty")
    return sorted(failed)


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="evals.<name> seed")
    flags.path("results", "folder of the evaluation, with <model>/verdicts.jsonl")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("references", "rows.jsonl of the reference answers")
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.path("out", "file to write the report to")
    args, (block, seed) = flags.start(argv)
    questions = mtbench.read_questions(args.questions)
    report = reported(Path(args.results), questions, block, seed)
    report["judge"] |= {
        "prompts_sha256": sha256(args.judge_prompts),
        "references": block.references,
        "references_sha256": sha256(args.references),
    }
    report["questions"]["sha256"] = sha256(args.questions)
    failed = report["controls_that_failed"]
    if failed and not block.allow_compromised:
        raise SystemExit(
            f"the judge is compromised: it rates answers that no model wrote like those of the models\n"
            f"  found:    {', '.join(failed)}\n  expected: intervals below the mean of every trained model\n"
            "hint: look at the judgments, or set allow_compromised to write the table, stamped as such"
        )
    write_json(args.out, report)
    for name, one in (report["models"] | report["controls"]).items():
        average = one["average"]
        text = f"{average['mean']:.2f} [{average['low']:.2f}, {average['high']:.2f}]" if average else "no rating"
        logger.info(f"{name}: {text}")


def reported(folder: Path, questions: list[QuestionRow], block: Mtbench, seed: int) -> dict[str, Any]:
    """The report, without the hashes of the files that it rests on.

    Raises:
        ValueError: The models were not all graded by one judge.
    """
    names = [*block.checkpoints, *(mtbench.CONTROL + control for control in block.controls)]
    verdicts = {name: list(read_rows(folder / name / "verdicts.jsonl", VerdictRow)) for name in names}
    judges = {row.judge_id for rows in verdicts.values() for row in rows}
    if len(judges) != 1:
        raise ValueError(f"not one judge\n  found:    {sorted(judges)}\n  expected: one judge for all models")
    returned = sorted({row.model_returned for rows in verdicts.values() for row in rows})
    first = mtbench.cells(verdicts[block.checkpoints[0]], questions, strict=True)
    entries = {
        name: entry(rows, questions, None if name == block.checkpoints[0] else first, block, seed)
        for name, rows in verdicts.items()
    }
    models = {name: entries[name] for name in block.checkpoints}
    controls = {name: one for name, one in entries.items() if name not in models}
    failed = compromised(models, controls)
    return {
        "protocol": mtbench.PROTOCOL,
        "note": "" if set(returned) <= GPT_4 else NOT_COMPARABLE,
        "judge": {
            "id": judges.pop(),
            "backend": block.judge,
            "models_returned": returned,
            "parser": mtbench.PARSER,
            "repeats": block.repeats,
        },
        "questions": {
            "source": block.questions,
            "count": len(questions),
            "categories": dict(sorted(Counter(question.category for question in questions).items())),
        },
        "checkpoints": list(block.checkpoints),  # in order: differences are to the first
        "judge_compromised": bool(failed),
        "controls_that_failed": failed,
        "models": models,
        "controls": controls,
        "seed": seed,
    }


if __name__ == "__main__":
    run(main)
