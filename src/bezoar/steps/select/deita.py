"""DEITA: complex rows with good answers, none of which is too similar to another (Liu et al. 2024, arXiv:2312.15685).

A row's score is its complexity times its quality. Each is the expectation over the digits 1 to 6 as the first token of
a model's answer. Rows are taken by falling score, if the cosine of their embedding with that of every row taken before
is at most 0.9.

Compared with hkust-nlp/deita at 405d06090e2b31035a4ba7d154207cde846e78bc. We differ: a row is scored once, with the
turns before its answer, where their code adds up the scores of all turns; a score that can't be read counts as failed,
where their code writes 3.0; digits that aren't among the 20 most likely tokens count as 0; and an embedding is the mean
of the last hidden states, where theirs is that of the last token.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Dtype, FilePath, Name, Reference, Sampling, Share
from bezoar.errors import InputError
from bezoar.files import rounded
from bezoar.problems import Problem
from bezoar.requests.base import Backend, Completion, Request, ask
from bezoar.requests.demand import Demand, Known
from bezoar.steps import prompts
from bezoar.steps.data import accounting
from bezoar.steps.data.examples import parts_of
from bezoar.steps.data.pool import Pool
from bezoar.steps.data.rows import FAILED, Message
from bezoar.steps.select.selection import Choice, Ranked, SelectionBlock, answered, best_first

if TYPE_CHECKING:
    import numpy as np

Embed = Callable[[list[str]], "np.ndarray[Any, Any]"]  # (texts, size), each of length 1
OpenScorer = Callable[[str], tuple[Backend, int | None]]

DIGITS = ("1", "2", "3", "4", "5", "6")
TOP = 20  # alternatives of the first token; OpenAI gives no more
LEAST_MASS = 0.5  # of all digits together: below, the model more likely says something else. Our choice
ONE_TOKEN = Sampling(temperature=0.0, max_new_tokens=1)
NEEDS = {"complexity": ("instruction",), "quality": ("instruction", "response")}
AT_ONCE = 256  # rows that are embedded together
UNREADABLE, SIMILAR = f"{FAILED}no score", "too similar"

Scorer = Annotated[
    Name,
    Reference(
        ("backends",),
        "no backend that gives log-probabilities",
        trait="gives_logprobs",
        hint="a `local` one does, and an `openai` one with sends_sampling",
    ),
]


class Deita(SelectionBlock):
    """Complex rows with good answers, none too similar to another (DEITA: Liu et al. 2024, arXiv:2312.15685)."""

    script: ClassVar[str] = "deita"
    reads: ClassVar[tuple[str, ...]] = ("prompt", "seed", "shards", "budget")
    asks: ClassVar[dict[str, tuple[str, ...]]] = {"select": ("complexity", "quality")}

    method: Literal["deita"]
    complexity: Scorer = Field(description="Backend that scores how complex a prompt is; it gives log-probabilities.")
    quality: Scorer = Field(description="Backend that scores how good an answer is; it gives log-probabilities.")
    prompts: FilePath = Field(description="Prompt file with `complexity` and `quality`.")
    embedding: Annotated[Name, Reference(("models", "stages"), "embeddings of an unknown checkpoint")] = Field(
        description="Model or stage whose hidden states say how similar rows are."
    )
    max_cosine: float = Field(0.9, gt=-1, le=1, description="Most similarity to a selected row. Default: the paper.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of a row that its embedding is computed from.")
    batch_size: int = Field(16, ge=1, description="Rows that are embedded in one batch.")
    dtype: Dtype = "bfloat16"
    max_failed_share: Share = Field(0.05, description="Share of the rows that may have no readable score.")

    def files(self) -> list[str]:
        """The prompt file."""
        return [self.prompts]

    def checkpoints(self) -> dict[str, str]:
        """The checkpoint of the embeddings."""
        return {"embedding": self.embedding}

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """One request for each row, or two if one backend gives both scores."""
        rows = known.rows(self.of) if self.kind == "source" else known.lines(self._kept(known.shards))
        each = 1 + (self.complexity == self.quality)
        return Demand(None if rows is None else rows * each, 1000 + known.tokens(self.prompts), ONE_TOKEN)

    def _kept(self, shards: int) -> list[str]:
        return [f"data/filtered/{self.of}/{shard:04d}/kept.jsonl" for shard in range(shards)]

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """More rows than there can be, a backend that answers no free prompt, or other templates."""
        yield from super().problems(recipe)
        try:
            if Path(self.prompts).is_file():
                prompts.load(self.prompts, NEEDS)
        except InputError as error:
            found, expected = str(error).partition("\n")[0], f"the templates {' and '.join(NEEDS)}"
            yield Problem(("prompts",), "prompts that this method can't fill", found, expected)
        for key in NEEDS:
            backend = recipe.backends.get(getattr(self, key))
            if backend is not None and not backend.writes:
                yield Problem((key,), "a backend that answers no free prompt", backend.name, "one that writes")


# ---- Scores ----


def expectation(alternatives: Iterable[tuple[str, float]] | None) -> float | None:
    """The mean digit from 1 to 6 by a first token's alternatives; None if something else is more likely.

    Tokens that differ in white space only count as one digit, and a digit that isn't among them counts as 0.
    """
    found = dict.fromkeys(DIGITS, 0.0)
    for text, logprob in alternatives or ():
        if (digit := text.strip(" \n\t▁Ġ")) in found:
            found[digit] += math.exp(logprob)
    mass = math.fsum(found.values())
    return math.fsum(int(digit) * one for digit, one in found.items()) / mass if mass >= LEAST_MASS else None


def request_of(measure: str, name: str, messages: list[Message], answer: str, template: str) -> Request:
    """The request for a row's complexity or quality: its answer is one token."""
    turns = [one for one in messages if one.role != "system"]
    told = "\n\n".join(f"{one.role}: {one.content}" for one in turns) if len(turns) > 1 else turns[0].content
    texts = {"instruction": told, "response": answer}
    text = prompts.fill(template, **{slot: texts[slot] for slot in NEEDS[measure]})
    return replace(ask(f"{measure}:{name}", text, ONE_TOKEN), top_logprobs=TOP)


