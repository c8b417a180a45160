"""Evol-Instruct: a teacher makes an instruction harder, round by round; failed rewrites are dropped, parents stay.

Scheme: WizardLM (Xu et al. 2023, arXiv:2304.12244), section 3. Compared with Evol_Instruct of nlpxucan/WizardLM at
cd4b4cc022b6426aee62d51f7ae99a4a6ec9aaef, which rewrites each row once by one of five operations and eliminates nothing;
rounds, `complicate` and the elimination rules are the paper's. We differ: the operation is drawn from a
generator seeded by root and round, so results don't depend on the order of work; the cheap rules run before the
teacher's equality check, and a child without a readable verdict is dropped; instructions that are too long are not
rewritten; a row's context follows its instruction after a blank line; a rewrite that refuses or announces itself
("Sure! Here is") is dropped; and the prompts are our own texts, sent without a system message.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import FilePath, Name, Reference, Sampling, TeacherName
from bezoar.requests.base import Backend, Completion, Request, ask
from bezoar.requests.demand import Demand, Known
from bezoar.steps import prompts
from bezoar.steps.chat import with_context
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, SeedRow, normalized, row_id
from bezoar.steps.filter.refusals import prefaced, refuses
from bezoar.steps.generate.scheme import SchemeBlock, dropped_row, failed_row

VERDICT_TOKENS = 32  # a verdict has one or two words, and its prompt has two instructions
STOP_WORDS = frozenset(
    "a about above after all am an and any are as at be because been before being below between both but by can could "
    "did do does doing down during each few for from further had has have having he her here hers herself him himself "
    "his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other our "
    "ours ourselves out over own same she should so some such than that the their theirs them themselves then there "
    "these they this those through to too under until up very was we were what when where which while who whom why "
    "will with would you your yours yourself yourselves".split()
)


class Evol(SchemeBlock):
    """Evol-Instruct (Xu et al. 2023, arXiv:2304.12244): a teacher rewrites an instruction, round by round."""

    asks: ClassVar[dict[str, tuple[str, ...]]] = {"generate": ("teacher", "equality_judge")}

    method: Literal["evol"]
    prompts: FilePath = Field(description="Prompt file of the scheme.")
    seeds: Annotated[Name, Reference(("sources",), "no such source", formats=("dolly", "seed_tasks"))] = Field(
        description="Source of the first instructions."
    )
    operations: list[Literal["constraint", "deepen", "concretise", "reasoning", "complicate", "breadth"]] = Field(
        ["constraint", "deepen", "concretise", "reasoning", "complicate", "breadth"],
        min_length=1,
        description="One is drawn uniformly for each row and round.",
    )
    rounds: int = Field(4, ge=1, description="Default: the paper, section 4.1.")
    max_characters: int = Field(
        4000, ge=1, description="Most characters of an instruction, before and after a rewrite."
    )
    forbidden_words: list[str] = Field([], description="Words of the prompts that no rewrite may contain.")
    refusal_words: int = Field(
        80,
        ge=0,
        description="A response with 'sorry' and fewer words than this is eliminated. Default: the paper, section 3.2.",
    )

    keep_questions: bool = Field(
        False,
        description="Whether a rewrite of a question has to be a question: a small teacher often answers instead.",
    )
    equality_check: bool = Field(
        True,
        description="Whether a model compares each rewrite with its parent; false leaves it to the rules, for "
        "example because no available model can tell.",
    )
    equality_judge: TeacherName | None = Field(
        None, description="Backend that compares rewrites with their parents; null for the teacher."
    )

    @field_validator("equality_judge")
    @classmethod
    def _needed(cls, equality_judge: str | None, info: ValidationInfo) -> str | None:
        if equality_judge is not None and not info.data.get("equality_check", True):
            raise PydanticCustomError("unused", "null with equality_check: false")
        return equality_judge

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """One rewrite of each seed in each round."""
        return None if seeds is None else ceil(seeds / shards) * self.rounds

    def requests_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """For each rewrite: itself, its answer, and the comparison with its parent if the teacher makes it."""
        rewrites = self.candidates_of_a_shard(seeds, shards)
        compares = self.equality_check and self.equality_judge in (None, self.teacher)
        return None if rewrites is None else rewrites * (2 + compares)

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a shard to the teacher, or to the other backend that compares rewrites."""
        demand = super().demand(inputs, known, key)
        if key == "teacher":
            return demand
        calls = (
            0
            if self.equality_judge == self.teacher
            else self.candidates_of_a_shard(known.seeds(self.name), known.shards)
        )
        return replace(demand, calls=calls, sampling=verdict_sampling(self.sampling))


