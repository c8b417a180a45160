"""Mix kept rows and sources into one training set, in TRL's column formats, with an eval split of whole families.

A part's rows are taken in the order of a hash of seed and row id, so that a smaller set is a subset of a larger one.
Eval rows are of families of which neither this mix's train rows nor an earlier mix's are: earlier are the mixes of all
stages that a stage on this mix starts from, directly or not.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bezoar import accounting, chat, rows
from bezoar.families import KEYS, Families, first_turn
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.params.data import Limit, Mix, Part
from bezoar.script import Flags, run

Example = dict[str, str]  # id, what tells its family, and the text columns
MOST_HELD = 3  # times `eval_rows`, that the eval split has at most: families are held out whole
BROKEN = "\ufffd"  # what a tokenizer decodes a part of a character to


class Unusable(ValueError):
    """A row gives no example; the argument is the reason that it is counted under."""


def of_chat(row: rows.ChatRow, system: str, window: "Window | None", turn: str | None = None) -> Example:
    """TRL's prompt-completion columns, cut to a window of tokens; `turn` is a dialogue's first turn.

    A row's own system text comes before the recipe's.

    Raises:
        Unusable: The cut leaves a text empty.
    """
    instruction, response = row.instruction, row.response
    if window:
        instruction, (response,) = window.cut(instruction, (response,))
    _check_left(instruction, response)
    prompt = chat.student_prompt(instruction, row.system if row.system is not None else system)
    keys = {"family": row.family, "first_turn": first_turn(turn if turn is not None else row.instruction)}
    return {"id": row.id, **keys, "prompt": prompt, "completion": response}


def of_preference(row: rows.PreferenceRow, system: str, window: "Window | None") -> Example:
    """TRL's preference columns, cut to a window of tokens.

    Raises:
        Unusable: The cut leaves a text empty, or two responses that are equal.
    """
    instruction, (chosen, rejected) = chat.dialogue(row.turns), (row.chosen, row.rejected)
    if window:
        instruction, (chosen, rejected) = window.cut(instruction, (chosen, rejected))
    _check_left(instruction, chosen, rejected)
    if chosen == rejected:
        raise Unusable("equal after cut")
    prompt = chat.student_prompt(instruction, system)
    keys = {"family": rows.row_id(*row.turns), "first_turn": first_turn(row.turns[0])}
    return {"id": row.id, **keys, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def _check_left(*texts: str) -> None:
    if not all(texts):
        raise Unusable("empty after cut")


class Window:
    """Cuts what doesn't fit into a number of tokens: an instruction from its start, responses from their end.

    A token may hold a part of a character only. What is left of such a one at the cut is taken away, so a text of few
    tokens can end up empty.

    Source: eric-mitchell/direct-preference-optimization, truncation mode `keep_end`. The template around the
    instruction is never cut.
    """

    def __init__(self, tokenizer: Any, limit: Limit, system: str) -> None:
        self.tokenizer, self.limit = tokenizer, limit
        self.template = len(self._ids(chat.student_prompt("", system)))
        if self.template >= limit.prompt or limit.prompt >= limit.total:
            raise ValueError(
                f"the limit leaves no room\n  found:    prompt {limit.prompt}, total {limit.total} tokens\n"
                f"  expected: more for the prompt than its template's {self.template}, and more in total than that"
            )
        self.cuts: Counter[str] = Counter()

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def cut(self, instruction: str, responses: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Instruction and responses such that template, instruction and longest response fit."""
        asked, given = self._ids(instruction), [self._ids(response) for response in responses]
        if self.template + len(asked) + max(map(len, given)) <= self.limit.total:
            return instruction, responses
        room = self.limit.prompt - self.template
        if len(asked) > room:
            self.cuts["instruction"] += 1
            asked = asked[-room:]
            instruction = self.tokenizer.decode(asked).lstrip(BROKEN).strip()
        left = self.limit.total - self.template - len(asked)
        shortened = []
        for response, ids in zip(responses, given, strict=True):
            if len(ids) > left:
                self.cuts["response"] += 1
                response = self.tokenizer.decode(ids[:left]).rstrip(BROKEN).strip()
            shortened.append(response)
        return instruction, tuple(shortened)


@dataclass(frozen=True)
class Folders:
    """Where the rows of schemes and sources are."""

    filtered: Path
    source: Path
    shards: int


def files_of(part: Part, folders: Folders) -> list[Path]:
    """The files that a part's rows are in."""
    if part.kind == "scheme":
        return [folders.filtered / part.name / f"{shard:04d}" / "kept.jsonl" for shard in range(folders.shards)]
    return [folders.source / part.name / "rows.jsonl"]


def row_type(part: Part, form: str) -> type[rows.Row]:
    """The type of a part's rows; `form` is a source's format."""
    if part.kind == "scheme":
        return rows.FilteredRow
    types: dict[str, type[rows.Row]] = {"chat": rows.ChatRow, "hh_rlhf": rows.PreferenceRow}
    return types.get(form, rows.SeedRow)


