"""Blocks of the training half: base models and stages."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bezoar.params.blocks import Block, Commit, Name, Path, Precision, Share


class HubModel(Block):
    """Weights and tokenizer of the Hugging Face hub at one revision."""

    method: Literal["hub"]
    repository: str
    revision: Commit
    torch_weights: bool = Field(
        description="True where no safetensors are published: read weights only, and save them as safetensors."
    )


class LocalModel(Block):
    """A model directory in the repository, in safetensors."""

    method: Literal["local"]
    path: Path


class Tokenizer(Block):
    vocabulary: int = Field(ge=300, description="Tokens at most, the 256 bytes among them.")
    added_tokens: list[str] = Field(description="Texts that are one token each, with the blanks after them.")


class Architecture(Block):
    """A Llama (transformers.LlamaConfig)."""

    hidden_size: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=8)
    positions: int = Field(ge=16, description="Longest sequence, in tokens.")
    initializer_range: float = Field(gt=0)


class PretrainedModel(Block):
    """A small Llama trained from nothing on raw text, with its own tokenizer."""

    method: Literal["pretrain"]
    corpus: Name
    tokenizer: Tokenizer
    architecture: Architecture
    sequence_length: int = Field(ge=8, description="Tokens of a packed sequence.")
    batch_size: int = Field(ge=1, description="Sequences of a step.")
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="Peak.")
    beta2: float = Field(gt=0, lt=1)
    weight_decay: float = Field(ge=0)
    warmup: Share = Field(description="Share of steps in which the learning rate rises.")
    decay: Share = Field(description="Share of steps, at the end, in which it falls to a tenth.")


Model = Annotated[HubModel | LocalModel | PretrainedModel, Field(discriminator="method")]


class Lora(Block):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: Share
    target_modules: Literal["all-linear"] | list[str]


class StageBlock(Block):
    init_from: Name = Field(description="Base model, or stage whose checkpoint (or adapter) this one continues.")
    continue_adapter: bool = Field(description="True carries on the adapter of `init_from`; false merges it first.")
    mix: Name
    lora: Lora
    quantization: Literal["none", "nf4"] = Field(description="nf4 is QLoRA with double quantisation.")
    compute: Precision = Field(description="Number format of the weights in use; nf4's compute format.")
    merge_into: Literal["as_trained", "original"] = Field(
        description="as_trained adds the adapter to the weights it was trained on (dequantised nf4, or rounded to "
        "`compute`), original to the weights on disk, whose bits it keeps where `merged` is at least as wide."
    )
    merged: Precision = Field(description="Number format of the merged checkpoint.")
    learning_rate: float = Field(gt=0, description="Peak.")
    schedule: Literal["constant_with_warmup", "cosine", "linear"]
    warmup: float = Field(ge=0, description="Steps in which the learning rate rises; below 1, a share of all steps.")
    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1, description="Rows of a forward pass on one device.")
    accumulation: int = Field(ge=1, description="Forward passes of a step.")
    max_length: int = Field(ge=8, description="Tokens of prompt and response at most.")
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "rmsprop"]
    beta2: float = Field(gt=0, lt=1, description="Adam's second-moment decay; RMSprop takes none of it.")
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    gradient_checkpointing: bool
    group_by_length: bool
    save_steps: int = Field(ge=1, description="Steps between two saved states that a killed run resumes from.")


class Sft(StageBlock):
    """Supervised fine-tuning with the loss on the response only."""

    method: Literal["sft"]
    packing: bool = Field(description="Whole rows one after the other in a sequence of max_length, without padding.")


SMOOTHED = ("robust",)  # losses of TRL that label_smoothing changes, of those that a stage may take


class Dpo(StageBlock):
    """Direct preference optimisation; the reference is the checkpoint that the stage starts from."""

    method: Literal["dpo"]
    beta: float = Field(gt=0, description="Pull towards the reference model, per nat.")
    sft_weight: float = Field(ge=0, description="Weight of the loss on the chosen response beside DPO's; 0 for none.")
    loss: Literal["sigmoid", "robust"] = Field(
        "sigmoid",
        description="As TRL names it. sigmoid is Rafailov et al. 2023 (arXiv:2305.18290), equation 7; robust makes up "
        "for wrong labels, Chowdhury et al. 2024 (arXiv:2403.00409).",
    )
    label_smoothing: float = Field(
        ge=0, lt=0.5, description="Share of preference labels taken to be wrong, for a loss that knows of it."
    )

    @field_validator("label_smoothing")
    @classmethod
    def _used(cls, label_smoothing: float, info: ValidationInfo) -> float:
        """TRL's sigmoid loss ignores it: a run would say one thing and do another."""
        loss = info.data.get("loss")
        if label_smoothing > 0 and loss is not None and loss not in SMOOTHED:
            expected = "0.0 with loss {loss}, which ignores it, or loss: {smoothed}"
            raise PydanticCustomError("ignored", expected, {"loss": loss, "smoothed": " or ".join(SMOOTHED)})
        return label_smoothing


Stage = Annotated[Sft | Dpo, Field(discriminator="method")]
