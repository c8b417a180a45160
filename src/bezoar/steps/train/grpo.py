"""Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300) by TRL's GRPOTrainer, with rules as rewards.

The model answers each prompt several times. An answer's advantage is its reward minus the mean of its group, divided by
the group's standard deviation; its tokens become more likely if that is above 0, and less likely if it is below. TRL
takes the deviation with Bessel's correction (`torch.std`), and adds 1e-4 to it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps.train.rewards.exact_match import ExactMatch
from bezoar.steps.train.rewards.format import Format
from bezoar.steps.train.rewards.reward import RewardBlock
from bezoar.steps.train.rewards.verifier import Verifier
from bezoar.steps.train.stage import Paths, StageBlock

EPSILON = 0.2
Reward = Annotated[ExactMatch | Format | Verifier, Field(discriminator="kind")]


class Grpo(StageBlock):
    """Group relative policy optimisation: the model answers prompts of a mix, and rules reward its answers."""

    mix_format: ClassVar[Literal["prompt_completion", "preference"]] = "prompt_completion"
    figure: ClassVar[Literal["loss", "reward"]] = "reward"

    method: Literal["grpo"]
    rewards: list[Reward] = Field(min_length=1, description="An answer's reward is the weighted sum of these.")
    learning_rate: float = Field(1e-6, gt=0, description="Peak. Default: TRL, and Shao et al. 2024, section 4.2.")
    batch_size: int = Field(8, ge=1, description="Answers per forward pass on one device.")
    max_length: int = Field(
        1024, ge=8, description="Most tokens of a prompt with its answer; rows with a longer prompt are left out."
    )
    group_size: int = Field(
        8, ge=2, validate_default=True, description="Answers to each prompt (TRL's num_generations). Default: TRL."
    )
    temperature: float = Field(1.0, gt=0, le=2, description="Of the answers. Default: TRL.")
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Answers are drawn from the most likely tokens of this total probability only. Default: TRL.",
    )
    max_new_tokens: int = Field(
        512,
        ge=1,
        validate_default=True,
        description="Most tokens of an answer (TRL's max_completion_length). Default: TRL.",
    )
    beta: float = Field(
        0.0,
        ge=0,
        description="Weight of the KL divergence from the checkpoint that the stage starts from; 0 computes no "
        "reference. Default: TRL. Shao et al. 2024 take 0.04.",
    )
    num_iterations: int = Field(1, ge=1, description="Steps on the same answers before new ones are drawn.")
    epsilon: float = Field(
        EPSILON,
        gt=0,
        lt=1,
        description="A token's probability counts up to this share of change since the answer was drawn. It needs "
        "num_iterations above 1. Default: TRL.",
    )
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = Field(
        "dapo",
        description="TRL's name of how the loss of tokens is averaged: grpo over each answer (Shao et al. 2024), bnpo "
        "over the tokens of a forward pass, dapo over those of a step (Yu et al. 2025, arXiv:2503.14476), dr_grpo over "
        "max_new_tokens (Liu et al. 2025, arXiv:2503.20783). Default: TRL.",
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group",
        description="TRL's name of what divides an advantage: the standard deviation of its group (Shao et al. 2024), "
        "that of all answers of a step, or nothing (Liu et al. 2025). Default: TRL.",
    )

    @field_validator("group_size")
    @classmethod
    def _whole(cls, group_size: int, info: ValidationInfo) -> int:
        answers = info.data.get("batch_size", 0) * info.data.get("gradient_accumulation_steps", 0)
        if answers % group_size:
            expected = "a divisor of batch_size x gradient_accumulation_steps, {answers}: a step takes whole groups"
            raise PydanticCustomError("groups", expected, {"answers": answers})
        return group_size

    @field_validator("max_new_tokens")
    @classmethod
    def _leaves_room(cls, max_new_tokens: int, info: ValidationInfo) -> int:
        if max_new_tokens >= (most := info.data.get("max_length", max_new_tokens + 1)):
            expected = "less than max_length, {most}, which is for a prompt and its answer"
            raise PydanticCustomError("room", expected, {"most": most})
        return max_new_tokens

    @field_validator("num_iterations")
    @classmethod
    def _ends_before_a_state(cls, num_iterations: int, info: ValidationInfo) -> int:
        best = info.data.get("keep") == "best" and info.data.get("eval_steps")
        key = "eval_steps" if best else "save_steps"
        steps = info.data.get(key, 0)
        if steps % num_iterations:
            expected = "a divisor of {key}, {steps}: a saved state has no answers, so it is saved before new ones"
            raise PydanticCustomError("state", expected, {"key": key, "steps": steps})
        return num_iterations

    @field_validator("epsilon")
    @classmethod
    def _is_used(cls, epsilon: float, info: ValidationInfo) -> float:
        """On the first step on its answers, the model is the one that they were drawn from: nothing is clipped."""
        if epsilon != EPSILON and info.data.get("num_iterations") == 1:
            raise PydanticCustomError("ignored", "its default with num_iterations: 1, which never clips")
        return epsilon

    @field_validator("group_by_length", "distributed")
    @classmethod
    def _is_possible(cls, value: Any, info: ValidationInfo) -> Any:
        """TRL ignores an order by length; its way to draw answers from shared weights isn't tried here."""
        if value in (True, "fsdp2"):
            wanted = {"group_by_length": "false", "distributed": "ddp"}[str(info.field_name)]
            raise PydanticCustomError("grpo", "{wanted} with method grpo", {"wanted": wanted})
        return value

    def _saving(self) -> int:
        """Steps between saved states."""
        return self.eval_steps if self.keep == "best" and self.eval_steps else self.save_steps

    def logging_steps(self) -> int:
        """Steps between lines of the history; a state is saved after such a step only, when no answers are left."""
        return math.gcd(10 * self.num_iterations, self._saving())

    def has_reference(self) -> bool:
        """Whether the loss compares with the model at the start of training."""
        return self.beta > 0

    def drawn_tokens(self) -> int:
        """The most tokens of an answer."""
        return self.max_new_tokens

    def count(self, path: Path, tokenizer: Any, ends: list[int]) -> dict[str, int]:
        """Counts of rows, and of those that are left out since their prompt is too long; no row is cut."""
        rows = prompts(path, tokenizer, self)
        return {"rows": len(rows), "cut": 0, "dropped": sum(not fits for *_, fits in rows)}


