"""The report of an MT-Bench evaluation: scores by category and turn, with 95 % intervals."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.errors import BezoarError
from bezoar.files import rounded, sha256
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate import gate, mtbench
from bezoar.steps.evaluate.evaluation import QUESTIONS
from bezoar.steps.evaluate.mtbench import Mtbench, VerdictRow
from bezoar.steps.evaluate.significance import p_value, separability, within_item_spread
from bezoar.steps.evaluate.stats import stratified_mean
from bezoar.steps.report import differences as between
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.results.mtbench import MtbenchReport
from bezoar.steps.results.write import write

DIFFERENCES = ("first", "previous")  # the other checkpoint of a comparison, by the order of the evaluation's list
DIFFERENCE = (mtbench.SCALE[0] - mtbench.SCALE[1], mtbench.SCALE[1] - mtbench.SCALE[0])  # smallest and largest score
Cells = NDArray[np.float64]  # (questions, turns)
GPT_4 = {"gpt-4", "gpt-4-0613"}  # the leaderboard's judge, in its server's words
NOT_COMPARABLE = "The judge is not GPT-4: these scores are not comparable to GPT-4-judged leaderboard numbers."


def entry(
    verdicts: list[VerdictRow],
    questions: list[QuestionRow],
    others: Mapping[str, tuple[str, Cells]],
    block: Mtbench,
    seed: int,
) -> dict[str, Any]:
    """One model's scores and counts.

    Args:
        verdicts: The judge's verdicts on the model.
        questions: The questions, in the order of all cells.
        others: For each available comparison of DIFFERENCES, the other checkpoint's name and its strict cells.
        block: The evaluation.
        seed: Seed of the intervals.
    """
    strict = mtbench.cells(verdicts, questions, strict=True)
    categories = [question.category for question in questions]

    def score(cells: Cells, names: list[str], bounds: tuple[float, float] = mtbench.SCALE) -> dict[str, Any] | None:
        if np.isnan(cells).all():
            return None
        estimate = stratified_mean(cells, names, block.bootstrap_samples, seed, bounds)
        return {name: None if value is None else round(value, 4) for name, value in asdict(estimate).items()}

    by_category = {}
    for category in sorted(set(categories)):
        rows = [place for place, name in enumerate(categories) if name == category]
        by_category[category] = score(strict[rows], [category] * len(rows))
    differences: dict[str, Any] = {f"difference_to_{what}": None for what in DIFFERENCES}
    for what, (name, cells) in others.items():
        difference = score(strict - cells, categories, DIFFERENCE)
        differences[f"difference_to_{what}"] = {"to": name} | difference if difference else None
    read = [row.model_copy(update={"score": row.score_fastchat}) for row in verdicts]
    fastchat = mtbench.cells(read, questions, strict=False)
    return {
        "average": score(strict, categories),
        "average_fastchat": None if np.isnan(fastchat).all() else round(float(np.nanmean(fastchat)), 4),
        "withheld": withheld(verdicts),
        "missing": missing(verdicts, questions),
        "within_item_sd": spread(verdicts),
        "without_delimiters_or_ratings": score(unspoken(strict, verdicts, questions), categories),
        "turns": {str(turn): score(strict[:, [turn - 1]], categories) for turn in mtbench.TURNS},
        "categories": by_category,
        **differences,
        "judgments": len(verdicts),
        "status": dict(sorted(Counter(row.status for row in verdicts).items())),
        "several_ratings": sum(row.parse_flag == "multi" for row in verdicts),
        "empty_answers": sum(row.answer_empty for row in verdicts),
        "answers_with_delimiter_or_rating": sum(row.answer_has_delimiter or row.answer_has_rating for row in verdicts),
        "complete": len(verdicts) == strict.size * block.repeats
        and all(row.answer_empty or row.score is not None for row in verdicts),
    }


def withheld(verdicts: list[VerdictRow]) -> str | None:
    """Why a model has no score; None if it has one."""
    if any(row.score is not None or row.answer_empty for row in verdicts):
        return None
    return gate.no_score({"": verdicts})


def spread(verdicts: list[VerdictRow]) -> float | None:
    """The judge's noise: the standard deviation of repeated ratings of one answer; None without repeats."""
    repeated: dict[tuple[int, int], list[float]] = {}
    for row in verdicts:
        if row.score is not None:
            repeated.setdefault((row.question_id, row.turn), []).append(row.score)
    found = within_item_spread(list(repeated.values()))
    return None if found is None else round(found, 4)


