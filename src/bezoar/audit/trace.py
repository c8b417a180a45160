"""A row's way: from a training row back to its seed, its source's file, and the calls that were paid for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bezoar.audit.chain import FOLDERS, KINDS, Step, all_steps, chain
from bezoar.audit.find import Found, found_rows, line_at, with_ids
from bezoar.jsonl import read_json_lines
from bezoar.recipe.recipe import Recipe
from bezoar.requests.lookup import StoredCall, calls_with
from bezoar.requests.store import FOLDER
from bezoar.steps.filter.block import Filter

VERDICT = ("status", "rating", "reason", "judge")
MAKING = ("operation", "round", "category", "topics", "teacher", "finish_reason")
SCORE = ("score", "win_rate", "scorer")
PAIR = ("score_chosen", "score_rejected", "win_rate_chosen", "win_rate_rejected")
ORIGIN = ("split", "part", "kind", "file", "line", "cluster")


@dataclass
class Trace:
    """What is known of a row.

    Attributes:
        steps: The row in each step's artifacts, the last step first.
        ancestors: The rows that it was made from, its parents first and its seed last.
        places: By the place of a source's row, its file and line outside.
        origins: By the place of a mix's row, what the mix says of it.
        calls: What was asked for it, by role: `teacher`, `judge`.
        missing: What isn't here, in sentences.
    """

    steps: list[Found]
    ancestors: list[Found] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, StoredCall]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """The trace for programs."""
        return {
            "id": self.steps[0].id,
            "steps": [self._step(one) for one in self.steps],
            "ancestors": [self._step(one) for one in self.ancestors],
            "calls": [
                {"role": role, "key": call.key, "place": call.place, "dollars": call.dollars}
                | {"messages": [list(one) for one in call.messages], "sent": list(call.sent)}
                for role, call in self.calls
            ],
            "missing": self.missing,
        }

    def _step(self, one: Found) -> dict[str, Any]:
        left_out = None if one.reason is None else {"reason": one.reason, "detail": one.detail}
        facts = {"step": one.step.kind, "name": one.step.name, "place": one.place, "left_out": left_out}
        more = {"origin": self.origins.get(one.place), "from": self.places.get(one.place)}
        return facts | {name: value for name, value in more.items() if value} | {"row": one.row}


def trace(text: str, recipe: Recipe) -> Trace:
    """The way of the row that a text names.

    Args:
        text: Its id, the start of one, or `file:line` of a row.
        recipe: The recipe.

    Raises:
        InputError: There is no such row, or there are several.
    """
    steps = all_steps(recipe)
    made = Trace(sorted(found_rows(text, steps), key=lambda one: -list(FOLDERS).index(one.step.kind)))
    made.ancestors = _ancestors(made, recipe)
    for one in [*made.steps, *made.ancestors]:
        _place(one, made)
        _origin(one, made)
    _calls(made, recipe)
    made.missing += [
        f"{folder} isn't here"
        for step in _passed(made, recipe)
        for folder in step.missing
        if step.kind != "certificate"
    ]
    return made


def _first(made: Trace, kind: str) -> Found | None:
    return next((one for one in made.steps if one.step.kind == kind), None)


def _scheme(one: Found, recipe: Recipe) -> str:
    return one.step.name if one.step.kind == "generate" else recipe.scheme_of(one.step.name)


def _passed(made: Trace, recipe: Recipe) -> list[Step]:
    """The steps before those in which the row was found."""
    sections = {kind: section for section, kind in KINDS.items()}
    found = [one.step for one in made.steps if one.step.kind in sections]
    blocks = [
        (sections[one.kind], one.name) for one in found if one.kind != "generate" or one.name not in recipe.filters
    ]
    return list(dict.fromkeys(step for section, name in blocks for step in chain(section, name, recipe)))


def _ancestors(made: Trace, recipe: Recipe) -> list[Found]:
    """The rows that a generated row or a pair, or a candidate that gave none, was made from."""
    first = _first(made, "generate") or _first(made, "filter") or _first(made, "pairs")
    if first is None:
        return []
    section, name = ("pairs", first.step.name) if first.step.kind == "pairs" else ("schemes", _scheme(first, recipe))
    rows = [step for step in chain(section, name, recipe) if step.kind in ("source", "generate")]
    found: list[Found] = []
    wanted = _parents(first.row)
    while wanted:
        before = [one for one in with_ids(wanted, reversed(rows)) if one.reason is None]
        lost = [name for name in wanted if name not in {one.id for one in before}]
        made.missing += [f"row {name}, from which it was made, isn't here" for name in lost]
        found += before
        known = {one.id for one in found}
        wanted = [name for one in before for name in _parents(one.row) if name not in known]
    return found


def _parents(row: dict[str, Any]) -> list[str]:
    """The ids of the rows that a row was made from."""
    names = row.get("parent_ids") or [row.get("parent")]
    others = [row.get(key) for key in ("seed_id", "chosen_id", "rejected_id")]
    return [name for name in dict.fromkeys([*names, *others]) if isinstance(name, str) and name != row.get("id")]


def _place(one: Found, made: Trace) -> None:
    """The file and line that a source's row is from; a row that was dropped names them itself."""
    if one.step.kind != "source":
        return
    if one.reason is not None:
        made.places[one.place] = one.detail
        return
    path = one.file.with_name("places.jsonl")
    found = line_at(path, one.line)
    if found is None:
        made.missing.append(f"{path} has no place for {one.place}")
    else:
        item = f" (item {found['item']:,})" if isinstance(found.get("item"), int) else ""
        made.places[one.place] = f"{found.get('file')}:{found.get('line')}{item}"