def prompts(path: Path, tokenizer: Any, stage: Grpo) -> list[tuple[dict[str, Any], list[int], bool]]:
    """Rows of a mix's file, the tokens of their prompts, and whether they leave room for an answer."""
    from bezoar.steps import chat

    room = stage.max_length - stage.max_new_tokens
    rows = ((row, chat.ids(tokenizer, row["prompt"], prompt=True)) for _, row in read_json_lines(path))
    return [(row, ids, len(ids) <= room) for row, ids in rows]


def examples(path: Path, tokenizer: Any, stage: Grpo, least: int) -> Any:
    """A mix's prompts that leave room for an answer: messages, tokens, and the text of the completion.

    Raises:
        InputError: They are fewer than `least`.
    """
    from datasets import Dataset

    rows = [(row, ids) for row, ids, fits in prompts(path, tokenizer, stage) if fits]
    if len(rows) < least:
        raise InputError(
            problem(
                f"stages.{stage.name}: {path} has too few prompts that leave room for an answer",
                found=f"{len(rows)} of at most {stage.max_length - stage.max_new_tokens} tokens",
                expected=f"{least} or more",
                hint="a larger max_length, a smaller max_new_tokens, or fewer answers per step",
            )
        )
    return Dataset.from_list(
        [
            {"prompt": row["prompt"], "input_ids": ids, "reference": row["completion"][-1]["content"]}
            for row, ids in rows
        ]
    )


def functions(rewards: Sequence[RewardBlock]) -> list[Callable[..., list[float]]]:
    """Reward functions for TRL, with the names that the history shows: a number tells two of one kind apart."""
    kinds, seen = Counter(one.kind for one in rewards), Counter[str]()
    found = []
    for reward in rewards:
        seen[reward.kind] += 1
        name = reward.kind if kinds[reward.kind] == 1 else f"{reward.kind}_{seen[reward.kind]}"
        found.append(_function(reward, name))
    return found


def _function(reward: RewardBlock, name: str) -> Callable[..., list[float]]:
    def scores(prompts: list[Any], completions: list[Any], reference: list[str], **_: Any) -> list[float]:
        dialogues = [[turn["content"] for turn in one if turn["role"] != "system"] for one in prompts]
        answers = [one[0]["content"] for one in completions]
        return [reward.score(*row) for row in zip(dialogues, answers, reference, strict=True)]

    scores.__name__ = name
    return scores


def _loads_reference(stage: Grpo) -> bool:
    """Whether TRL loads the reference from disk; an adapter's is the model with the adapter switched off."""
    return stage.tuning == "full" and stage.has_reference()


def trainer_of(paths: Paths, stage: Grpo, seed: int) -> Any:
    """TRL's trainer for a stage.

    Raises:
        InputError: A step has more prompts than the mix, or the model has too few positions.
    """
    from trl import GRPOConfig

    from bezoar.steps import models
    from bezoar.steps.train import groups, training, tuning

    tokenizer = models.load_tokenizer(paths.base)
    step = stage.batch_size * stage.gradient_accumulation_steps // stage.group_size
    train, held = (
        examples(paths.mix / f"{name}.jsonl", tokenizer, stage, least) for name, least in (("train", step), ("eval", 1))
    )
    if left := len(train) % step:
        logger.info(f"train {paths.out.name}: {step} prompts a step, so each epoch leaves out {left}, drawn anew")
    model = tuning.starting_model(paths.base, paths.adapter, stage)
    groups.check_positions(model, stage)
    models.ignore_generation_config(model, tokenizer)
    settings = training.settings(stage, seed, paths.work)
    del settings["max_length"]
    config = GRPOConfig(
        **settings | {"logging_steps": stage.logging_steps()},
        model_init_kwargs={"local_files_only": True, "use_safetensors": True} if _loads_reference(stage) else None,
        disable_dropout=True,  # or answers would be drawn with it
        num_generations=stage.group_size,
        num_generations_eval=1,
        max_completion_length=stage.max_new_tokens,
        temperature=stage.temperature,
        top_p=stage.top_p,
        beta=stage.beta,
        epsilon=stage.epsilon,
        num_iterations=stage.num_iterations,
        loss_type=stage.loss_type,
        scale_rewards=stage.scale_rewards,
        reward_weights=[one.weight for one in stage.rewards],
    )
    return groups.Trainer(
        model=model,
        reward_funcs=functions(stage.rewards),
        args=config,
        train_dataset=train,
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=tuning.lora(stage),
    )
