"""Rows whose answers a model finds hard to follow from their prompts: instruction-following difficulty.

IFD (Li et al. 2023, arXiv:2308.12032) is the loss of an answer after its prompt, divided by that of the
answer alone. Near 1, the prompt hardly helps; above 1 it doesn't fit the answer, and the row is left out.

Compared with tianyi-lab/Cherry_LLM at 6c200ba712b906be62b0c214bf73c3327f28c38d, `cherry_seletion/data_by_IFD.py`. We
differ: the answer alone stands after an empty prompt under the model's chat template, where their code writes the
template's last marker, so both losses are over the same tokens, with the one that ends the answer; and no model is
trained for the measure. TAPIR (arXiv:2405.13448) selects difficult rows by another measure: a judge's scores of a
student's answers beside a teacher's.
"""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Dtype, Name, Reference
from bezoar.steps.chat import Turn, with_system
from bezoar.steps.data.pool import Pool
from bezoar.steps.data.rows import Message
from bezoar.steps.select.selection import Choice, Ranked, SelectionBlock, answered, best_first

if TYPE_CHECKING:
    from bezoar.steps.train.conversations import Tokens

MOST = 1.0  # IFD of a selected row
AT_ONCE = 1024  # rows whose tokens are in memory


class Difficulty(SelectionBlock):
    """Rows with the highest instruction-following difficulty (Li et al. 2023, arXiv:2308.12032)."""

    script: ClassVar[str] = "difficulty"
    reads: ClassVar[tuple[str, ...]] = ("prompt", "seed", "shards")

    method: Literal["difficulty"]
    checkpoint: Annotated[Name, Reference(("models", "stages"), "difficulty for an unknown checkpoint")] = Field(
        description="Model or stage whose losses are compared; the paper takes one after brief training on the rows."
    )
    batch_size: int = Field(16, ge=1, description="Rows in one batch.")
    dtype: Dtype = "bfloat16"

    def checkpoints(self) -> dict[str, str]:
        """The checkpoint."""
        return {"checkpoint": self.checkpoint}


def ifd(given: float, alone: float) -> float:
    """Instruction-following difficulty: 0 if the prompt makes the answer certain, 1 if it doesn't help.

    Args:
        given: Loss of the answer after its prompt, in nats per token; at least 0.
        alone: The same without the prompt. An answer that is certain without one has no difficulty: infinity.
    """
    return given / alone if alone > 0 else math.inf


def chosen(block: Difficulty, pool: Pool, checkpoint: Path, system: str | None) -> Choice:
    """The rows with the highest difficulty of at most 1.

    Args:
        block: The selection.
        pool: The rows.
        checkpoint: The model directory.
        system: System text of rows without their own; None for none.
    """
    choice, ranked = Choice(block.rows), []
    for row in scored(block, pool, choice, checkpoint, system):
        if row.score is not None and row.score > MOST:
            choice.leave(row.number, "the prompt doesn't help", str(row))
        else:
            ranked.append(row)
    for row in best_first(ranked):
        choice.offer(row)
    return choice


def scored(block: Difficulty, pool: Pool, choice: Choice, checkpoint: Path, system: str | None) -> Iterator[Ranked]:
    """Each row with its difficulty; those that don't fit into the model's context are left out."""
    from bezoar.steps import models
    from bezoar.steps.evaluate.likelihood import likelihoods

    model, tokenizer = models.load(checkpoint, block.dtype).eval(), models.load_tokenizer(checkpoint)
    positions, pad = models.positions(model.config), models.padding(tokenizer)
    rows = (
        (number, *_tokens(tokenizer, messages, answer, system)) for number, messages, answer in answered(pool, choice)
    )
    while some := list(islice(rows, AT_ONCE)):
        lengths = [max(len(tokens.ids) for tokens in pair) for _, *pair in some]
        fitting = [row for row, length in zip(some, lengths, strict=True) if length <= positions]
        for (number, *_), length in zip(some, lengths, strict=True):
            if length > positions:
                choice.leave(number, "too long", f"{length:,} tokens, of at most {positions:,}")
        both = [tokens for _, *pair in fitting for tokens in pair]
        sums = likelihoods(model, both, block.batch_size, pad, "losses of answers")
        losses = [-one / _length(tokens) for one, tokens in zip(sums, both, strict=True)]
        for (number, *_), first, second in zip(fitting, losses[::2], losses[1::2], strict=True):
            yield Ranked(number, ifd(first, second), {"given": first, "alone": second})


def _tokens(tokenizer: Any, messages: list[Message], answer: str, system: str | None) -> "tuple[Tokens, Tokens]":
    """The tokens of an answer after its prompt, and of the answer after an empty one."""
    from bezoar.steps.train.conversations import tokens_of

    prompt = with_system([Turn(role=one.role, content=one.content) for one in messages], system)
    said = [Turn(role="assistant", content=answer)]
    empty = [Turn(role="user", content="")]
    return tokens_of(tokenizer, prompt, said, every_turn=False), tokens_of(tokenizer, empty, said, every_turn=False)


def _length(tokens: "Tokens") -> int:
    start, end = tokens.spans[-1]
    return end - start
