"""What a stage trains: an adapter or all weights; and the files that hold it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, PeftModel

from bezoar.steps import models
from bezoar.steps.train import devices

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock

SHARD = "4GB"  # the largest file of trained weights; merging holds one in memory


def starting_model(base: Path, adapter: Path | None, stage: StageBlock) -> Any:
    """The model at the start of training, with what is continued, if anything, made trainable.

    All weights are trained in float32: in half precision, most updates of one step are smaller than a rounding error.
    """
    if stage.tuning == "full":
        return models.load(adapter or base, "float32", attention=stage.attention)
    nf4 = stage.quantization == "nf4"
    model = models.load(base, stage.compute_dtype, nf4=nf4, attention=stage.attention)
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, adapter, is_trainable=True)


def reference(base: Path, adapter: Path | None, stage: StageBlock) -> Any:
    """A frozen copy of the model at the start of training; None where the trained model has it, without its adapter."""
    if stage.tuning == "lora":
        return None
    return starting_model(base, adapter, stage).requires_grad_(False).eval()


def frozen(folder: Path, stage: StageBlock) -> Any:
    """Another model that a stage only reads, in the number format of its computation."""
    nf4 = stage.quantization == "nf4"
    return models.load(folder, stage.compute_dtype, nf4=nf4, attention=stage.attention).requires_grad_(False).eval()


def lora(stage: StageBlock) -> LoraConfig | None:
    """The configuration of a new adapter; None if one is continued, or all weights are trained."""
    if stage.continue_adapter or stage.tuning == "full":
        return None
    return LoraConfig(
        r=stage.lora.rank,
        lora_alpha=stage.lora.alpha,
        lora_dropout=stage.lora.dropout,
        target_modules=stage.lora.target_modules,
        use_rslora=stage.lora.rslora,
        use_dora=stage.lora.dora,
        init_lora_weights=stage.lora.init or True,
        bias="none",
        task_type="CAUSAL_LM",
    )


def weights_of(folder: Path, stage: StageBlock) -> list[Path]:
    """The files of a saved state that hold what is trained; none if one is missing, or cut short."""
    from safetensors import SafetensorError, safe_open

    pattern = "adapter_model.safetensors" if stage.tuning == "lora" else "model*.safetensors"
    found = sorted(folder.glob(pattern))
    try:
        for path in found:
            with safe_open(path, framework="pt") as file:
                if not list(file.keys()):
                    return []
    except (SafetensorError, OSError):
        return []
    shards = {path.name.rpartition("-of-")[2] for path in found if "-of-" in path.name}
    return found if not shards or len(found) == int(shards.pop().partition(".")[0]) else []


def save(model: Any, out: Path, stage: StageBlock, weights: dict[str, Any] | None = None) -> None:
    """Write what was trained; `weights` if devices share them."""
    if stage.tuning == "full":
        model.save_pretrained(out, state_dict=weights, max_shard_size=SHARD)
        return
    model.save_pretrained(out, selected_adapters=["default"], state_dict=weights)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card


def sharing(stage: StageBlock) -> dict[str, Any]:
    """Keyword arguments for TRL's config classes: how several devices share the weights."""
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}} if sharded(stage) else {}


def sharded(stage: StageBlock) -> bool:
    """Whether several devices share the weights."""
    return stage.distributed == "fsdp2" and devices.world() > 1  # on GPUs: preflight refuses it on others
