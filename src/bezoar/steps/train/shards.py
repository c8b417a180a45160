"""A checkpoint written file by file: never more than one file of weights is in memory, on the CPU.

Each weight goes through what `models.merge` and `models.save` do to a whole model: it is rounded or quantised as in
training, PEFT's own layer adds the adapter in float32, and the sum is rounded to the checkpoint's number format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from bezoar.files import readable
from bezoar.steps import models
from bezoar.steps.train.tuning import SHARD

PREFIX = "base_model.model."  # of PEFT's names
LORA = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
INDEX = "model.safetensors.index.json"


class Unfit(Exception):
    """The files hold the weights in another form than the model does, so a weight can't be merged by itself."""


class Adapter:
    """A LoRA adapter's weights by module; empty without a folder.

    Raises:
        Unfit: It trains more than low-rank matrices of linear layers.
    """

    def __init__(self, folder: Path | None) -> None:
        self.config = LoraConfig.from_pretrained(folder) if folder else None
        self.modules: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in _tensors(folder / "adapter_model.safetensors") if folder else ():
            module, kind = next(((name.removesuffix(f".{one}"), one) for one in LORA if name.endswith(one)), ("", ""))
            if not module.startswith(PREFIX):
                raise Unfit(f"the adapter has {name}")
            self.modules.setdefault(module.removeprefix(PREFIX), {})[kind] = tensor

    def added(self, module: str, weight: torch.Tensor) -> torch.Tensor:
        """A module's weight in float32 with the adapter merged into it."""
        if module not in self.modules:
            return weight
        leaf = module.rpartition(".")[2]
        holder = torch.nn.Module()
        holder.add_module(leaf, torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta"))
        holder.get_submodule(leaf).weight = torch.nn.Parameter(weight, requires_grad=False)
        assert self.config
        config = LoraConfig(**{**self.config.to_dict(), "target_modules": [leaf], "inference_mode": True})
        inject_adapter_in_model(config, holder)
        set_peft_model_state_dict(holder, {f"{leaf}.{kind}": tensor for kind, tensor in self.modules[module].items()})
        layer: Any = holder.get_submodule(leaf)
        layer.merge()
        merged: torch.Tensor = layer.get_base_layer().weight.data
        return merged


def write(
    weights: Path, adapter: Path | None, out: Path, *, dtype: str, nf4: bool, merged_dtype: str, shard: str = SHARD
) -> int:
    """Write a model's weights and configuration, with an adapter merged into them; the number of parameters.

    Args:
        weights: Model directory.
        adapter: Adapter to merge; None for none.
        out: Folder to write to.
        dtype: Number format of the weights in training, or float32 for those on disk.
        nf4: Whether they were quantised in training.
        merged_dtype: Number format of the result.
        shard: The largest file.

    Raises:
        Unfit: `models.merge` has to merge them as a whole.
    """
    model, linear = _skeleton(weights, nf4=nf4)
    added = Adapter(adapter)
    files = {name: path for path in sorted(weights.glob("*.safetensors")) for name in _names(path)}
    wanted = {name: tensor.to(models.TORCH[merged_dtype]) for name, tensor in sorted(_saved(model).items())}
    if missing := wanted.keys() - files.keys():
        raise Unfit(f"no file has {min(missing)}")
    if strange := added.modules.keys() - {name.removesuffix(".weight") for name in wanted}:
        raise Unfit(f"the adapter trains {min(strange)}")
    plan = split_torch_state_dict_into_shards(
        wanted, filename_pattern="model{suffix}.safetensors", max_shard_size=shard
    )
    for name, members in plan.filename_to_tensors.items():
        merged = {one: _merged(one, files[one], added, linear, dtype).to(models.TORCH[merged_dtype]) for one in members}
        save_file({one: tensor.contiguous() for one, tensor in merged.items()}, out / name, metadata={"format": "pt"})
        del merged
    count = sum(math.prod(tensor.shape) for tensor in wanted.values())
    if plan.is_sharded:
        about = {"total_parameters": count, **plan.metadata}
        index = {"metadata": about, "weight_map": plan.tensor_to_filename}
        (out / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _configure(model, weights, out, merged_dtype)
    return count


def _skeleton(folder: Path, *, nf4: bool) -> tuple[Any, set[str]]:
    """The model without weights, and the names of the weights that are quantised in training."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return model, _quantised(config) if nf4 else set()


def _quantised(config: Any) -> set[str]:
    from bitsandbytes.nn import Linear4bit
    from transformers.quantizers import AutoHfQuantizer

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    AutoHfQuantizer.from_config(models.four_bit("float32")).preprocess_model(model, device_map=None)
    return {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, Linear4bit)}


def _saved(model: Any) -> dict[str, torch.Tensor]:
    """What `save_pretrained` writes: a tied weight once."""
    if model._keys_to_ignore_on_save:
        raise Unfit("the model leaves out weights when it is saved")
    found: dict[str, torch.Tensor] = remove_tied_weights_from_state_dict(model.state_dict(), model)
    return found


def _merged(name: str, path: Path, adapter: Adapter, quantised: set[str], dtype: str) -> torch.Tensor:
    """A weight of the merged model in float32."""
    with safe_open(path, framework="pt") as file:
        weight = file.get_tensor(name)
    if weight.is_floating_point():
        weight = weight.to(models.TORCH[dtype])
        if name in quantised:
            weight = _rounded_to_nf4(weight)
        weight = weight.float()
    return adapter.added(name.removesuffix(".weight"), weight)


def _rounded_to_nf4(weight: torch.Tensor) -> torch.Tensor:
    """A weight after quantisation and back, on the device that trains, as in training."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Params4bit

    packed = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True).to(models.device())
    return dequantize_4bit(packed.data, packed.quant_state).to("cpu", weight.dtype)


def _configure(model: Any, weights: Path, out: Path, dtype: str) -> None:
    """Write config.json and generation_config.json as `save_pretrained` does."""
    model.config.dtype = dtype
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(out)
    if (weights / "generation_config.json").exists():
        model.generation_config = GenerationConfig.from_pretrained(weights, local_files_only=True)
    model.generation_config.save_pretrained(out)
    readable(out)


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def _tensors(path: Path) -> list[tuple[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        return [(name, file.get_tensor(name)) for name in file.keys()]  # noqa: SIM118
