"""Log-likelihood that a checkpoint assigns to the answers that mixes hold out, per token.

The tokens are those of training: the prompt under the checkpoint's chat template, then the answer with its end token.
Only the answer's tokens count. It needs no judge, so it also tells small models apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Dtype, MixName, NamedBlock
from bezoar.errors import InputError, problem
from bezoar.files import artifact, rounded
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger, progress
from bezoar.problems import Problem
from bezoar.steps.data.families import Families
from bezoar.steps.data.rows import Row, write_rows
from bezoar.steps.data.split import trained_before
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.evaluation import LoadedEval, Scores

if TYPE_CHECKING:
    from bezoar.steps.train.conversations import Tokens  # slow to import, and every recipe reads this module


class Likelihood(LoadedEval, ComparedEval):
    """Log-likelihood of the answers that mixes hold out."""

    method: Literal["likelihood"]
    mixes: list[MixName] = Field(min_length=1, description="Mixes of prompts and completions; each has its own score.")
    bootstrap_samples: int = Field(2000, ge=100, description="Bootstrap samples of an interval.")

    def stage_names(self) -> list[str]:
        """A stage for each checkpoint, and the report."""
        return [f"report_likelihood-{self.name}", *(f"likelihood-{self.name}-{one}" for one in self.checkpoints)]

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """The mean of each mix with its interval, and the difference to the first checkpoint."""
        rows = tuple(
            (mix, f"{one['mean']:.3f}", _interval(one), gap and f"{gap['to']}: {gap['mean']:+.3f} ({_interval(gap)})")
            for mix, one in sorted(report["checkpoints"][checkpoint].items())
            for gap in [one["difference_to_first"]]
        )
        return Scores(report["note"], ("held-out rows of", "nats per token", "95 % interval", "difference to"), rows)

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Mixes without single answers."""
        yield from super().problems(recipe)
        for place, name in enumerate(self.mixes):
            mix = recipe.mixes.get(name)
            if mix and mix.format != "prompt_completion":
                what, found = "a preference has two answers", f"{name}, of format {mix.format}"
                yield Problem(("mixes", place), what, found, "a mix of format prompt_completion")


def _interval(one: dict[str, Any]) -> str:
    return "unknown" if one["low"] is None or one["high"] is None else f"{one['low']:.3f} to {one['high']:.3f}"


class Scored(NamedBlock):
    """The keys of an evaluation that a checkpoint's likelihoods depend on."""

    section: ClassVar[str] = "evals"

    batch_size: int
    dtype: Dtype


class LikelihoodRow(Row):
    """The log-likelihood of one held-out answer; scores are computed from it."""

    mix: str
    id: str
    family: str = Field(description="Rows of one family are not independent.")
    tokens: int = Field(ge=1, description="Of the answer, with its end token.")
    loglikelihood: float = Field(le=0, description="Natural logarithm, summed over the answer's tokens.")


def held_out(path: Path, earlier: list[dict[str, str]]) -> list[tuple[dict[str, Any], str]]:
    """The rows that a mix holds out, each with the name of its family.

    Args:
        path: eval.jsonl of the mix.
        earlier: Family keys of all rows that the checkpoint was trained on.

    Raises:
        InputError: There is no row, or one of a family that the checkpoint was trained on.
    """
    rows = [row for _, row in read_json_lines(path)]
    families = Families()
    families.join([*rows, *earlier])
    trained = {families.of(row) for row in earlier}
    seen = sum(families.of(row) in trained for row in rows)
    if seen or not rows:
        raise InputError(
            problem(
                f"{path}: the rows are not held out from the checkpoint",
                found=f"{len(rows):,} rows, {seen:,} of them related to rows that it was trained on",
                expected="rows of which it knows no relative",
                hint="a part of one mix should be in no other mix of the checkpoint's stages",
            )
        )
    return [(row, families.of(row)) for row in rows]


def likelihoods(model: Any, dialogues: list[Tokens], batch_size: int, pad: int, what: str) -> list[float]:
    """The log-likelihood of each dialogue's last answer, in nats, summed over its tokens."""
    import torch

    order = sorted(range(len(dialogues)), key=lambda place: len(dialogues[place].ids))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found: dict[int, float] = {}
    for batch in progress(batches, len(batches), what):
        longest = len(dialogues[batch[-1]].ids)
        rows = [dialogues[place].ids for place in batch]
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        for number, place in enumerate(batch):
            start, end = dialogues[place].spans[-1]
            wanted, answer = logits[number, start - 1 : end - 1].float(), ids[number, start:end]
            found[place] = -float(torch.nn.functional.cross_entropy(wanted, answer, reduction="sum"))
    return [found[place] for place in range(len(dialogues))]


def scored(checkpoint: Path, paths: list[Path], trained: list[Path], block: Scored) -> list[LikelihoodRow]:
    """The log-likelihoods of the rows that mixes hold out; a mix has the name of its folder.

    Raises:
        InputError: A row isn't held out, or is longer than the model's context.
    """
    from bezoar.steps import models
    from bezoar.steps.train.conversations import tokens_of

    earlier = list(trained_before(trained))
    rows = [(path.parent.name, row, family) for path in paths for row, family in held_out(path, earlier)]
    model, tokenizer = models.load(checkpoint, block.dtype).eval(), models.load_tokenizer(checkpoint)
    dialogues = [tokens_of(tokenizer, row["prompt"], row["completion"], every_turn=False) for _, row, _ in rows]
    longest, positions = max(len(one.ids) for one in dialogues), models.positions(model.config)
    if longest > positions:
        expected, hint = f"at most {positions:,} tokens, the model's context", "set mixes.<name>.limit"
        raise InputError(problem("a held-out row is too long", found=longest, expected=expected, hint=hint))
    found = likelihoods(model, dialogues, block.batch_size, models.padding(tokenizer), f"score {checkpoint.name}")
    return [
        LikelihoodRow(
            mix=mix,
            id=row["id"],
            family=family,
            tokens=dialogue.spans[-1][1] - dialogue.spans[-1][0],
            loglikelihood=rounded(value),
        )
        for (mix, row, family), dialogue, value in zip(rows, dialogues, found, strict=True)
    ]


def write_scores(checkpoint: Path, paths: list[Path], trained: list[Path], block: Scored, out_folder: Path) -> None:
    """Score the held-out answers with a checkpoint; it has the name of the output folder."""
    rows = scored(checkpoint, paths, trained, block)
    with artifact(out_folder) as out:
        write_rows(out / "scores.jsonl", rows)
    total, tokens = sum(row.loglikelihood for row in rows), sum(row.tokens for row in rows)
    logger.info(f"likelihood of {out_folder.name}: {total / tokens:.3f} nats per token, {len(rows)} answers")