def example_of(row: rows.Row, preference: bool, system: str, window: "Window | None") -> Example:
    """A row in the columns of a preference mix or of the other kind, which has a preference's chosen response.

    Raises:
        Unusable: It has no response, or the cut leaves a text empty.
    """
    match row:
        case rows.PreferenceRow():
            if preference:
                return of_preference(row, system, window)
            one = rows.ChatRow(
                id=row.id,
                family=rows.row_id(*row.turns),
                system=None,
                instruction=chat.dialogue(row.turns),
                response=row.chosen,
            )
            return of_chat(one, system, window, row.turns[0])
        case rows.FilteredRow():
            columns = row.model_dump(include={"id", "system", "instruction", "response"})
            return of_chat(rows.ChatRow(family=row.root_id, **columns), system, window)
        case rows.SeedRow():
            if not row.response:
                raise Unusable("no response")
            instruction = chat.with_context(row.instruction, row.context)
            seed = rows.ChatRow(id=row.id, family=row.id, system=None, instruction=instruction, response=row.response)
            return of_chat(seed, system, window)
        case rows.ChatRow():
            return of_chat(row, system, window)
    raise TypeError(f"no row of a mix: {type(row).__name__}")


@dataclass
class Draw:
    """Examples of all parts so far: no two with the same texts; and the rows that gave none, with their reasons."""

    block: Mix
    system: str
    window: "Window | None"
    seed: int
    examples: list[Example] = field(default_factory=list)
    dropped: list[rows.DroppedRow] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)  # of the texts of each example, by their hash

    def take(self, part: Part, found: list[tuple[str, Any]]) -> dict[str, Any]:
        """Take a part's rows in the order of a hash of seed and id, until it has as many as asked; says how many.

        A row that gives no example is made up for by the next one, so only rows that are taken or dropped are cut. The
        list is emptied: each row's memory is free once there is an example of it.
        """
        before, taken, number = len(self.dropped), 0, len(found)
        found.sort(key=lambda one: rows.rank(self.seed, one[1].id))
        found.reverse()
        while found and taken != part.rows:
            taken += self._add(*found.pop())
        counts: dict[str, Any] = {"kind": part.kind, "name": part.name, "asked": part.rows, "found": number}
        return counts | {
            "taken": taken,
            "dropped": rows.reasons_of(self.dropped[before:]),
            "not_drawn": len(found),
        }

    def _add(self, place: str, row: Any) -> bool:
        """Whether a row is taken."""
        cuts = Counter(self.window.cuts) if self.window else Counter()
        try:
            example = example_of(row, self.block.format == "preference", self.system, self.window)
            texts = rows.row_id(*(rows.folded(text) for column, text in example.items() if column not in ("id", *KEYS)))
            if texts in self.places:
                place = f"{place} repeats {self.places[texts]}"
                raise Unusable("duplicate")
        except Unusable as reason:
            self.dropped.append(rows.DroppedRow(reason=str(reason), detail=place, row={"id": row.id}))
            if self.window:
                self.window.cuts = cuts  # what isn't taken isn't cut
            return False
        self.places[texts] = place
        self.examples.append(example)
        return True


def mixed(
    block: Mix, folders: Folders, formats: dict[str, str], system: str, window: Window | None, seed: int, name: str
) -> tuple[list[Example], list[rows.DroppedRow], dict[str, Any]]:
    """All parts together without duplicates; the rows that were dropped; and what became of each part's rows.

    This is the first step that sees all shards of a scheme: here a scheme of which nothing is left is an error.

    Raises:
        ValueError: A part gives no row, or fewer or fewer usable ones than the mix's bounds say, or rows got lost.
    """
    draw = Draw(block, system, window, seed)
    parts = []
    for part in block.parts:
        kind = row_type(part, formats.get(part.name, ""))
        found = [one for path in files_of(part, folders) for one in rows.placed_rows(path, kind)]
        before = len(draw.dropped)
        counts = draw.take(part, found)
        check_part(f"mix {name}: {part.kind} {part.name}", f"mixes.{name}", block, counts, draw.dropped[before:])
        parts.append(counts)
    return draw.examples, draw.dropped, {"parts": parts, "dropped": rows.reasons_of(draw.dropped)}


def check_part(step: str, key: str, block: Mix, counts: dict[str, Any], dropped: list[rows.DroppedRow]) -> None:
    """Nothing, if a part gives enough; a shortfall within the mix's bounds is logged.

    Raises:
        ValueError: It gives no row, or too few, or too many of its rows are dropped, or rows got lost.
    """
    taken, looked_at = counts["taken"], counts["taken"] + len(dropped)
    hint = "is it the right part, with the right rows?"
    if counts["kind"] == "scheme":
        hint = "dropped.jsonl below data/generated, and rejected.jsonl below data/filtered, say what became of its rows"
    accounting.check_conserved(step, counts["found"], taken, counts["dropped"] | {"not drawn": counts["not_drawn"]})
    if block.max_missing_share < 1:
        accounting.check_some(step, taken, looked_at, dropped, hint=hint)
    bound, missing = f"{key}.max_dropped_share", f"{key}.max_missing_share"
    accounting.check_dropped(step, looked_at, dropped, block.max_dropped_share, key=bound, hint=hint)
    accounting.check_enough(step, taken, counts["asked"] or 0, block.max_missing_share, key=missing, hint=hint)