def unspoken(cells: Cells, verdicts: list[VerdictRow], questions: list[QuestionRow]) -> Cells:
    """The cells without those of answers that hold a delimiter of the prompts, or a rating in brackets."""
    place = {question.question_id: number for number, question in enumerate(questions)}
    kept = cells.copy()
    for row in verdicts:
        if row.answer_has_delimiter or row.answer_has_rating:
            kept[place[row.question_id], row.turn - 1] = np.nan
    return kept


def difference(cells: Cells, categories: list[str], draws: int, seed: int) -> dict[str, Any] | None:
    """A mean difference of two models' cells with its p-value; None without a question that both have a score of."""
    if np.isnan(cells).all():
        return None
    estimate = stratified_mean(cells, categories, draws, seed, DIFFERENCE)
    p = p_value(cells, categories, draws, seed, DIFFERENCE)
    shown = {name: None if value is None else round(value, 4) for name, value in asdict(estimate).items()}
    return shown | {"p": rounded(p)}


def missing(verdicts: list[VerdictRow], questions: list[QuestionRow]) -> dict[str, Any]:
    """The number of judgments without a rating, and the strict mean if all of them were the lowest or the highest."""
    means = [mtbench.cells(verdicts, questions, strict=True, missing=rating).mean() for rating in mtbench.SCALE]
    count = sum(row.score is None and not row.answer_empty for row in verdicts)
    return {"judgments": count, "mean_if_1": round(float(means[0]), 4), "mean_if_10": round(float(means[1]), 4)}


def clean(cells: Cells, questions: list[QuestionRow], gone: set[tuple[str, str]], block: Mtbench, seed: int) -> Any:
    """The average over the questions that no training row repeats, with the questions that are left out."""
    out = [row.question_id for row in questions if (QUESTIONS, str(row.question_id)) in gone]
    places = [place for place, row in enumerate(questions) if row.question_id not in out]
    kept, categories = cells[places], [questions[place].category for place in places]
    some = bool(places) and not np.isnan(kept).all()
    average = stratified_mean(kept, categories, block.bootstrap_samples, seed, mtbench.SCALE) if some else None
    shown = average and {name: None if one is None else round(one, 4) for name, one in asdict(average).items()}
    why = None if some else "training rows repeat every question" if not places else "no readable rating"
    return {"average": shown, "withheld": why, "questions": len(places), "left_out": out}


def below_controls(cells: Mapping[str, Cells], block: Mtbench, categories: list[str], seed: int) -> list[str]:
    """Checkpoints that aren't clearly better than every control: they may be untrained. The table is written anyway.

    Args:
        cells: Strict cells of every model and control.
        block: The evaluation.
        categories: Of the questions.
        seed: Seed of the intervals.
    """

    def surely_better(name: str, control: str) -> bool:
        difference = cells[name] - cells[mtbench.CONTROL + control]
        if np.isnan(difference).all():
            return False
        low = stratified_mean(difference, categories, block.bootstrap_samples, seed, DIFFERENCE).low
        return low is not None and low > 0

    return [one for one in block.checkpoints if not all(surely_better(one, control) for control in block.controls)]


def line_of(name: str, one: dict[str, Any]) -> tuple[int, str]:
    """A model's line in the log, and the line's level."""
    average, gaps = one["average"], one["missing"]
    text = f"{name}: no score: {one['withheld']}" if average is None else f"{name}: {average['mean']:.2f}"
    if average and average["low"] is not None:
        text += f" [{average['low']:.2f}, {average['high']:.2f}]"
    if not gaps["judgments"]:
        return logging.INFO, text
    statuses = ", ".join(f"{count} {status}" for status, count in one["status"].items() if status != "ok")
    bounds = f"{gaps['mean_if_1']:.2f} to {gaps['mean_if_10']:.2f} if they were 1 or 10"
    return (
        logging.WARNING,
        f"{text}; {gaps['judgments']} of {one['judgments']} judgments without a rating ({statuses}): {bounds}",
    )


def controls_of(verdicts: Mapping[str, list[VerdictRow]], block: Mtbench) -> dict[str, list[VerdictRow]]:
    """The verdicts on the controls."""
    return {mtbench.CONTROL + control: verdicts[mtbench.CONTROL + control] for control in block.controls}