def _origin(one: Found, made: Trace) -> None:
    """What a mix says of a row that it took."""
    if one.step.kind != "mix" or one.reason is not None:
        return
    path = one.file.with_name("origins.jsonl")
    rows = read_json_lines(path) if path.is_file() else iter(())
    found = (row for _, row in rows if isinstance(row, dict) and row.get("id") == one.id)
    row = next((row for row in found if row.get("split") == one.file.stem), None)
    if row is None:
        made.missing.append(f"{path} has no origin of {one.place}")
    else:
        made.origins[one.place] = {name: row.get(name) for name in ORIGIN}


def _calls(made: Trace, recipe: Recipe) -> None:
    """The calls to the teacher and to the judge."""
    for role, stage, part, prompt_hash, backend in _asked(made, recipe):
        if not recipe.backends[backend].remote:
            made.missing.append(f"the {role}, backend {backend}, is no API: it stores no calls and costs nothing")
            continue
        calls = calls_with(prompt_hash, stage, part)
        made.calls += [(role, call) for call in calls]
        if not calls:
            made.missing.append(f"{FOLDER}/ has no call of the {role} with this prompt: `dvc pull responses`?")


def _asked(made: Trace, recipe: Recipe) -> Iterator[tuple[str, str, str, str, str]]:
    """Role, stage, part, prompt and backend of what was asked for a row, or for both answers of a pair."""
    answered = _first(made, "generate") or _first(made, "filter")
    pair = _first(made, "pairs")
    parents = _parents(pair.row) if pair else []
    both = [one for one in made.ancestors if one.step.kind == "generate" and one.id in parents]
    for one in [answered] if answered else both:
        if isinstance(prompt := one.row.get("prompt_hash"), str):
            name = _scheme(one, recipe)
            yield "teacher", f"generate-{name}", one.part, prompt, recipe.schemes[name].teacher
    for one in made.steps:
        judge = getattr(recipe.scores.get(one.step.name), "judge", None) if one.step.kind == "score" else None
        if judge and isinstance(prompt := one.row.get("scorer_prompt_hash"), str) and prompt:
            yield "judge", f"score-{one.step.name}", one.part, prompt, judge
        block = recipe.filters.get(one.step.name) if one.step.kind == "filter" else None
        if not isinstance(block, Filter) or not block.judge:
            continue
        if isinstance(prompt := one.row.get("judge_prompt_hash"), str) and prompt:
            part = recipe.shard_names()[0] if block.quota else one.part  # a quota's job has the name of the first one
            yield "judge", f"{block.rule}-{one.step.name}", part, prompt, block.judge