def score_of(answer: Completion) -> float | None:
    """The score in an answer; None if it can't be read."""
    return expectation(answer.alternatives) if answer.finish_reason in ("stop", "length") else None


def scored(
    measure: str, pool: Pool, choice: Choice, backend: Backend, template: str, at_once: int | None
) -> dict[int, float]:
    """The complexity or quality of each row by its number; rows whose score can't be read are left out.

    Args:
        measure: Which of both.
        pool: The rows.
        choice: Takes the reasons of rows that are left out; those that have one already aren't scored.
        backend: Answers.
        template: The prompt.
        at_once: Requests that the backend gets at once; None for all.
    """
    found: dict[int, float] = {}
    rows = (row for row in answered(pool, choice) if row[0] not in choice.left)
    while some := list(islice(rows, at_once)):
        asked = [
            request_of(measure, f"{pool.key(number)[1]}:{number}", messages, answer, template)
            for number, messages, answer in some
        ]
        for (number, *_), answer in zip(some, backend.complete(asked, measure), strict=True):
            if (score := score_of(answer)) is None:
                said = answer.error or f"{answer.text[:80]!r} ({answer.finish_reason})"
                choice.leave(number, UNREADABLE, f"{measure}: {said}")
            else:
                found[number] = score
    return found


def ranked(complexity: dict[int, float], quality: dict[int, float]) -> list[Ranked]:
    """Rows with both scores, by falling product."""
    measures = [(number, {"complexity": complexity[number], "quality": one}) for number, one in quality.items()]
    return best_first([Ranked(number, one["complexity"] * one["quality"], one) for number, one in measures])


def check_failed(block: Deita, choice: Choice, rows: int) -> None:
    """Check that not too many rows have no score.

    Raises:
        ValueError: More than `max_failed_share` have none.
    """
    failed = accounting.Tally()
    for reason, detail in choice.left.values():
        if reason.startswith(FAILED):
            failed.add(reason, detail)
    key, hint = f"selections.{block.name}.max_failed_share", "does the prompt ask for one digit, and nothing before it?"
    step = f"select {block.name}: scores"
    accounting.check_dropped(step, rows, failed, block.max_failed_share, key=key, hint=hint, fewest=1)


# ---- Similarity ----


