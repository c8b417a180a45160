"""GGUF files of llama.cpp as model directories: weights dequantised to float32, config, tokenizer and chat template.

Format: docs/gguf.md of ggml-org/ggml, read by its authors' package `gguf`. Only what is known to be read exactly is
read: the Llama architecture (also SmolLM, Mistral, TinyLlama), byte-level BPE with one of the splits of PRE_TOKENIZERS,
no scaled rotary embeddings. Anything else is refused, since a wrong guess would silently degrade the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bezoar.errors import InputError, problem
from bezoar.files import readable

if TYPE_CHECKING:
    from gguf import GGUFReader
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

Value = TypeVar("Value", bool, int, float, str)
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {  # of a layer
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
LLAMA_3 = (  # the published tokenizer.json of Llama 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = ("smollm", "gpt-2", "llama-bpe")
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # kinds of tokens


class Fields:
    """The metadata of a file, each value checked for its type when it is read."""

    def __init__(self, reader: GGUFReader, path: Path) -> None:
        self.reader, self.path = reader, path

    def __contains__(self, name: str) -> bool:
        return name in self.reader.fields

    def names(self, prefix: str) -> list[str]:
        """The names that start with a prefix."""
        return sorted(name for name in self.reader.fields if name.startswith(prefix))

    def value(self, name: str, kind: type[Value]) -> Value:
        """A value; raises InputError if it is missing or of another type."""
        found = self.reader.fields[name].contents() if name in self else None
        if type(found) is not kind:
            raise self.refusal(f"{name}: {found!r:.100}", f"a value of type {kind.__name__}")
        return found

    def items(self, name: str, kind: type[Value]) -> list[Value]:
        """A list of values; raises InputError if it is missing or holds others."""
        found = self.reader.fields[name].contents() if name in self else None
        if not isinstance(found, list) or not all(type(one) is kind for one in found):
            raise self.refusal(f"{name}: {found!r:.100}", f"a list of {kind.__name__}")
        return found

    def token(self, tokens: list[str], role: str) -> str | None:
        """The special token of a role, such as `eos`; None if the file names none."""
        if (name := f"tokenizer.ggml.{role}_token_id") not in self:
            return None
        place = self.value(name, int)
        if not 0 <= place < len(tokens):
            raise self.refusal(f"{name}: {place}", f"a number below {len(tokens):,}")
        return tokens[place]

    def refusal(self, found: object, expected: object) -> InputError:
        """The error for a file that is not of a kind that is read exactly."""
        hint = "convert it with another tool to a folder with config.json and *.safetensors: method: local"
        return InputError(problem(f"{self.path.name} can't be read", found=found, expected=expected, hint=hint))


def convert(path: Path, out: Path) -> None:
    """Write a GGUF file's model as a folder for AutoModelForCausalLM, with weights in float32.

    Raises:
        InputError: It is no GGUF file, or one of a kind that isn't known to be read exactly.
    """
    from safetensors.numpy import save_file

    reader = opened(path)
    fields = Fields(reader, path)
    config, weights = config_of(fields), weights_of(reader, fields)
    tokenizer = tokenizer_of(fields, config["max_position_embeddings"])
    rows = len(weights["model.embed_tokens.weight"])
    if len(tokenizer) != rows:
        raise fields.refusal(f"{len(tokenizer):,} tokens and {rows:,} embeddings", "as many tokens as embeddings")
    tied = {"vocab_size": rows, "tie_word_embeddings": "lm_head.weight" not in weights}
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config | tied | ids, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(out)
    readable(out)


def opened(path: Path) -> GGUFReader:
    """The file, mapped into memory; raises InputError if it is no GGUF file."""
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:  # whatever wrong bytes lead to
        found = str(error) or type(error).__name__
        raise InputError(problem(f"{path.name} can't be read", found=found, expected="a GGUF file")) from error


def config_of(fields: Fields) -> dict[str, Any]:
    """The model's config.json, without what depends on weights and tokenizer."""
    kind = fields.value("general.architecture", str)
    if kind != "llama":
        raise fields.refusal(f"architecture {kind}", "llama")
    if scaled := fields.names("llama.rope.scaling."):
        raise fields.refusal(", ".join(scaled), "no scaled rotary embeddings")
    heads, size = fields.value("llama.attention.head_count", int), fields.value("llama.embedding_length", int)
    positions = fields.value("llama.context_length", int)
    grouped = "llama.attention.head_count_kv"
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": size,
        "intermediate_size": fields.value("llama.feed_forward_length", int),
        "num_hidden_layers": fields.value("llama.block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.value(grouped, int) if grouped in fields else heads,
        "max_position_embeddings": positions,
        "rms_norm_eps": _shortest(fields.value("llama.attention.layer_norm_rms_epsilon", float)),
        "rope_theta": _shortest(_optional(fields, "llama.rope.freq_base", 10_000.0)),  # ggml's default
        "attention_bias": False,
        "mlp_bias": False,
    }


def _optional(fields: Fields, name: str, default: Value) -> Value:
    return fields.value(name, type(default)) if name in fields else default


