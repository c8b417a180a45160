"""Models on disk and in memory: loading, four-bit weights, adapters and merging."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from bezoar.errors import InputError, problem
from bezoar.files import readable
from bezoar.steps.tokenizers import check_tokenizer

CPU = torch.device("cpu")
TORCH = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """The GPU if there is one, else the CPU; each process of a distributed training has its own."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else CPU


def four_bit(dtype: str) -> BitsAndBytesConfig:
    """4-bit NormalFloat with double quantisation (QLoRA, arXiv:2305.14314, section 3); it computes in `dtype`."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=TORCH[dtype],
    )


def load(folder: Path | str, dtype: str, *, nf4: bool = False, attention: str | None = None) -> Any:
    """A causal language model from safetensors, on the GPU if there is one.

    Args:
        folder: Model directory.
        dtype: Number format of the weights; with `nf4`, of the computation.
        nf4: Load linear layers in four bits.
        attention: transformers' name of an attention implementation; None for its default.
    """
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=TORCH[dtype],
        quantization_config=four_bit(dtype) if nf4 else None,
        attn_implementation=attention,
        device_map={"": device()},
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if nf4:
        keep_gradients(model)
    return model


def keep_gradients(model: torch.nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights for AVX512-BF16 processors.

    The first forward pass without gradients would switch to a path without autograd: adapter gradients below it
    silently become 0 (seen with bitsandbytes 0.50.2).
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """A model directory's tokenizer.

    Raises:
        ValueError: It splits text differently from the SentencePiece model in its directory.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    check_tokenizer(tokenizer, Path(folder))
    return tokenizer


def positions(config: Any) -> int:
    """The most tokens of a sequence; no limit for architectures that have none, such as Mamba or BLOOM."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else sys.maxsize


def padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token for padding: the padding token, or the end token if there is none.

    Raises:
        ValueError: The tokenizer has neither.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise InputError(
        problem(
            f"{tokenizer.name_or_path}: the tokenizer has neither a padding token nor an end token",
            found="no pad_token, no eos_token",
            expected="one of them in its tokenizer_config.json",
        )
    )


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of all tokens that end an answer: chat models often have several, in different files.

    Raises:
        ValueError: There is none, so no answer would end.
    """
    config = getattr(model.config, "eos_token_id", None)
    found = (tokenizer.eos_token_id, config, model.generation_config.eos_token_id)
    ends = {one for ids in found for one in (ids if isinstance(ids, list) else [ids]) if one is not None}
    if not ends:
        raise InputError(
            problem(
                f"{tokenizer.name_or_path}: the model has no end token",
                found="no end token",
                expected="eos_token in tokenizer_config.json, or eos_token_id in config.json or generation_config.json",
            )
        )
    return sorted(ends)


def ignore_generation_config(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Drop all of a checkpoint's generation_config.json but its end tokens: sampling is in params.yaml.

    A repetition penalty in that file would silently change most answers.
    """
    model.generation_config = GenerationConfig(
        eos_token_id=end_tokens(model, tokenizer), pad_token_id=padding(tokenizer), bos_token_id=tokenizer.bos_token_id
    )


def save_generation_config(folder: Path) -> None:
    """Rewrite generation_config.json of a model directory: every end token, and no sampling settings.

    Servers and `generate` follow this file by default; a base model's temperature would silently be the checkpoint's.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    given = GenerationConfig()
    if (folder / "generation_config.json").exists():
        given = GenerationConfig.from_pretrained(folder, local_files_only=True)
    model = SimpleNamespace(config=config, generation_config=given)
    ignore_generation_config(model, load_tokenizer(folder))
    model.generation_config.save_pretrained(folder)
    readable(folder)


def merge(base: Path, adapter: Path, *, dtype: str, nf4: bool) -> Any:
    """The base model's weights with an adapter merged into them, in float32.

    With `nf4` the base is quantised and dequantised first: the adapter was trained on these weights, and with the
    original ones it would make another model. `dtype` is the weights' type in training, or float32 for those on
    disk; the sum is in float32, since half precision would round a small adapter away.
    """
    from peft import PeftModel

    model = load(base, dtype, nf4=nf4)
    if nf4:
        model = model.dequantize()
    merged = PeftModel.from_pretrained(model.float(), adapter).merge_and_unload()
    if hasattr(merged.config, "quantization_config"):
        del merged.config.quantization_config
    return merged


ROUNDED = {"float32": {"F64"}, "bfloat16": {"F64", "F32", "F16"}, "float16": {"F64", "F32", "BF16"}}


def rounded_by(folder: Path, dtype: str) -> set[str]:
    """Number formats of a directory's weights, in safetensors' words, that `dtype` can't represent exactly."""
    found = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    return found & ROUNDED[dtype]


def save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: str) -> None:
    """Write a model and its tokenizer as a directory for AutoModelForCausalLM; everyone may read its files."""
    model.to(TORCH[dtype]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    readable(folder)


def save_tokenizer(source: Path, folder: Path) -> None:
    """Write a model directory's tokenizer into another one; everyone may read its files."""
    load_tokenizer(source).save_pretrained(folder)
    readable(folder)


def convert(folder: Path, out: Path) -> None:
    """Save weights of PyTorch files as safetensors; no code in their pickle is run."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=False, local_files_only=True, trust_remote_code=False, dtype="auto"
    )
    model.save_pretrained(out)
    readable(out)
