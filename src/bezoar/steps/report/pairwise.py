"""The report of games against a baseline: win rates, raw, at equal length and at equal style, with 95 % intervals."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.errors import BezoarError
from bezoar.files import rounded, sha256
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate import gate, pairwise, standings
from bezoar.steps.evaluate.evaluation import QUESTIONS
from bezoar.steps.evaluate.mtbench import one_judge
from bezoar.steps.evaluate.pairwise import GameRow, Pairwise
from bezoar.steps.evaluate.pairwise_gate import PAIRS, SELF, Pairs
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.significance import p_value, separability, within_item_spread
from bezoar.steps.evaluate.stats import Estimate, stratified_mean
from bezoar.steps.evaluate.style import length_controlled, style_controlled, usable
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.report.differences import differences, draws_of
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.write import write

Verdicts = Mapping[str, list[GameRow]]


def shown(estimate: Estimate | None) -> dict[str, Any] | None:
    """An estimate as part of a report."""
    return None if estimate is None else rounded(asdict(estimate))


class Table:
    """Verdicts on all players and controls, with what every statistic of a report needs.

    Args:
        verdicts: By player and control.
        questions: The questions.
        block: The evaluation.
        seed: Seed of the intervals.
    """

    def __init__(self, verdicts: Verdicts, questions: list[QuestionRow], block: Pairwise, seed: int) -> None:
        self.verdicts, self.questions, self.block, self.seed = verdicts, questions, block, seed
        self.strata = [question.category for question in questions]
        self.draws = block.bootstrap_samples
        even = np.full(len(questions), 0.5), np.ones(len(questions))  # the baseline against itself
        self.points = {block.baseline: even} | {name: self.points_of(name) for name in verdicts}

    def points_of(self, name: str, missing: float | None = None) -> standings.Points:
        """A model's points by question; with `missing` also of games without a verdict."""
        return standings.points_of(self.verdicts[name], self.questions, self.block.strong_weight, missing=missing)

    def rate(self, name: str, places: Sequence[int] | None = None) -> Estimate | None:
        """A model's win rate, of all questions or of those at some places."""
        kept = list(range(len(self.questions))) if places is None else list(places)
        sums, weights = self.points[name]
        strata = [self.strata[place] for place in kept]
        return standings.win_rate((sums[kept], weights[kept]), strata, self.draws, self.seed)

    def difference(self, name: str, other: str, draws: int) -> dict[str, Any] | None:
        """The difference of two win rates on the same questions, with its p-value; the baseline's rate is 0.5."""
        cells = standings.paired(self.points[name], self.points[other])
        if cells is None:
            return None
        bounds = (-1.0, 1.0)
        p = p_value(cells, self.strata, draws, self.seed, bounds)
        return rounded({**asdict(stratified_mean(cells, self.strata, draws, self.seed, bounds)), "p": p})

    def at_equal_length(self, name: str) -> dict[str, Any]:
        """A model's win rate at equal length, or why there is none."""
        rows = {name: self.verdicts[name]}
        games = standings.games_of(rows, self.questions, self.block.baseline, self.block.strong_weight, [])
        if not games.first:
            return {"formula": "minimal", "win_rate": None, "why": "no readable verdict"}
        gaps = standings.length_gaps(self.verdicts[name], self.questions)
        found = length_controlled(games, self.block.baseline, gaps, self.strata, self.draws, self.seed)
        if not found.finite:
            return {"formula": "minimal", "win_rate": None, "why": found.why}
        effect = shown(found.effect(0)) if len(found.found) > 1 else None
        return {"formula": "minimal", "win_rate": shown(found.rate(name)), "length_effect": effect}

    def at_equal_style(self) -> dict[str, Any] | None:
        """All win rates at equal style and the features' effects, or why there are none; None if not asked for."""
        block = self.block
        players = {name: self.verdicts[name] for name in block.players()}
        if not block.style:
            return None
        games = standings.games_of(players, self.questions, block.baseline, block.strong_weight, block.style)
        if not games.first:
            return {"win_rates": None, "effects": None, "left_out": {}, "why": "no readable verdict"}
        if not games.features.any():
            why = "no answer differs in style from the baseline's"
            return {"win_rates": None, "effects": None, "left_out": {}, "why": why}
        games, names, left_out = usable(games, block.baseline, block.style)
        found = style_controlled(games, block.baseline, self.strata, self.draws, self.seed)
        if not found.finite:
            return {"win_rates": None, "effects": None, "left_out": left_out, "why": found.why}
        effects = {name: shown(found.effect(place)) for place, name in enumerate(names)}
        rates = {name: shown(found.rate(name)) for name in found.players}
        return {"win_rates": rates, "effects": effects, "left_out": left_out, "why": None}


