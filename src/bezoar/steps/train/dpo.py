"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) by TRL's DPOTrainer, with all of its losses.

The reference is the model that the stage starts from: the trained model with its adapter switched off, or a frozen copy
if all weights are trained. The plain loss on the chosen response may be added
with a weight (Pang et al. 2024, arXiv:2404.19733, equation 1); it keeps small models from collapsing.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import Share
from bezoar.steps.train.pair import ScoredPairBlock
from bezoar.steps.train.stage import Paths

SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")  # the losses that label_smoothing changes
SORTED = ("aot", "aot_unpaired")  # compare the pairs of a forward pass as distributions


class Dpo(ScoredPairBlock):
    """Direct preference optimisation; the reference is the checkpoint that the stage starts from."""

    reference: ClassVar[bool] = True

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
    loss: Literal[
        "sigmoid",
        "robust",
        "hinge",
        "ipo",
        "exo_pair",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "aot",
        "aot_unpaired",
        "apo_zero",
        "apo_down",
        "discopop",
        "sigmoid_norm",
    ] = Field(
        "sigmoid",
        description="TRL's name. sigmoid is Rafailov et al. 2023 (arXiv:2305.18290), equation 7; robust corrects for "
        "wrong labels, Chowdhury et al. 2024 (arXiv:2403.00409). docs/how-to/preference-losses.md has the others, and "
        "when to use each.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        validate_default=True,
        description="Assumed share of wrong preference labels, for losses that use it. exo_pair needs more than 0.",
    )
    ld_alpha: Share | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Weight of the tokens by which the longer answer of a pair is longer; null is 1, as in the plain "
        "loss (LD-DPO, Liu et al. 2024, arXiv:2409.06411, equation 9).",
    )
    weighting: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Weight each pair by how likely its answers are under the trained model (WPO, Zhou et al. 2024, "
        "arXiv:2406.11827, equation 2).",
    )

    @field_validator("label_smoothing")
    @classmethod
    def _used(cls, label_smoothing: float, info: ValidationInfo) -> float:
        """TRL ignores it with the others, and the recipe would say one thing and the run do another."""
        loss = info.data.get("loss")
        if label_smoothing > 0 and loss is not None and loss not in SMOOTHED:
            expected = "0.0 with loss {loss}, which ignores it, or loss: {smoothed}"
            raise PydanticCustomError("ignored", expected, {"loss": loss, "smoothed": " or ".join(SMOOTHED)})
        if label_smoothing == 0 and loss == "exo_pair":
            expected = "more than 0 with loss exo_pair, such as 0.001, Ji et al. 2024 (arXiv:2402.00856)"
            raise PydanticCustomError("smoothing", expected)
        return label_smoothing

    @model_validator(mode="after")
    def _compares(self) -> Self:
        """Refuse what a loss can't do to the pairs of a forward pass."""
        if self.loss in SORTED and self.batch_size < 2:
            expected = "a batch_size of 2 or more with loss {loss}, which compares the pairs of a forward pass"
            raise PydanticCustomError("batch", expected, {"loss": self.loss})
        if self.loss in SORTED and self.weighting:
            expected = "weighting: false with loss {loss}, which sorts pairs, so that no weight belongs to one"
            raise PydanticCustomError("weighting", expected, {"loss": self.loss})
        if self.sft_weight > 0 and self.weighting:
            raise PydanticCustomError("weighting", "sft_weight: 0.0 with weighting: true, which would weight it, too")
        return self


def losses(stage: Dpo) -> dict[str, list[str] | list[float]]:
    """TRL's names and weights of the losses."""
    names: list[str] = [stage.loss]
    if stage.sft_weight == 0:
        return {"loss_type": names}
    return {"loss_type": [*names, "sft"], "loss_weights": [1.0, stage.sft_weight]}


def options(stage: Dpo) -> dict[str, Any]:
    """Keyword arguments of DPOConfig that say what the loss is."""
    return {
        **losses(stage),
        "beta": stage.beta,
        "label_smoothing": stage.label_smoothing,
        "ld_alpha": stage.ld_alpha,
        "use_weighting": stage.weighting,
    }


def trainer_of(paths: Paths, stage: Dpo, seed: int) -> Any:
    """TRL's trainer for a stage."""
    from trl import DPOConfig, DPOTrainer

    from bezoar.steps import models
    from bezoar.steps.train import training, tuning

    return DPOTrainer(
        model=tuning.starting_model(paths.base, paths.adapter, stage),
        ref_model=tuning.reference(paths.base, paths.adapter, stage),
        args=DPOConfig(**training.settings(stage, seed, paths.work), **options(stage)),
        train_dataset=training.pairs(paths.mix / "train.jsonl", stage),
        eval_dataset=training.pairs(paths.mix / "eval.jsonl", stage),
        processing_class=models.load_tokenizer(paths.base),
        peft_config=tuning.lora(stage),
    )
