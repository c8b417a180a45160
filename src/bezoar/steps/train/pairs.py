"""A trainer for losses of `preference`: TRL's data path for pairs, and no forward pass that a loss doesn't need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from trl import DPOConfig, DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head, pad, use_adapter

from bezoar.steps import models
from bezoar.steps.train import conversations, training, tuning
from bezoar.steps.train.preference import Answers

if TYPE_CHECKING:
    from bezoar.steps.train.pair import PairBlock
    from bezoar.steps.train.stage import Paths

ANSWERS = ("chosen", "rejected", "gold")
RATES = ("win_rate_chosen", "win_rate_rejected")
Loss = Callable[..., Tensor]  # of the Answers of each kind, in the order of ANSWERS


@dataclass
class Collator(DataCollatorForPreference):
    """TRL's batches of pairs, with a third answer below the others, and with win rates, where rows have them."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of a batch: all chosen answers, then all rejected ones, then all gold ones, each with its prompt."""
        batch: dict[str, Any] = super().torch_call(examples)
        if "gold_ids" in examples[0]:
            third = super().torch_call([one | {"chosen_ids": one["gold_ids"]} for one in examples])
            for name, filler in (("input_ids", self.pad_token_id), ("attention_mask", 0), ("completion_mask", 0)):
                batch[name] = pad([*batch[name], *third[name][: len(examples)]], padding_value=filler)
        for name in RATES:
            if name in examples[0]:
                batch[name] = torch.tensor([float(one[name]) for one in examples])
        return batch


class PairTrainer(DPOTrainer):
    """TRL's trainer for pairs with another loss.

    It overrides private methods, which may change with TRL: tests/unit/test_preference.py compares it with TRL's own.
    """

    _signature_columns: list[str] | None

    def __init__(self, loss: Loss, *, reference: bool, guide: Any = None, **options: Any) -> None:
        """Take a loss, and what TRL's trainer takes.

        Args:
            loss: Gives the loss of each pair, (pairs,).
            reference: Whether it compares with the model at the start.
            guide: A model whose log-probabilities the loss depends on.
            options: Arguments of DPOTrainer; a data set with a column `gold` has three answers to a prompt.
        """
        self.loss, self.compares = loss, reference
        self.kinds = ANSWERS if "gold" in options["train_dataset"].column_names else ANSWERS[:2]
        super().__init__(**options)
        self.data_collator: Any = Collator(**vars(self.data_collator))
        self.guide = None
        if guide is not None:
            add_fused_lm_head(guide)
            self.guide = self.accelerator.prepare_model(guide, evaluation_mode=True)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        found = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        if "gold" not in found.column_names:
            return found
        found = found.map(lambda row: with_gold(row, processing_class))
        return found.filter(lambda row: len(row["prompt_ids"]) < args.max_length)

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns = [*(self._signature_columns or ()), "gold_ids", *RATES]

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        return dataset  # asked for by a loss without a reference, so that no copy of the model is loaded for one

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Tensor:
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": labels}
        given |= {"fused_lm_head": True, "use_cache": False}
        outputs = model(**given, **({"output_router_logits": True} if self.aux_loss_enabled else {}))
        found = {
            "policy": outputs.log_probs,
            "mask": inputs["completion_mask"][:, 1:],
            "reference": self._reference(given) if self.compares else None,
            "guide": None if self.guide is None else _frozen(self.guide, given),
        }
        parts = {name: one.chunk(len(self.kinds)) for name, one in found.items() if one is not None}
        answers = [
            Answers(**{name: part[place] for name, part in parts.items()}, win_rate=inputs.get(f"win_rate_{kind}"))
            for place, kind in enumerate(self.kinds)
        ]
        self._note(inputs, answers)
        loss = self.loss(*answers).mean()
        return loss + self.router_aux_loss_coef * outputs.aux_loss if self.aux_loss_enabled else loss

    def _reference(self, given: dict[str, Any]) -> Tensor:
        """Log-probabilities under the model at the start: a frozen copy, or the trained one with its first adapter."""
        if self.ref_model is not None:
            return _frozen(self.ref_model, given)
        inner = self.accelerator.unwrap_model(self.model)
        first = "ref" if "ref" in inner.peft_config else None
        with (
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            use_adapter(inner, adapter_name=first),
        ):
            return _frozen(self.model, given)

    def _note(self, inputs: dict[str, Any], answers: list[Answers]) -> None:
        """Log what TRL logs as well: log-probabilities of answers, and the number of tokens."""
        mode = "train" if self.model.training else "eval"
        if mode == "train":
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum())
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        for kind, one in zip(self.kinds, answers, strict=True):
            total = self.accelerator.gather(one.total.detach())
            self._metrics[mode][f"logps/{kind}"].append(total.mean().item())


@torch.no_grad()
def _frozen(model: Any, given: dict[str, Any]) -> Tensor:
    found: Tensor = model(**given).log_probs
    return found


def with_gold(row: dict[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """A row's tokens with those of its third answer; the prompt is what all answers share of it, as in TRL."""
    tokens, prompt = conversations.tokens_of(tokenizer, row["prompt"], row["gold"], every_turn=False), row["prompt_ids"]
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, tokens.ids, strict=False)))
    rest = prompt[shared:]
    return {
        "prompt_ids": prompt[:shared],
        "chosen_ids": rest + row["chosen_ids"],
        "rejected_ids": rest + row["rejected_ids"],
        "gold_ids": tokens.ids[shared:],
    }


def trainer(paths: Paths, stage: PairBlock, seed: int, loss: Loss) -> PairTrainer:
    """The trainer of a stage with a loss.

    Raises:
        InputError: A row lacks a column that the stage needs.
    """
    train, held = (training.pairs(paths.mix / f"{name}.jsonl", stage) for name in ("train", "eval"))
    free = stage.tuning == "full" and not stage.reference
    return PairTrainer(
        loss,
        reference=stage.reference,
        guide=tuning.frozen(paths.guide, stage) if paths.guide else None,
        model=tuning.starting_model(paths.base, paths.adapter, stage),
        ref_model=tuning.reference(paths.base, paths.adapter, stage) if stage.reference else None,
        args=DPOConfig(**training.settings(stage, seed, paths.work), precompute_ref_log_probs=free),
        train_dataset=train,
        eval_dataset=held,
        processing_class=models.load_tokenizer(paths.base),
        peft_config=tuning.lora(stage),
    )