def entry(table: Table, name: str) -> dict[str, Any]:
    """One model's win rates and counts; the same for a control."""
    rows, categories = table.verdicts[name], sorted(set(table.strata))
    places = {one: [place for place, name in enumerate(table.strata) if name == one] for one in categories}
    empty = len({(row.question_id, row.turn) for row in rows if row.answer_empty})
    return {
        "win_rate": shown(table.rate(name)),
        "length_controlled": table.at_equal_length(name),
        "fastchat": rounded(standings.fastchat(rows)),
        "missing": missing(table, name),
        "turns": {str(turn): shown(_turn_rate(table, name, turn)) for turn in sorted({row.turn for row in rows})},
        "categories": {one: shown(table.rate(name, places[one])) for one in categories},
        "flips": shown(standings.flipped(rows, table.questions, table.draws, table.seed)),
        "within_item_sd": rounded(within_item_spread(repeats(rows))),
        "games": len(rows),
        "verdicts": dict(sorted(Counter(row.verdict for row in rows if row.verdict).items())),
        "status": dict(sorted(Counter(row.status for row in rows).items())),
        "several_verdicts": sum(row.parse_flag == "multi" for row in rows),
        "empty_answers": empty,
        "answers_with_delimiter_or_verdict": len(
            {(row.question_id, row.turn) for row in rows if row.answer_has_delimiter or row.answer_has_verdict}
        ),
        "complete": all(row.points is not None for row in rows),
    }


def _turn_rate(table: Table, name: str, turn: int) -> Estimate | None:
    rows = [row for row in table.verdicts[name] if row.turn == turn]
    points = standings.points_of(rows, table.questions, table.block.strong_weight)
    return standings.win_rate(points, table.strata, table.draws, table.seed)


def repeats(rows: Sequence[GameRow]) -> list[list[float]]:
    """The points of each game's repeats."""
    found: dict[tuple[int, int, int], list[float]] = {}
    for row in rows:
        if row.score is not None:
            found.setdefault((row.question_id, row.turn, row.game), []).append(row.score)
    return list(found.values())


def missing(table: Table, name: str) -> dict[str, Any]:
    """The number of games without a verdict, and the win rate if all of them were lost or won."""
    rates = [sums.sum() / weights.sum() for sums, weights in (table.points_of(name, points) for points in (0.0, 1.0))]
    count = sum(row.points is None for row in table.verdicts[name])
    return {"games": count, "win_rate_if_lost": round(float(rates[0]), 4), "win_rate_if_won": round(float(rates[1]), 4)}


def seats(table: Table) -> dict[str, Any]:
    """Whether the seat matters to the judge, by the games of all players, and of the baseline against itself."""
    rows = [row for name in table.block.players() for row in table.verdicts[name]]
    first = standings.first_seat(rows, table.questions, table.draws, table.seed)
    prefers = None
    if first and first.low is not None and first.high is not None:
        prefers = "first" if first.low > 0.5 else "second" if first.high < 0.5 else None
    own = [row for row in table.verdicts.get(f"{pairwise.CONTROL}{SELF}", []) if row.score is not None]
    return {
        "first_seat": shown(first),
        "prefers": prefers,
        "flips": shown(standings.flipped(rows, table.questions, table.draws, table.seed)),
        "first_seat_between_equal_answers": shown(
            standings.seat_of_equals(own, table.questions, table.draws, table.seed)
        ),
        "decided_between_equal_answers": round(sum(row.score != 0.5 for row in own) / len(own), 4) if own else None,
    }


