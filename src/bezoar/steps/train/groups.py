"""TRL's GRPOTrainer with what a repeatable run needs: an order of prompts by epoch, and figures over all rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, Sampler
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from bezoar.errors import InputError, problem
from bezoar.steps import models

if TYPE_CHECKING:
    from bezoar.steps.train.grpo import Grpo

FIGURES = ("reward", "reward_std", "kl", "entropy", "completions/mean_length", "completions/clipped_ratio")
OF_GROUPS = ("frac_reward_zero_std", "clip_ratio/region_mean", "num_tokens")  # an evaluation has no groups


def check_positions(model: Any, stage: Grpo) -> None:
    """Refuse a stage whose answers could end after the model's last position.

    Raises:
        InputError: max_length is larger than the model's context.
    """
    if stage.max_length > (positions := models.positions(model.config)):
        raise InputError(
            problem(
                f"stages.{stage.name}: prompts with their answers may be longer than the model's context",
                found=f"max_length {stage.max_length:,}",
                expected=f"at most {positions:,} tokens",
            )
        )


class Order(RepeatSampler):
    """TRL's order of prompts, drawn anew for each epoch from seed and epoch.

    TRL's own generator runs on from epoch to epoch, so a resumed run would have the first epoch's order again.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.generator.manual_seed(1_000_003 * self.seed + epoch)


class Trainer(GRPOTrainer):
    """TRL's trainer, whose evaluations draw the same random numbers each time and weigh each row alike."""

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler:
        found = super()._get_train_sampler(dataset)
        return Order(
            found.data_source, found.mini_repeat_count, found.batch_size, found.repeat_count, seed=self.args.seed
        )

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Figures of one answer to each held-out prompt; two models differ by their weights, not by their draws."""
        torch.manual_seed(self.args.seed)
        self._held: list[torch.Tensor] = []
        return super().evaluate(*args, **options)

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        """Rewards, (answers, functions); those of an evaluation are kept for its means."""
        found = super()._calculate_rewards(*args)
        if not self.model.training:
            self._held.append(found)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Leave out times, and take the means of an evaluation over its rows; TRL's are over its batches."""
        mode = "train" if self.model.training else "eval"
        if mode == "eval":
            sizes = [len(one) for one in self._held]
            for name, values in self._metrics[mode].items():
                if len(values) == len(sizes):
                    weighted = sum(size * value for size, value in zip(sizes, values, strict=True))
                    self._metrics[mode][name] = [weighted / sum(sizes)]
            rewards = torch.cat(self._held) @ self.reward_weights.to(self._held[0])
            self._metrics[mode]["reward_std"] = [rewards.std(unbiased=False).item()]
        shown = FIGURES if mode == "eval" else (*FIGURES, *OF_GROUPS)
        for name in [
            one for one in self._metrics[mode] if one not in shown and not re.fullmatch("rewards/.*/mean", one)
        ]:
            del self._metrics[mode][name]
        if "loss" in logs:
            logs["tokens"] = self.state.num_input_tokens_seen  # of prompts and answers so far; a saved state has it
        super().log(logs, start_time)