def _shortest(value: float) -> float:
    """The shortest number that is this one in float32: files have 1e-05 as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def weights_of(reader: GGUFReader, fields: Fields) -> dict[str, NDArray[np.float32]]:
    """All weights in float32 by their names in transformers."""
    from gguf.quants import dequantize

    heads = fields.value("llama.attention.head_count", int)
    groups = _optional(fields, "llama.attention.head_count_kv", heads)
    weights = {}
    for tensor in reader.tensors:
        name, part = weight_name(tensor.name, fields)
        try:
            values = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise fields.refusal(f"{tensor.name} of type {tensor.tensor_type.name}", "a known type") from error
        values = values.reshape([int(size) for size in reversed(tensor.shape)]).astype(np.float32, copy=False)
        if part in ("attn_q", "attn_k"):
            number = heads if part == "attn_q" else groups
            if number < 1 or len(values) % (2 * number):
                raise fields.refusal(f"{tensor.name} with {len(values):,} rows for {number} heads", "pairs of rows")
            values = halved(values, number)
        weights[name] = np.ascontiguousarray(values)
    _check_complete(weights, fields)
    return weights


def _check_complete(weights: dict[str, NDArray[np.float32]], fields: Fields) -> None:
    """Refuse missing and surplus weights: transformers draws missing ones at random and ignores surplus ones."""
    layers = fields.value("llama.block_count", int)
    wanted = {"model.embed_tokens.weight", "model.norm.weight"}
    for number in range(min(layers, len(weights))):  # a file may claim any number
        wanted |= {f"model.layers.{number}.{name}.weight" for name in INNER.values()}
    if missing := sorted(wanted - weights.keys()):
        raise fields.refusal(f"no tensor for {', '.join(missing[:3])}", "all weights of a model")
    if surplus := sorted(weights.keys() - wanted - {"lm_head.weight"}):
        raise fields.refusal(f"{', '.join(surplus[:3])} in a model of {layers:,} layers", "no other weights")


def weight_name(name: str, fields: Fields) -> tuple[str, str]:
    """A tensor's name in transformers, and the name of its part in GGUF."""
    stem, _, kind = name.rpartition(".")
    block, _, rest = stem.partition(".")
    number, _, part = rest.partition(".")
    if kind == "weight" and stem in OUTER:
        return f"{OUTER[stem]}.weight", stem
    if kind == "weight" and block == "blk" and number.isdecimal() and part in INNER:
        return f"model.layers.{int(number)}.{INNER[part]}.weight", part
    raise fields.refusal(f"tensor {name}", "the tensors of a Llama without biases and scaled rotary embeddings")


def halved(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a query or key projection in transformers' order: GGUF pairs neighbours, transformers pairs halves."""
    paired = weights.reshape(heads, weights.shape[0] // heads // 2, 2, *weights.shape[1:])
    return paired.swapaxes(1, 2).reshape(weights.shape)


def tokenizer_of(fields: Fields, max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer, with special tokens and chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    kind = fields.value("tokenizer.ggml.model", str)
    if kind != "gpt2":
        raise fields.refusal(f"a tokenizer of kind {kind}", "gpt2, which is byte-level BPE")
    tokens, kinds = fields.items("tokenizer.ggml.tokens", str), fields.items("tokenizer.ggml.token_type", int)
    if len(kinds) != len(tokens):
        raise fields.refusal(f"{len(kinds):,} kinds of tokens", f"{len(tokens):,}, one for each token")
    pairs = (pair.partition(" ") for pair in fields.items("tokenizer.ggml.merges", str))
    merges = [(first, second) for first, _, second in pairs]
    try:
        tokenizer = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=merges))
    except Exception as error:  # tokenizers raises nothing narrower
        raise fields.refusal(error, "merges of the listed tokens") from error
    tokenizer.pre_tokenizer = pre_tokenizer_of(fields)
    tokenizer.decoder = decoders.ByteLevel()
    added = (UNKNOWN, CONTROL, USER_DEFINED)
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind != USER_DEFINED, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind in added
        ]
    )
    named = {f"{role}_token": fields.token(tokens, gguf) for role, gguf in ROLES.items()}
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{name: token for name, token in named.items() if token is not None},
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    if "tokenizer.chat_template" in fields:
        made.chat_template = fields.value("tokenizer.chat_template", str)
    return made


ROLES = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}  # transformers' word: GGUF's


def pre_tokenizer_of(fields: Fields) -> Any:
    """What splits a text before its bytes are merged."""
    from tokenizers import Regex, pre_tokenizers

    name = fields.value("tokenizer.ggml.pre", str)
    levels = pre_tokenizers.ByteLevel
    if name == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, levels(add_prefix_space=False)])
    if name == "gpt-2":
        return levels(add_prefix_space=False)
    if name == "llama-bpe":
        split = pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated")
        return pre_tokenizers.Sequence([split, levels(add_prefix_space=False, use_regex=False)])
    raise fields.refusal(f"a tokenizer that splits as {name}", " or ".join(PRE_TOKENIZERS))