def clean(table: Table, name: str, gone: set[tuple[str, str]]) -> dict[str, Any]:
    """The win rate over the questions that no training row repeats, with the questions that are left out."""
    out = [row.question_id for row in table.questions if (QUESTIONS, str(row.question_id)) in gone]
    places = [place for place, row in enumerate(table.questions) if row.question_id not in out]
    rate = table.rate(name, places) if places else None
    return {"win_rate": shown(rate), "questions": len(places), "left_out": out}


def no_score(verdicts: Verdicts, players: Sequence[str]) -> str | None:
    """Why there is no score, if there is none: no readable verdict, or verdicts that don't depend on answers."""
    if gate.unreadable(verdicts):
        return gate.no_score(verdicts, Pairs)
    seat = standings.names_one_seat(row for name in players for row in verdicts[name])
    if seat:
        return f"the judge names the {seat} seat in all games that have a winner: its verdicts don't depend on answers"
    return None


def below_controls(table: Table) -> list[str]:
    """Players that aren't clearly better than every control of `controls` but the baseline itself."""

    def surely_better(name: str, control: str) -> bool:
        found = table.difference(name, f"{pairwise.CONTROL}{control}", table.draws)
        return found is not None and found["low"] is not None and found["low"] > 0

    controls = [one for one in table.block.controls if one != SELF]
    return [name for name in table.block.players() if not all(surely_better(name, one) for one in controls)]


def reported(
    verdicts: Verdicts, questions: list[QuestionRow], block: Pairwise, seed: int, left_out: LeftOut
) -> dict[str, Any]:
    """The report, without the hashes of its input files.

    Raises:
        InputError: Several judges compared the models.
    """
    judge = one_judge(verdicts)
    table = Table(verdicts, questions, block, seed)
    players, controls = block.players(), {name: verdicts[name] for name in block.control_names()}
    entries = {name: entry(table, name) for name in verdicts}
    entries[block.baseline] = {"win_rate": shown(Estimate(0.5, 0.5, 0.5)), "length_controlled": None}
    draws = draws_of(block, 1, table.draws)
    gaps, comparisons = differences(block, [""], lambda _, name, other: table.difference(name, other, draws))
    for name in block.checkpoints:
        entries[name] |= gaps[""][name]
    for name in players:
        entries[name]["clean"] = clean(table, name, left_out.get(name, set()))
    why = no_score(verdicts, players)
    failed = {} if gate.unreadable(verdicts) else gate.failures(controls, questions, seed, PAIRS)
    rates = [entries[name]["win_rate"] for name in block.checkpoints]
    report = {
        "protocol": pairwise.PROTOCOLS[block.scale],
        "baseline": block.baseline,
        "judge": {
            "id": judge,
            "backend": block.judge,
            "models_returned": sorted({row.model_returned for rows in verdicts.values() for row in rows}),
            "parser": pairwise.PARSER,
            "repeats": block.repeats,
            "strong_weight": block.strong_weight,
        },
        "questions": {"count": len(questions), "categories": dict(sorted(Counter(table.strata).items()))},
        "checkpoints": list(block.checkpoints),
        "no_score": why,
        "judge_compromised": bool(failed),
        "controls_that_failed": sorted(failed),
        "not_above_controls": [] if why else below_controls(table),
        "seats": seats(table),
        "style_controlled": table.at_equal_style(),
        "separability": separability([(one["low"], one["high"]) for one in rates if one]),
        "comparisons": comparisons,
        "models": {name: entries[name] for name in block.checkpoints},
        "controls": {name: entries[name] for name in controls},
        "seed": seed,
    }
    return withheld(report) if why else report