@dataclass(frozen=True)
class Instruction:
    """A member of the pool: the newest accepted instruction of a tree."""

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
    answer: Completion

    @property
    def text(self) -> str:
        return self.answer.text

    @property
    def id(self) -> str:
        return row_id(self.parent.id, self.operation, str(self.round), self.text)


@dataclass(frozen=True)
class Answered:
    """A child with the teacher's response."""

    child: Child
    request: Request
    answer: Completion


def operation_of(root_id: str, round_number: int, operations: list[str], seed: int) -> str:
    """The operation of a tree's round."""
    return random.Random(f"{seed}:{root_id}:{round_number}").choice(operations)


def fault_of_child(child: Child, block: Evol) -> str | None:
    """Why a rewrite fails before it is answered; None if it passes."""
    if len(child.text) > block.max_characters:
        return "too long"
    if normalized(child.text) == normalized(child.parent.text):
        return "equals its parent"
    if any(word.casefold() in child.text.casefold() for word in block.forbidden_words):
        return "copies the prompt's words"
    if refuses(child.text):
        return "refuses to rewrite"
    if block.keep_questions and _asks(child.parent.text) and not _asks(child.text):
        return "no question"
    if prefaced(child.text):
        return "announces itself"
    return None


def _asks(text: str) -> bool:
    """Whether a text ends with a question."""
    return text.rstrip().rstrip("\"'”)*").endswith("?")


def fault_of_response(response: str, refusal_words: int) -> str | None:
    """Why a response eliminates its instruction (the scheme's second and third rule); None if it passes."""
    words = re.findall(r"[\w']+", response.casefold())
    if "sorry" in words and len(words) < refusal_words:
        return "says sorry"
    if all(word in STOP_WORDS for word in words):
        return "only stop words"
    return None


def fault_of_verdict(verdict: str) -> str | None:
    """Why an equality verdict eliminates a child; None if its first sentence says that child and parent differ."""
    first = re.split(r"[.!?\n]", verdict.strip().casefold(), maxsplit=1)[0]
    if re.search(r"(\bnot|n.t)[\s-]+equal\b", first):
        return None
    return "adds nothing to its parent" if re.search(r"\bequal\b", first) else "no equality verdict"


