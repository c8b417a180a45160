"""The base class of training stages, their flags, and their paths.

Nothing slow is imported here: a recipe is read far more often than it is trained.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bezoar.blocks import Block, Dtype, Licence, MixName, Name, Reference, Share
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.script import Flags
from bezoar.steps.seeded import Seeded


def _is_null(value: object) -> bool:
    """Whether a key is left out of a recipe's values: a newer one that isn't set changes no job's key."""
    return value is None


class Lora(Block):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(16, ge=1, description="Default: OpenBezoar-SFT's model card.")
    alpha: int = Field(32, ge=1)
    dropout: Share = Field(0.05, description="Default: QLoRA's published code for models up to 13B.")
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear", description="Default: Dettmers et al. 2023 (arXiv:2305.14314), section 4."
    )
    rslora: bool = Field(
        False,
        description="Scale by alpha / sqrt(rank) in place of alpha / rank (Kalajdzievski 2023, arXiv:2312.03732).",
    )
    dora: bool = Field(
        False,
        description="Train the magnitude of each weight row apart (DoRA, Liu et al. 2024, arXiv:2402.09353).",
    )
    init: Literal["orthogonal"] | None = Field(
        None,
        exclude_if=_is_null,  # so adapters without it keep their keys
        description="PEFT's name of the first values: orthogonal starts from rows of one orthogonal matrix in A and B, "
        "whose product is 0, and needs an even rank; null from random values in A, and 0 in B.",
    )

    @field_validator("init")
    @classmethod
    def _has_pairs(cls, init: str | None, info: ValidationInfo) -> str | None:
        if init == "orthogonal" and info.data.get("rank", 0) % 2:
            raise PydanticCustomError("rank", "an even rank with init: orthogonal")
        return init


class Lisa(Block):
    """Layerwise importance sampled AdamW (Pan et al. 2024, arXiv:2403.17919): a few layers train at a time."""

    layers: int = Field(
        ge=1, description="Decoder layers that train at a time; embeddings, last norm and output layer always do."
    )
    steps: int = Field(ge=1, description="Steps until others are drawn, evenly.")


class StageBlock(Seeded):
    """The base class of training methods.

    Attributes:
        mix_format: The columns that the method trains on.
        figure: What held-out rows are evaluated by: a loss, in nats a token, or a reward, which is to rise.
        hint: What to do about rows without a column that it needs besides.
        sequences: Sequences of a forward pass for each row of `batch_size`, such as both answers of a pair.
        reference: Whether the loss always compares with the model that the stage starts from.
    """

    section: ClassVar[str] = "stages"
    rules: ClassVar[tuple[str, ...]] = ("train", "merge")
    mix_format: ClassVar[Literal["prompt_completion", "preference"]]
    figure: ClassVar[Literal["loss", "reward"]] = "loss"
    sequences: ClassVar[int] = 1
    reference: ClassVar[bool] = False
    hint: ClassVar[str] = ""

    init_from: Annotated[Name, Reference(("models", "stages"), "starts from a checkpoint that nothing builds")] = Field(
        description="Base model, or stage whose checkpoint (or adapter) this stage continues."
    )
    continue_adapter: bool = Field(
        False, description="True continues training the adapter of `init_from`; false merges it first."
    )
    mix: MixName
    licence: Licence | None = Field(
        None,
        description="Licence under which its checkpoint is published; its card also states those that it comes from.",
    )
    tuning: Literal["lora", "full"] = Field(
        "lora",
        description="lora trains an adapter. full trains all weights, in float32, and computes in `compute_dtype`.",
    )
    lora: Lora = Lora()
    lisa: Lisa | None = Field(
        None, exclude_if=_is_null, description="With tuning: full, a few layers train at a time; null trains all."
    )
    quantization: Literal["none", "nf4"] = Field("none", description="nf4 is QLoRA with double quantisation.")
    compute_dtype: Dtype = Field(
        "bfloat16",
        description="Number format of the weights in training; with nf4 or `tuning: full`, of the computation. "
        "float16 needs a GPU and has loss scaling.",
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa",
        description="transformers' implementation; flash_attention_2 needs the package flash-attn. Default: "
        "transformers.",
    )
    merge_into: Literal["as_trained", "original"] = Field(
        "as_trained",
        description="as_trained merges into the weights of training (dequantised nf4, or rounded to "
        "`compute_dtype`), original to the weights on disk, whose bits it keeps where `merged_dtype` is at least as "
        "wide.",
    )
    merged_dtype: Dtype = Field("bfloat16", description="Number format of the merged checkpoint.")
    learning_rate: float = Field(2e-4, gt=0, description="Peak. Default: QLoRA's published code.")
    lr_scheduler: Literal["constant_with_warmup", "cosine", "linear"] = "cosine"
    warmup: float = Field(
        0.03,
        ge=0,
        description="Steps with a rising learning rate; below 1, a share of all steps. Default: QLoRA's "
        "published code.",
    )
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(8, ge=1, description="Rows per forward pass on one device.")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Forward passes per step.")
    max_length: int = Field(1024, ge=8, description="Most tokens of a row under the chat template. Default: TRL.")
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "rmsprop"] = "adamw_torch"
    beta2: float = Field(
        0.999, gt=0, lt=1, description="Adam's second-moment decay; RMSprop ignores it. Default: transformers."
    )
    weight_decay: float = Field(0.0, ge=0, description="Default: transformers.")
    max_grad_norm: float = Field(1.0, gt=0, description="Default: transformers.")
    gradient_checkpointing: bool = False
    group_by_length: bool = False
    distributed: Literal["ddp", "fsdp2"] = Field(
        "ddp",
        description="How several devices share the work (`resources.<stage>.gpus`): ddp holds all weights on each, "
        "fsdp2 a part of them.",
    )
    save_steps: int = Field(200, ge=1, description="Steps between saved states, from which a killed run resumes.")
    eval_steps: int | None = Field(
        None,
        ge=1,
        description="Steps between evaluations on held-out rows; null evaluates before the first step and after the "
        "last one only.",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="best keeps the weights with the lowest loss on held-out rows after a step; it saves a state at "
        "each evaluation in place of `save_steps`.",
    )
    patience: int | None = Field(
        None, ge=1, description="Training ends after so many evaluations in a row without a lower loss; null never."
    )

    @model_validator(mode="after")
    def _is_shared(self) -> Self:
        """Refuse what bitsandbytes and FSDP2 can't do together: a part of a quantised weight has no scales."""
        if self.distributed == "fsdp2" and self.quantization == "nf4":
            raise PydanticCustomError("fsdp2", "distributed: ddp with quantization: nf4")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse keys that a run would ignore: the recipe would say one thing and the run do another."""
        if self.tuning == "full":
            for key, wanted in (("quantization", "none"), ("lora", Lora()), ("merge_into", "as_trained")):
                if getattr(self, key) != wanted:
                    shown = "its default" if key == "lora" else wanted
                    expected = "{key}: {wanted} with tuning: full, which trains all weights and no adapter"
                    raise PydanticCustomError("full", expected, {"key": key, "wanted": shown})
        elif self.lisa:
            raise PydanticCustomError("lisa", "tuning: full with lisa, which draws layers of all weights")
        for key, unset in (("keep", "last"), ("patience", None)):
            if self.eval_steps is None and getattr(self, key) != unset:
                raise PydanticCustomError("eval_steps", "eval_steps beside {key}", {"key": key})
        return self

    def trains_every_turn(self) -> bool:
        """Whether the assistant's earlier turns are trained, not only the last one."""
        return False

    def has_reference(self) -> bool:
        """Whether the loss compares with the model at the start of training."""
        return self.reference

    def drawn_tokens(self) -> int:
        """The most tokens of an answer that the model draws while it trains; 0 for a method that draws none."""
        return 0

    def count(self, path: FilePath, tokenizer: Any, ends: list[int]) -> dict[str, int]:
        """Counts of a mix's rows, as in `conversations.count`, and of those that aren't trained on."""
        from bezoar.steps.train import conversations

        every, rows = self.trains_every_turn(), self.rows(path)
        counts = conversations.count(path, tokenizer, ends, self.max_length, every_turn=every, rows=rows)
        return self.left_out(path) | counts

    def needs(self) -> tuple[str, ...]:
        """Columns that each row of its mix needs besides those of `mix_format`."""
        return ()

    def rows(self, path: FilePath) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of a mix's file as they are trained on, each with its line."""
        return read_json_lines(path)

    def left_out(self, path: FilePath) -> dict[str, int]:
        """Counts of the rows of a mix's file that aren't trained on, by reason."""
        return {}

    def checkpoints(self) -> dict[str, str]:
        """By key, the base models and stages that it is trained from."""
        return {"init_from": self.init_from}