def split(
    examples: list[Example], eval_rows: int, seed: int, earlier: list[dict[str, str]]
) -> tuple[list[Example], list[Example]]:
    """Train and eval examples; families stay whole, so eval may have a few rows more than `eval_rows`, or fewer.

    A family of which an earlier mix has a row in its train split is never held out. A hash of seed and family says in
    which order the others are; one that is larger than what is still wanted is passed over, if there are others.

    Args:
        examples: In any order.
        eval_rows: Rows to hold out.
        seed: The recipe's.
        earlier: What earlier mixes trained on, with the columns that tell families.

    Raises:
        ValueError: There would be nothing left to train on.
    """
    families = Families()
    families.join([*examples, *earlier])
    trained = {families.of(row) for row in earlier}
    members: dict[str, list[Example]] = {}
    for example in examples:
        members.setdefault(families.of(example), []).append(example)
    free = sorted(members.keys() - trained, key=lambda family: rows.rank(seed, "eval", family))
    held = _chosen(free, members, eval_rows)
    train = [one for family in members if family not in held for one in members[family]]
    if not train:
        raise ValueError(f"nothing is left to train on\n  found:    {len(examples)} rows, {eval_rows} of them for eval")
    train.sort(key=lambda example: rows.rank(seed, "order", example["id"]))
    return train, [one for family in free if family in held for one in members[family]]


def _chosen(free: list[str], members: dict[str, list[Example]], eval_rows: int) -> set[str]:
    """The families to hold out: in order those that fit, then the smallest of the others until there are enough.

    One that would make it more than MOST_HELD times as many rows is left to the train split, and so there may be fewer.
    """
    held: set[str] = set()
    left = eval_rows
    for family in free:
        if len(members[family]) <= left:
            held.add(family)
            left -= len(members[family])
    for family in sorted(free, key=lambda name: len(members[name])):
        if left <= 0 or family in held:
            continue
        if eval_rows - left + len(members[family]) > MOST_HELD * eval_rows:
            logger.warning(
                f"{eval_rows - left:,} of {eval_rows:,} rows are held out: the next smallest family alone has "
                f"{len(members[family]):,}"
            )
            break
        held.add(family)
        left -= len(members[family])
    return held


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="mixes.<name> prompt seed shards [sources.<part>.format ...]")
    flags.path("filtered", "folder of filtered schemes")
    flags.path("source", "folder of sources")
    flags.path("earlier", "train.jsonl of each mix that a stage on this mix comes after", many=True)
    flags.path("tokenizer", "model directory whose tokenizer counts", optional=True)
    flags.folder("out", "folder to write train.jsonl, eval.jsonl, dropped.jsonl and report.json to")
    args, (block, prompt, seed, shards, *forms) = flags.start(argv)
    name, folders = args.out.name, Folders(args.filtered, args.source, shards)
    formats = dict(zip([part.name for part in block.parts if part.kind == "source"], forms, strict=True))
    window = None
    if block.limit:
        from bezoar.models import load_tokenizer  # slow to import, and few mixes count tokens

        window = Window(load_tokenizer(args.tokenizer), block.limit, prompt.system)
    examples, dropped, report = mixed(block, folders, formats, prompt.system, window, seed, name)
    train, held = split(examples, block.eval_rows, seed, trained_before(args.earlier))
    check_split(name, block, len(examples), len(train), len(held))
    report |= {"train": len(train), "eval": len(held), "cut": dict(window.cuts) if window else {}}
    with artifact(args.out) as out:
        rows.write_rows(out / "train.jsonl", train)
        rows.write_rows(out / "eval.jsonl", held)
        rows.write_rows(out / "dropped.jsonl", dropped)
        write_json(out / "report.json", report)
    logger.info(f"mix {name}: {len(train):,} rows to train on, {len(held):,} to evaluate; {report}")


def trained_before(paths: list[Path]) -> list[dict[str, str]]:
    """What tells the families of earlier mixes' train rows."""
    return [{key: row[key] for key in KEYS} for path in paths for _, row in rows.read_json_lines(path)]


def check_split(name: str, block: Mix, examples: int, train: int, held: int) -> None:
    """Nothing, if enough rows are held out and none got lost.

    Raises:
        ValueError: Too few are held out, or rows got lost.
    """
    accounting.check_conserved(f"mix {name}", examples, train + held, {})
    step, key = f"mix {name}: rows to evaluate", f"mixes.{name}.max_missing_share"
    hint = (
        "only families that no earlier stage trained on can be held out: hold out more there, take more rows, or ask "
        "for less"
    )
    accounting.check_some(step, held, 0, [], hint=hint)
    accounting.check_enough(step, held, block.eval_rows, block.max_missing_share, key=key, hint=hint)


if __name__ == "__main__":
    run(main)
