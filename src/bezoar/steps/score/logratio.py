"""Scores by two checkpoints: log p_strong(answer | prompt) - log p_weak(answer | prompt), in nats.

The log-density ratio of a better-aligned and a less aligned model ranks answers without a judge. Source: Dong et al.
2024 (arXiv:2411.02481), section 3; DPO's implicit reward (Rafailov et al. 2023, arXiv:2305.18290, equation 5) with
beta 1 is the same for a checkpoint and its reference.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bezoar.blocks import Dtype, Name, Reference
from bezoar.errors import InputError, problem
from bezoar.steps import chat
from bezoar.steps.chat import Turn
from bezoar.steps.data.rows import GeneratedRow
from bezoar.steps.score.block import ScoreBlock
from bezoar.steps.score.scoring import Scored

CheckpointName = Annotated[Name, Reference(("models", "stages"), "no such checkpoint")]


class LogRatio(ScoreBlock):
    """The log-density ratio of two checkpoints (Dong et al. 2024, arXiv:2411.02481), summed over an answer's tokens."""

    method: Literal["logratio"]
    strong: CheckpointName = Field(description="Checkpoint that prefers better answers, such as one after DPO.")
    weak: CheckpointName = Field(description="Checkpoint that it is compared with, such as the one before.")
    batch_size: int = Field(16, ge=1, description="Rows in one batch.")
    dtype: Dtype = "bfloat16"

    def checkpoints(self) -> dict[str, str]:
        """The two, by key."""
        return {"strong": self.strong, "weak": self.weak}


def log_ratios(rows: list[GeneratedRow], folders: list[Path], block: LogRatio, system: str | None) -> list[Scored]:
    """The log ratio of each row.

    Args:
        rows: The rows.
        folders: Model directories of the strong and the weak checkpoint; each has its own chat template.
        block: The block.
        system: System text of a row without its own; None for none.

    Raises:
        InputError: A row is longer than a checkpoint's context.
    """
    strong, weak = (_likelihoods(rows, folder, block, system) for folder in folders)
    scorer = f"{block.strong} / {block.weak}"
    return [Scored(one - other, scorer) for one, other in zip(strong, weak, strict=True)]


def _likelihoods(rows: list[GeneratedRow], folder: Path, block: LogRatio, system: str | None) -> list[float]:
    """log p(answer | prompt) of each row under a checkpoint, with the token that ends the answer."""
    from bezoar.steps import models  # slow to import, and every recipe reads this module
    from bezoar.steps.evaluate.likelihood import likelihoods
    from bezoar.steps.train.conversations import tokens_of

    if not rows:
        return []
    model, tokenizer = models.load(folder, block.dtype).eval(), models.load_tokenizer(folder)
    dialogues = []
    for row in rows:
        own = [] if row.system is None else [Turn(role="system", content=row.system)]
        prompt = chat.with_system([*own, Turn(role="user", content=row.instruction)], system)
        answer = [Turn(role="assistant", content=row.response)]
        dialogues.append(tokens_of(tokenizer, prompt, answer, every_turn=False))
    longest, positions = max(len(one.ids) for one in dialogues), models.positions(model.config)
    if longest > positions:
        expected = f"at most {positions:,} tokens, the context of {folder.name}"
        raise InputError(problem("a row is too long to be scored", found=f"{longest:,} tokens", expected=expected))
    return likelihoods(model, dialogues, block.batch_size, models.padding(tokenizer), f"score with {folder.name}")
