"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) by TRL's DPOTrainer.

The reference is the model that the stage starts from: the trained model with its adapter switched off, or a frozen copy
if all weights are trained. The plain loss on the chosen response may be added
with a weight (Pang et al. 2024, arXiv:2404.19733, equation 1); it keeps small models from collapsing.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bezoar.steps.train.stage import Paths, StageBlock

SMOOTHED = ("robust",)  # the losses that label_smoothing changes


class Dpo(StageBlock):
    """Direct preference optimisation; the reference is the checkpoint that the stage starts from."""

    mix_format: ClassVar[Literal["prompt_completion", "preference"]] = "preference"

    method: Literal["dpo"]
    learning_rate: float = Field(
        5e-6, gt=0, description="Peak. Default: Tunstall et al. 2023 (arXiv:2310.16944), for adapters of 7B models."
    )
    beta: float = Field(
        0.1, gt=0, description="Pull towards the reference model, per nat. Default: Rafailov et al. 2023."
    )
    sft_weight: float = Field(
        0.0, ge=0, description="Weight of the loss on the chosen response beside DPO's; 0 for none."
    )
    loss: Literal["sigmoid", "robust"] = Field(
        "sigmoid",
        description="TRL's name. sigmoid is Rafailov et al. 2023 (arXiv:2305.18290), equation 7; robust corrects for "
        "wrong labels, Chowdhury et al. 2024 (arXiv:2403.00409).",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Assumed share of wrong preference labels, for losses that use it."
    )

    @field_validator("label_smoothing")
    @classmethod
    def _used(cls, label_smoothing: float, info: ValidationInfo) -> float:
        """TRL's sigmoid loss ignores it: the recipe would say one thing and the run do another."""
        loss = info.data.get("loss")
        if label_smoothing > 0 and loss is not None and loss not in SMOOTHED:
            expected = "0.0 with loss {loss}, which ignores it, or loss: {smoothed}"
            raise PydanticCustomError("ignored", expected, {"loss": loss, "smoothed": " or ".join(SMOOTHED)})
        return label_smoothing


def losses(stage: Dpo) -> dict[str, list[str] | list[float]]:
    """TRL's names and weights of the losses."""
    names: list[str] = [stage.loss]
    if stage.sft_weight == 0:
        return {"loss_type": names}
    return {"loss_type": [*names, "sft"], "loss_weights": [1.0, stage.sft_weight]}


def trainer_of(paths: Paths, stage: Dpo, seed: int) -> Any:
    """TRL's trainer for a stage."""
    from trl import DPOConfig, DPOTrainer

    from bezoar.steps import models
    from bezoar.steps.train import training, tuning

    columns = ("prompt", "chosen", "rejected")
    config = DPOConfig(
        **training.settings(stage, seed, paths.work),
        **losses(stage),
        beta=stage.beta,
        label_smoothing=stage.label_smoothing,
    )
    return DPOTrainer(
        model=tuning.starting_model(paths.base, paths.adapter, stage),
        ref_model=tuning.reference(paths.base, paths.adapter, stage),
        args=config,
        train_dataset=training.examples(paths.mix / "train.jsonl", columns),
        eval_dataset=training.examples(paths.mix / "eval.jsonl", columns),
        processing_class=models.load_tokenizer(paths.base),
        peft_config=tuning.lora(stage),
    )
