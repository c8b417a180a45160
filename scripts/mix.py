"""Mix kept rows and sources into one training set, in TRL's column formats, with an eval split of whole families."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar import chat, rows
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.params.data import Limit, Mix, Part
from bezoar.script import Flags, run

Example = dict[str, str]  # id, family, and the text columns
BROKEN = "\ufffd"  # what a tokenizer decodes a part of a character to


def of_chat(row: rows.ChatRow, system: str, window: "Window | None") -> Example | None:
    """TRL's prompt-completion columns, cut to a window of tokens; None where the cut leaves a text empty.

    A row's own system text comes before the recipe's.
    """
    instruction, response = row.instruction, row.response
    if window:
        instruction, (response,) = window.cut(instruction, (response,))
        if not instruction or not response:
            return None
    prompt = chat.student_prompt(instruction, row.system if row.system is not None else system)
    return {"id": row.id, "family": row.family, "prompt": prompt, "completion": response}


def of_preference(row: rows.PreferenceRow, system: str, window: "Window | None") -> Example | None:
    """TRL's preference columns, cut to a window of tokens; None where the cut leaves a text empty."""
    instruction, (chosen, rejected) = chat.dialogue(row.turns), (row.chosen, row.rejected)
    if window:
        instruction, (chosen, rejected) = window.cut(instruction, (chosen, rejected))
        if not instruction or not chosen or not rejected:
            return None
    prompt = chat.student_prompt(instruction, system)
    family = rows.row_id(*row.turns)
    return {"id": row.id, "family": family, "prompt": prompt, "chosen": chosen, "rejected": rejected}


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


def chat_rows(part: Part, form: str, folders: Folders) -> Iterator[rows.ChatRow]:
    """A part's rows as instruction and response; of a preference, the chosen response."""
    for path in files_of(part, folders):
        if part.kind == "scheme":
            for made in rows.read_rows(path, rows.FilteredRow):
                yield rows.ChatRow(
                    id=made.id,
                    family=made.root_id,
                    system=made.system,
                    instruction=made.instruction,
                    response=made.response,
                )
        elif form == "chat":
            yield from rows.read_rows(path, rows.ChatRow)
        elif form == "hh_rlhf":
            for pair in rows.read_rows(path, rows.PreferenceRow):
                yield rows.ChatRow(
                    id=pair.id,
                    family=rows.row_id(*pair.turns),
                    system=None,
                    instruction=chat.dialogue(pair.turns),
                    response=pair.chosen,
                )
        else:
            for seed in rows.read_rows(path, rows.SeedRow):
                if seed.response:
                    instruction = chat.with_context(seed.instruction, seed.context)
                    yield rows.ChatRow(
                        id=seed.id, family=seed.id, system=None, instruction=instruction, response=seed.response
                    )


def drawn(examples: list[Example], wanted: int | None, generator: random.Random) -> list[Example]:
    """`wanted` examples without replacement, or all where there aren't as many."""
    ordered = sorted(examples, key=lambda example: example["id"])
    return ordered if wanted is None or wanted >= len(ordered) else generator.sample(ordered, wanted)


def without_duplicates(examples: list[Example]) -> list[Example]:
    """Examples of which no two have the same texts; the first stays."""
    found: dict[tuple[str, ...], Example] = {}
    for example in examples:
        found.setdefault(tuple(text for column, text in example.items() if column not in ("id", "family")), example)
    return list(found.values())


def split(
    examples: list[Example], eval_rows: int, seed: int, generator: random.Random
) -> tuple[list[Example], list[Example]]:
    """Train and eval examples; families stay whole, so eval has `eval_rows` rows or a few more.

    A hash of seed and family says which families are held out first, in every mix in the same order. So what a later
    mix holds out was not trained on in an earlier one, but only if the later mix's share of eval rows is no larger.

    Args:
        examples: In any order.
        eval_rows: Rows to hold out.
        seed: The recipe's.
        generator: Draws the order of train examples.

    Raises:
        ValueError: There would be nothing left to train on.
    """
    families: dict[str, list[Example]] = {}
    for example in examples:
        families.setdefault(example["family"], []).append(example)
    held: list[Example] = []
    train: list[Example] = []
    for name in sorted(families, key=lambda family: rows.row_id(str(seed), family)):
        side = held if len(held) < eval_rows else train
        side += families[name]
    if not train:
        raise ValueError(f"nothing is left to train on\n  found:    {len(examples)} rows, {eval_rows} of them for eval")
    generator.shuffle(train)
    return train, held


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="mixes.<name> prompt seed shards [sources.<part>.format ...]")
    flags.path("filtered", "folder of filtered schemes")
    flags.path("source", "folder of sources")
    flags.path("tokenizer", "model directory whose tokenizer counts", optional=True)
    flags.folder("out", "folder to write train.jsonl, eval.jsonl and report.json to")
    args, (block, prompt, seed, shards, *forms) = flags.start(argv)
    folders = Folders(args.filtered, args.source, shards)
    formats = dict(zip([part.name for part in block.parts if part.kind == "source"], forms, strict=True))
    window = None
    if block.limit:
        from bezoar.models import load_tokenizer  # slow to import, and few mixes count tokens

        window = Window(load_tokenizer(args.tokenizer), block.limit, prompt.system)
    examples, report = mixed(block, folders, formats, prompt.system, window, random.Random(f"{seed}:{args.out.name}"))
    train, held = split(examples, block.eval_rows, seed, random.Random(f"{seed}:{args.out.name}:split"))
    report |= {"train": len(train), "eval": len(held), "cut": dict(window.cuts) if window else {}}
    with artifact(args.out) as out:
        rows.write_rows(out / "train.jsonl", train)
        rows.write_rows(out / "eval.jsonl", held)
        write_json(out / "report.json", report)
    logger.info(f"mix {args.out.name}: {len(train):,} rows to train on, {len(held):,} to evaluate; {report}")


def mixed(
    block: Mix,
    folders: Folders,
    formats: dict[str, str],
    system: str,
    window: Window | None,
    generator: random.Random,
) -> tuple[list[Example], dict[str, Any]]:
    """All parts together without duplicates, and how many rows each was asked for, had and gave."""
    examples: list[Example] = []
    parts = []
    lost = dict.fromkeys(("empty_after_cut", "equal_after_cut"), 0)
    for part in block.parts:
        cut: list[Example | None]
        if block.format == "preference":
            pairs = (pair for path in files_of(part, folders) for pair in rows.read_rows(path, rows.PreferenceRow))
            cut = [of_preference(pair, system, window) for pair in pairs]
        else:
            cut = [of_chat(row, system, window) for row in chat_rows(part, formats.get(part.name, ""), folders)]
        whole = [example for example in cut if example]
        found = [one for one in whole if "chosen" not in one or one["chosen"] != one["rejected"]]  # else no preference
        lost["empty_after_cut"] += len(cut) - len(whole)
        lost["equal_after_cut"] += len(whole) - len(found)
        taken = drawn(found, part.rows, generator)
        if part.rows and len(taken) < part.rows:
            logger.warning(f"{part.kind} {part.name} has {len(taken):,} rows, {part.rows:,} were asked for")
        parts.append(
            {"kind": part.kind, "name": part.name, "asked": part.rows, "found": len(found), "taken": len(taken)}
        )
        examples += taken
    distinct = without_duplicates(examples)
    return distinct, {"parts": parts, "duplicates": len(examples) - len(distinct)} | lost


if __name__ == "__main__":
    run(main)