def verdicts_below(folder: Path, block: Mtbench) -> dict[str, list[VerdictRow]]:
    """The verdicts on every checkpoint and control."""
    names = [*block.checkpoints, *(mtbench.CONTROL + control for control in block.controls)]
    return {name: list(read_rows(folder / name / "verdicts.jsonl", VerdictRow)) for name in names}


def reported(
    verdicts: Mapping[str, list[VerdictRow]],
    questions: list[QuestionRow],
    block: Mtbench,
    seed: int,
    left_out: LeftOut,
) -> dict[str, Any]:
    """The report, without the hashes of its input files.

    Raises:
        ValueError: Several judges graded the models.
    """
    judge = mtbench.one_judge(verdicts)
    returned = sorted({row.model_returned for rows in verdicts.values() for row in rows})
    cells = {name: mtbench.cells(rows, questions, strict=True) for name, rows in verdicts.items()}
    categories = [question.category for question in questions]
    first = block.checkpoints[0]
    others = {name: {"first": (first, cells[first])} for name in block.control_names()}
    draws = between.draws_of(block, 1, block.bootstrap_samples)
    gaps, comparisons = between.differences(
        block, [""], lambda _, name, other: difference(cells[name] - cells[other], categories, draws, seed)
    )
    entries = {name: entry(rows, questions, others.get(name, {}), block, seed) for name, rows in verdicts.items()}
    for name in block.checkpoints:
        entries[name] |= gaps[""][name]
        entries[name]["clean"] = clean(cells[name], questions, left_out.get(name, set()), block, seed)
    controls = controls_of(verdicts, block)
    unread = gate.unreadable(verdicts)
    failed = [] if unread else sorted(gate.failures(controls, questions, seed))
    averages = [one for name in block.checkpoints if (one := entries[name]["average"])]
    return {
        "protocol": block.protocol,
        "note": "" if set(returned) <= GPT_4 else NOT_COMPARABLE,
        "judge": {
            "id": judge,
            "backend": block.judge,
            "models_returned": returned,
            "parser": mtbench.PARSER,
            "repeats": block.repeats,
        },
        "questions": {
            "answers": block.answers,
            "count": len(questions),
            "categories": dict(sorted(Counter(question.category for question in questions).items())),
        },
        "checkpoints": list(block.checkpoints),  # in order: comparisons are with the first, and with the previous one
        "no_score": gate.no_score(verdicts) if unread else None,
        "judge_compromised": bool(failed),
        "controls_that_failed": failed,
        "not_above_controls": [] if unread else below_controls(cells, block, categories, seed),
        "separability": rounded(separability([(one["low"], one["high"]) for one in averages])),
        "comparisons": comparisons,
        "models": {name: entries[name] for name in block.checkpoints},
        "controls": {name: entries[name] for name in controls},
        "seed": seed,
    }


def write_report(
    results: Path,
    questions_path: Path,
    references: Path,
    judge_prompts: Path,
    block: Mtbench,
    seed: int,
    out: Path,
    left_out: LeftOut,
) -> None:
    """Write every score with its interval, and log a line for each model.

    Args:
        results: Folder of the evaluation, with <model>/verdicts.jsonl.
        questions_path: rows.jsonl of the questions, in a folder with the source's name.
        references: rows.jsonl of the reference answers.
        judge_prompts: rows.jsonl of the judge prompts.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
        left_out: By checkpoint, the questions that rows of its mixes repeat.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    questions = mtbench.read_questions(questions_path)
    verdicts = verdicts_below(results, block)
    controls = controls_of(verdicts, block)
    failed = gate.failures(controls, questions, seed)
    if failed and not block.allow_compromised:
        raise BezoarError(gate.refusal(controls, failed))
    report = reported(verdicts, questions, block, seed, left_out)
    report["judge"] |= {
        "prompts_sha256": sha256(judge_prompts),
        "references": block.references,
        "references_sha256": sha256(references),
    }
    report["questions"] |= {"source": questions_path.parent.name, "sha256": sha256(questions_path)}
    write(out, report, MtbenchReport)
    for name, one in (report["models"] | report["controls"]).items():
        logger.log(*line_of(name, one))
    if report["no_score"]:
        logger.warning(f"no score: {report['no_score']}")
    if report["not_above_controls"]:
        logger.warning(f"not clearly above every control: {', '.join(report['not_above_controls'])}")