@dataclass(frozen=True)
class Paths:
    """The paths of a stage.

    Attributes:
        base: Model directory with the adapter's base weights.
        adapter: Adapter to continue; None for a new one.
        mix: Folder with train.jsonl and eval.jsonl.
        work: Folder for saved states, which a killed run resumes from.
        out: Folder to write the adapter to; its name is the stage's.
        guide: Model directory of the stage's guide, if it has one.
    """

    base: FilePath
    adapter: FilePath | None
    mix: FilePath
    work: FilePath
    out: FilePath
    guide: FilePath | None = None


def flags(description: str | None) -> Flags:
    """The flags of every train script."""
    parser = Flags(description)
    parser.path("base", "model directory with the adapter's base weights")
    parser.path("adapter", "adapter to continue", optional=True)
    parser.path("guide", "model directory of a model whose token probabilities the loss depends on", optional=True)
    parser.path("mix", "folder with train.jsonl and eval.jsonl")
    parser.path("work", "folder for saved states, which a killed run resumes from")
    parser.folder("out", "folder to write the adapter to; named by the stage")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that the job was given; 0 shares one, if any")
    return parser


def train(args: Namespace, stage: StageBlock, seed: int, trainer_of: Callable[..., Any]) -> None:
    """Train a stage with its method's trainer, and write the adapter.

    Args:
        args: The parsed flags.
        stage: The stage's block.
        seed: The recipe's seed; the stage's own has priority.
        trainer_of: Makes the trainer from paths, stage and seed.
    """
    from bezoar.steps.train import devices  # slow to import, and not needed for --help

    seed = stage.own_seed(seed)
    paths = Paths(args.base, args.adapter, args.mix, args.work, args.out, args.guide)
    if not devices.launched():
        count = devices.pin(args.gpus)
        devices.split(stage, count)  # or an error, before any process starts
        if count > 1:
            sys.exit(devices.launch(count, paths.work))
    if devices.local() > 0:
        logger.setLevel("WARNING")  # the first process says it
    from bezoar.steps.train import preflight, training

    preflight.check(paths, stage)
    training.run(trainer_of(paths, stage, seed), paths, stage, seed)