def evolve(
    pool: list[Instruction],
    teacher: Backend,
    block: Evol,
    templates: dict[str, str],
    seed: int,
    scheme: str,
    judge: Backend | None = None,
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """All rounds over a pool: a row for each accepted child, and each failed one with its reason.

    A member that is too long to be rewritten counts as dropped in every round. The teacher compares rewrites with their
    parents, unless there is another judge for it.
    """
    rows: list[GeneratedRow] = []
    dropped: list[DroppedRow] = []
    for number in range(1, block.rounds + 1):
        asked = [member for member in pool if len(member.text) <= block.max_characters]
        dropped += [too_long(member, number) for member in pool if len(member.text) > block.max_characters]
        children = rewrite(asked, teacher, block, templates, number, seed)
        standing, failed = sieve(children, teacher, judge or teacher, block, templates, scheme)
        dropped += failed
        rows += standing
        heirs = {row.root_id: Instruction(row.id, row.instruction, row.root_id, row.category) for row in standing}
        pool = [
            heirs.get(member.root_id, member) for member in pool
        ]  # the parent of a failed child returns to the pool
    return rows, dropped


def too_long(member: Instruction, number: int) -> DroppedRow:
    """A round of a member that is not rewritten."""
    detail = f"{len(member.text):,} characters"
    return dropped_row("too long", detail, parent=member.id, round=number)


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
    return [Child(member, name, number, answer) for member, name, answer in zip(pool, drawn, answers, strict=True)]


def sieve(
    children: list[Child],
    teacher: Backend,
    judge: Backend,
    block: Evol,
    templates: dict[str, str],
    scheme: str,
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Answer the children and eliminate some, by the cheap rules first; accepted ones, and failed ones with reasons."""
    answered, failed = answer(children, teacher, block)
    standing, equal = compare(answered, judge, block, templates) if block.equality_check else (answered, [])
    return [row_of(one, scheme) for one in standing], failed + equal


def answer(children: list[Child], teacher: Backend, block: Evol) -> tuple[list[Answered], list[DroppedRow]]:
    """The children that pass the cheap rules, with their responses, and the others."""
    written: list[Child] = []
    answered: list[Answered] = []
    failed: list[DroppedRow] = []
    for child in children:
        if child.answer.fault:
            failed.append(unanswered(child, child.answer))
        elif fault := fault_of_child(child, block):
            failed.append(eliminated(child, fault, child.text))
        else:
            written.append(child)
    requests = [ask(f"answer:{child.id}", child.text, block.sampling) for child in written]
    responses = teacher.complete(requests, "answer rewrites")
    for child, request, response in zip(written, requests, responses, strict=True):
        if response.fault:
            failed.append(unanswered(child, response))
        elif fault := fault_of_response(response.text, block.refusal_words):
            failed.append(eliminated(child, fault, response.text))
        else:
            answered.append(Answered(child, request, response))
    return answered, failed


def verdict_sampling(sampling: Sampling) -> Sampling:
    """The most likely verdict, of few tokens."""
    short = min(VERDICT_TOKENS, sampling.max_new_tokens)
    return sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": short})


def compare(
    answered: list[Answered], judge: Backend, block: Evol, templates: dict[str, str]
) -> tuple[list[Answered], list[DroppedRow]]:
    """The children that differ from their parents according to a judge, and the others."""
    sampling = verdict_sampling(block.sampling)
    requests = [
        ask(
            f"equal:{one.child.id}",
            prompts.fill(templates["equal"], first=one.child.parent.text, second=one.child.text),
            sampling,
        )
        for one in answered
    ]
    standing: list[Answered] = []
    failed: list[DroppedRow] = []
    verdicts = judge.complete(requests, "compare rewrites with their parents")
    for one, verdict in zip(answered, verdicts, strict=True):
        if verdict.fault and not (verdict.fault == "length" and verdict.text):  # the first words are enough
            failed.append(unanswered(one.child, verdict))
        elif fault := fault_of_verdict(verdict.text):
            failed.append(eliminated(one.child, fault, verdict.text))
        else:
            standing.append(one)
    return standing, failed


def eliminated(child: Child, reason: str, detail: str) -> DroppedRow:
    """A child that was dropped."""
    return dropped_row(reason, detail, **_facts(child))


def unanswered(child: Child, answer: Completion) -> DroppedRow:
    """A child without a usable text, response or verdict by the teacher."""
    return failed_row(answer, **_facts(child))


def _facts(child: Child) -> dict[str, object]:
    values = {"parent": child.parent.id, "operation": child.operation, "round": child.round}
    return {"instruction": child.text, **values}


def row_of(one: Answered, scheme: str) -> GeneratedRow:
    """An accepted child as a row."""
    child, answer = one.child, one.answer
    return GeneratedRow(
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
        prompt_hash=one.request.prompt_hash,
        finish_reason=answer.finish_reason,
    )


def pool_of(seeds: Iterable[SeedRow]) -> list[Instruction]:
    """The first instruction of each tree; a row's context follows its instruction."""
    return [Instruction(row.id, with_context(row.instruction, row.context), row.id, row.category) for row in seeds]
