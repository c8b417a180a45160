"""Evol-Instruct: a teacher makes an instruction harder, round by round; children that fail go, their parents stay.

Scheme: WizardLM (Xu et al. 2023, arXiv:2304.12244), section 3; compared with nlpxucan/WizardLM's Evol_Instruct code.
We differ: the operation is drawn from a generator seeded by root and round, so results don't depend on the order of
work, and the cheap elimination rules run before the teacher is asked for its equality check.
"""

import random
import re
from dataclasses import dataclass

from bezoar import generation, prompts
from bezoar.backends import Backend, ask, open_backend
from bezoar.chat import with_context
from bezoar.params.data import Evol
from bezoar.rows import DroppedRow, GeneratedRow, SeedRow, read_rows, row_id

OPERATIONS = ("constraint", "deepen", "concretise", "reasoning", "complicate", "breadth")
STOP_WORDS = frozenset(
    "a about above after all am an and any are as at be because been before being below between both but by can could "
    "did do does doing down during each few for from further had has have having he her here hers herself him himself "
    "his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other our "
    "ours ourselves out over own same she should so some such than that the their theirs them themselves then there "
    "these they this those through to too under until up very was we were what when where which while who whom why "
    "will with would you your yours yourself yourselves".split()
)


@dataclass(frozen=True)
class Instruction:
    """A member of the pool: one tree's newest instruction that stood."""

    id: str
    text: str
    root_id: str
    category: str | None


@dataclass(frozen=True)
class Child:
    """A rewrite of a pool member."""

    parent: Instruction
    operation: str
    round: int
    text: str
    finish_reason: str

    @property
    def id(self) -> str:
        return row_id(self.parent.id, self.operation, str(self.round), self.text)


def operation_of(root_id: str, round_number: int, operations: list[str], seed: int) -> str:
    """The operation of a tree's round."""
    return random.Random(f"{seed}:{root_id}:{round_number}").choice(operations)


def fault_of_child(child: Child, scaffold_words: list[str]) -> str | None:
    """Why a rewrite fails before it is answered; None if it stands."""
    if not child.text:
        return "empty"
    if child.finish_reason != "stop":
        return f"finish reason {child.finish_reason}"
    if _folded(child.text) == _folded(child.parent.text):
        return "equals its parent"
    if any(word.casefold() in child.text.casefold() for word in scaffold_words):
        return "copies the prompt's words"
    return None


def fault_of_response(response: str, refusal_words: int) -> str | None:
    """Why a response eliminates its instruction (the scheme's second and third rule); None if it stands."""
    words = re.findall(r"[\w']+", response.casefold())
    if "sorry" in words and len(words) < refusal_words:
        return "says sorry"
    if all(word in STOP_WORDS for word in words):
        return "only stop words"
    return None


def evolve(
    pool: list[Instruction], teacher: Backend, block: Evol, templates: dict[str, str], seed: int, scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """All rounds over a pool: a row for each child that stands, and each that failed with its reason."""
    rows: list[GeneratedRow] = []
    dropped: list[DroppedRow] = []
    for number in range(1, block.rounds + 1):
        children = rewrite(pool, teacher, block, templates, number, seed)
        standing, failed = sieve(children, teacher, block, templates, scheme)
        dropped += failed
        rows += standing
        heirs = {row.root_id: Instruction(row.id, row.instruction, row.root_id, row.category) for row in standing}
        pool = [heirs.get(member.root_id, member) for member in pool]  # a failed child's parent returns to the pool
    return rows, dropped


def rewrite(
    pool: list[Instruction], teacher: Backend, block: Evol, templates: dict[str, str], number: int, seed: int
) -> list[Child]:
    """One rewrite of each member."""
    drawn = [operation_of(member.root_id, number, list(block.operations), seed) for member in pool]
    requests = [
        ask(f"evolve:{member.id}:{number}", prompts.fill(templates[name], instruction=member.text), block.sampling)
        for member, name in zip(pool, drawn, strict=True)
    ]
    answers = teacher.complete(requests, f"round {number}: rewrite")
    return [
        Child(m, name, number, answer.text, answer.finish_reason)
        for m, name, answer in zip(pool, drawn, answers, strict=True)
    ]


def sieve(
    children: list[Child], teacher: Backend, block: Evol, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Answer the children and eliminate, the cheap rules first; what stands, and what failed with its reason."""
    dropped: list[DroppedRow] = []

    def fails(child: Child, reason: str | None, detail: str) -> bool:
        if reason:
            values = {"parent": child.parent.id, "operation": child.operation, "round": child.round}
            dropped.append(generation.dropped_row(reason, detail, instruction=child.text, **values))
        return bool(reason)

    written = [child for child in children if not fails(child, fault_of_child(child, block.scaffold_words), child.text)]
    requests = [ask(f"answer:{child.id}", child.text, block.sampling) for child in written]
    answered = [
        (child, request, answer)
        for child, request, answer in zip(written, requests, teacher.complete(requests, "answer rewrites"), strict=True)
        if not fails(child, fault_of_response(answer.text, block.refusal_words), answer.text)
    ]
    checks = [
        ask(
            f"equal:{child.id}",
            prompts.fill(templates["equal"], first=child.parent.text, second=child.text),
            block.sampling.model_copy(update={"temperature": 0.0}),
        )
        for child, _, _ in answered
    ]
    rows = []
    verdicts = teacher.complete(checks, "compare rewrites with their parents")
    for (child, request, answer), verdict in zip(answered, verdicts, strict=True):
        equal = verdict.text.casefold().startswith("equal")
        if fails(child, "adds nothing to its parent" if equal else None, verdict.text):
            continue
        rows.append(
            GeneratedRow(
                id=child.id,
                scheme=scheme,
                seed_id=child.parent.root_id,
                root_id=child.parent.root_id,
                parent_ids=[child.parent.id],
                operation=child.operation,
                round=child.round,
                category=child.parent.category,
                topics=[],
                system=None,
                instruction=child.text,
                response=answer.text,
                teacher=answer.model,
                prompt_hash=request.prompt_hash,
                finish_reason=answer.finish_reason,
            )
        )
    return rows, dropped


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def main(argv: list[str] | None = None) -> None:
    args, (block, backend, prompt, seed, _) = generation.flags(__doc__).start(argv)
    templates = prompts.load(args.prompts, *OPERATIONS, "equal")
    seeds = read_rows(args.seeds, SeedRow)
    pool = [Instruction(row.id, with_context(row.instruction, row.context), row.id, row.category) for row in seeds]
    teacher = open_backend(backend, checkpoint=args.teacher, system=prompt.system, seed=seed)
    rows, dropped = evolve(pool, teacher, block, templates, seed, args.out.parent.name)
    values = {"scheme": block.model_dump(), "teacher": backend.model_dump(), "seed": seed}
    generation.write_shard(args, values, rows, dropped, len(pool) * block.rounds)


if __name__ == "__main__":
    main()
