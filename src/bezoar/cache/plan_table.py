"""The plan of a build on a terminal: a line for each rule, or for each job."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bezoar import terminal
from bezoar.cache.decide import Reason
from bezoar.cache.inventory import amount, duration
from bezoar.cache.plan import JobToRun, Plan, PlannedStage

if TYPE_CHECKING:
    from rich.console import RenderableType

NAMED = 2  # changed values
VALUE = 48  # characters of one
NOTES = 8
MICRO = 1_000_000


def drawn(plan: Plan, *, every: bool = False) -> list["RenderableType"]:
    """What a terminal shows; with `every`, each job with all its reasons."""
    first, *more = plan.head()
    parts: list[RenderableType] = [terminal.line(first, "bold"), *map(terminal.line, more)]
    if plan.stages:
        parts += [terminal.line(""), _jobs(plan.jobs) if every else _rules(plan), terminal.line("")]
    parts += map(terminal.line, plan.rest(every=True)) if every else _rest(plan)
    return parts


def _jobs(jobs: Iterable[JobToRun]) -> "RenderableType":
    rows = [
        (one.name, "?" if one.seconds is None else duration(one.seconds), "; ".join(map(str, one.reasons)))
        for one in jobs
    ]
    return terminal.table(("job", "time", "why"), rows, right=("time",))


def _rules(plan: Plan) -> "RenderableType":
    rules: dict[str, list[PlannedStage]] = {}
    for stage in plan.stages:
        rules.setdefault(stage.rule, []).append(stage)
    costs = _costs(plan)
    rows = [
        [rule, f"{sum(one.jobs for one in stages):,}", _time(stages), costs.get(rule, ""), why(stages)]
        for rule, stages in rules.items()
    ]
    head = ["rule", "jobs", "time", "cost", "why"]
    if not costs:  # no requests to a model that costs money
        head, rows = [one for one in head if one != "cost"], [[*row[:3], row[4]] for row in rows]
    return terminal.table(head, rows, right=("jobs", "time", "cost"))


def _time(stages: list[PlannedStage]) -> str:
    known = [one.seconds for one in stages if one.seconds is not None]
    if not known:
        return "?"
    return ("over " if len(known) < len(stages) else "") + duration(sum(known))


def _costs(plan: Plan) -> dict[str, str]:
    """By rule, the cost of its model requests; `?` if that isn't known for some of them."""
    rules = {one.stage: one.rule for one in plan.stages}
    found: dict[str, list[int | None]] = {}
    for one in plan.spending:
        found.setdefault(rules[one.stage], []).append(one.micro)
    return {
        rule: "?" if None in micro else f"${sum(one or 0 for one in micro) / MICRO:,.2f}"
        for rule, micro in found.items()
    }


def why(stages: list[PlannedStage]) -> str:
    """Why the jobs of a rule run, in a few words."""
    built = [one for one in stages if not one.new]
    new = sum(one.jobs for one in stages if one.new)
    parts = [f"never built: {new:,}" if built else "never built"] if new else []
    reasons = [reason for one in built if one.certain for reason in one.reasons]
    parts += [_of_kind(kind, _of(reasons, kind)) for kind in KINDS if _of(reasons, kind)]
    uncertain = [reason for one in built if not one.certain for reason in one.reasons]
    if uncertain:
        parts.append(_listed("if changed: ", [one.name for one in uncertain]))
    return "; ".join(parts)


# Those that tell most come first; an input that is made again is no news where something else has changed.
KINDS = ("forced", "param", "environment", "input", "rule", "code", "untrusted", "untraced", "missing", "unrecorded")


def _of(reasons: list[Reason], kind: str) -> list[Reason]:
    return [one for one in reasons if one.kind == kind]


def _of_kind(kind: str, reasons: list[Reason]) -> str:
    if kind == "code":
        return _listed("code changed: ", [one.name for one in reasons])
    return _listed("", [str(one) for one in reasons], NAMED if kind == "param" else 1)


def _listed(before: str, names: Iterable[str], most: int = 1) -> str:
    found = list(dict.fromkeys(names))
    first = [terminal.cut(one, VALUE) for one in found[:most]]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return f"{before}{', '.join(first)}{more}"


def _rest(plan: Plan) -> list["RenderableType"]:
    lines: list[RenderableType] = [terminal.line(plan.summary)] * bool(plan.summary)
    lines += [terminal.line(one, "dim", crop=True) for one in plan.notes[:NOTES]]
    for source in ("cache", "remote"):
        found = [one for one in plan.restored if one.source == source]
        if found:
            size, plural = sum(one.bytes for one in found), "s" * (len(found) != 1)
            lines.append(terminal.line(f"restored from the {source}: {len(found):,} artifact{plural}, {amount(size)}"))
    lines += [terminal.line(f"accepted: a change of {name}: {reason}") for name, reason in plan.accepted.items()]
    lines += [terminal.line(one, "yellow") for one in plan.contradictions]
    if plan.stages:
        lines.append(terminal.line("--all shows every job with all its reasons", "dim"))
    return lines