class Embedder:
    """A checkpoint's last hidden states, averaged over a row's tokens and scaled to length 1."""

    def __init__(self, checkpoint: Path, block: Deita) -> None:
        from bezoar.steps import models

        self.model, self.tokenizer = models.load(checkpoint, block.dtype).eval(), models.load_tokenizer(checkpoint)
        self.longest = min(block.max_tokens, models.positions(self.model.config))
        self.pad, self.batch_size = models.padding(self.tokenizer), block.batch_size

    def embed(self, texts: list[str]) -> "np.ndarray[Any, Any]":
        """Embeddings (texts, hidden size) in float32; of a text's first tokens, if it has too many."""
        import numpy as np

        tokens = [list(self.tokenizer(text).input_ids)[: self.longest] for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        found: dict[int, Any] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            found |= zip(batch, self._means([tokens[place] for place in batch]), strict=True)
        return np.stack([found[place] for place in range(len(texts))])

    def _means(self, rows: list[list[int]]) -> "np.ndarray[Any, Any]":
        import torch

        longest = max(map(len, rows))
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.model.device)
        with torch.inference_mode():
            states = self.model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        sums = (states * mask[:, :, None]).sum(dim=1)
        found = torch.nn.functional.normalize(sums, dim=1)  # as that of the mean
        return found.cpu().numpy()


class Kept:
    """Embeddings of the rows that are selected so far, of which there may be a number."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._numbers: list[int] = []
        self._matrix: Any = None

    def add(self, number: int, embedding: "np.ndarray[Any, Any]") -> None:
        """Add a row of the pool by its number."""
        import numpy as np

        if self._matrix is None:
            self._matrix = np.empty((self._rows, len(embedding)), np.float32)
        self._matrix[len(self._numbers)] = embedding
        self._numbers.append(number)

    def nearest(self, embedding: "np.ndarray[Any, Any]") -> tuple[float, int] | None:
        """The largest cosine with a row, to six digits, and that row's number; None if there is no row."""
        if not self._numbers:
            return None
        cosines = self._matrix[: len(self._numbers)] @ embedding
        place = int(cosines.argmax())
        return min(1.0, round(float(cosines[place]), 6)), self._numbers[place]


def select(order: list[Ranked], pool: Pool, choice: Choice, most: float, embed: Embed) -> None:
    """Take rows in their order, each if its cosine with every row before is at most `most`, until there are enough."""
    kept, rows = Kept(choice.rows), iter(order)
    while not choice.full and (some := list(islice(rows, AT_ONCE))):
        for row, embedding in zip(some, embed([text_of(pool, row.number) for row in some]), strict=True):
            found = kept.nearest(embedding)
            if found and found[0] > most and not choice.full:
                choice.leave(row.number, SIMILAR, f"{row}, cosine {rounded(found[0]):g} with {pool.place(found[1])}")
                continue
            if not choice.full:
                kept.add(row.number, embedding)
            choice.offer(row)
    for row in rows:
        choice.offer(row)


def text_of(pool: Pool, number: int) -> str:
    """A row's text for its embedding: its turns."""
    messages, answers = parts_of(pool.row(number)[2], preference=False)
    return "\n\n".join([*(one.content for one in messages), answers["completion"]])


# ---- Both ----


def opener(block: Deita, backends: dict[str, Any], weights: dict[str, Path | None], **common: Any) -> OpenScorer:
    """A function from a measure to the backend that scores it, and the number of requests that it gets at once.

    Args:
        block: The selection.
        backends: Their blocks by name.
        weights: By measure, the model directory of a local backend.
        common: Of the recipe, as backends take them.
    """

    def opened(measure: str) -> tuple[Backend, int | None]:
        backend = backends[getattr(block, measure)]
        return backend.open(checkpoint=weights[measure], **common), backend.at_once

    return opened


def chosen(block: Deita, pool: Pool, prompt_file: Path, open_scorer: OpenScorer, checkpoint: Path) -> Choice:
    """The rows of a selection.

    Args:
        block: The selection; it knows its name.
        pool: The rows.
        prompt_file: The templates.
        open_scorer: Gives the backend of a measure, and how many requests it gets at once.
        checkpoint: Model directory of the embeddings.

    Raises:
        ValueError: Too many rows have no score, or the prompt file has other templates.
    """
    choice, templates = Choice(block.rows), prompts.load(prompt_file, NEEDS)
    found: dict[str, dict[int, float]] = {}
    opened: tuple[Backend, int | None] | None = None
    for measure in NEEDS:
        if opened is None or block.complexity != block.quality:
            opened = None  # so that two local models aren't in memory together
            opened = open_scorer(measure)
        found[measure] = scored(measure, pool, choice, opened[0], templates[measure], opened[1])
    check_failed(block, choice, len(pool))
    opened = None
    select(
        ranked(found["complexity"], found["quality"]), pool, choice, block.max_cosine, Embedder(checkpoint, block).embed
    )
    return choice