SCORES = (
    *("win_rate", "length_controlled", "difference_to_first", "difference_to_previous", "compared_to"),
    *("fastchat", "turns", "categories", "clean"),
)


def withheld(report: dict[str, Any]) -> dict[str, Any]:
    """The report without scores of models; counts stay."""
    models = {
        name: one | dict.fromkeys(key for key in SCORES if key in one)  # the baseline has few of them
        for name, one in report["models"].items()
    }
    return report | {"models": models, "style_controlled": None, "separability": None, "comparisons": None}


def lines_of(report: dict[str, Any]) -> list[tuple[int, str]]:
    """The lines of a report in the log, each with its level."""
    lines = []
    for name, one in (report["models"] | report["controls"]).items():
        text = f"{name}: {pairwise.percent(one['win_rate'])} against {report['baseline']}"
        if one.get("length_controlled") and one["length_controlled"]["win_rate"]:
            text += f", at equal length {pairwise.percent(one['length_controlled']['win_rate'])}"
        gaps = one.get("missing", {"games": 0})
        if gaps["games"]:
            statuses = ", ".join(f"{count} {status}" for status, count in one["status"].items() if status != "ok")
            text += f"; {gaps['games']} of {one['games']} games without a verdict ({statuses})"
            ends = [f"{100 * gaps[f'win_rate_if_{end}']:.1f}" for end in ("lost", "won")]
            text += f": {ends[0]} to {ends[1]} % if all were lost or won"
        lines.append((logging.WARNING if gaps["games"] else logging.INFO, text))
    if report["no_score"]:
        lines.append((logging.WARNING, f"no score: {report['no_score']}"))
    if report["seats"]["prefers"]:
        lines.append((logging.WARNING, f"the judge prefers the {report['seats']['prefers']} seat"))
    if report["judge_compromised"]:
        lines.append((logging.WARNING, f"the judge is compromised: {', '.join(report['controls_that_failed'])}"))
    if report["not_above_controls"]:
        names = ", ".join(report["not_above_controls"])
        lines.append((logging.WARNING, f"not clearly above every control: {names}"))
    return lines


def verdicts_below(folder: Path, block: Pairwise) -> dict[str, list[GameRow]]:
    """The verdicts on every player and control."""
    return {name: list(read_rows(folder / name / "verdicts.jsonl", GameRow)) for name in block.judged()}


def write_report(
    results: Path,
    questions_path: Path,
    references: Path | None,
    judge_prompts: Path,
    block: Pairwise,
    seed: int,
    out: Path,
    left_out: LeftOut,
) -> None:
    """Write every win rate with its interval, and log a line for each model.

    Args:
        results: Folder of the evaluation, with <model>/verdicts.jsonl.
        questions_path: rows.jsonl of the questions, in a folder with the source's name.
        references: rows.jsonl of the reference answers; None without any.
        judge_prompts: rows.jsonl of the judge prompts.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
        left_out: By checkpoint, the questions that rows of its mixes repeat.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    questions = read_questions(questions_path)
    verdicts = verdicts_below(results, block)
    controls = {name: verdicts[name] for name in block.control_names()}
    failed = gate.failures(controls, questions, seed, PAIRS)
    if failed and not block.allow_compromised:
        raise BezoarError(gate.refusal(controls, failed, PAIRS))
    report = reported(verdicts, questions, block, seed, left_out)
    report["judge"] |= {
        "prompts_sha256": sha256(judge_prompts),
        "references": block.references,
        "references_sha256": sha256(references) if references else None,
    }
    report["questions"] |= {"source": questions_path.parent.name, "sha256": sha256(questions_path)}
    write(out, report, PairwiseReport)
    for level, line in lines_of(report):
        logger.log(level, line)
