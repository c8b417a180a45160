"""The memory that a stage needs on each device, estimated from the headers of its base weights.

Nothing slow is imported: `bezoar plan` shows it. The activations are what autograd keeps of a Llama-type decoder:
transformers' modules, PEFT's layers and TRL's fused output layer. tests/unit/test_memory.py counts the tensors that it
really keeps.
"""

from __future__ import annotations

import json
import struct
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.errors import InputError, problem

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock

GIB, MIB = 1 << 30, 1 << 20
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes of a weight: its four bits, and twice quantised scales of 64 weights
TILE_TOKENS, TILE_WORDS = 4096, 32768  # of TRL's fused output layer
LONGEST_HEADER = 100 << 20  # bytes; safetensors' own limit
SURE = 0.75  # of the activations: tests hold the estimate to within a quarter


@dataclass(frozen=True)
class Shape:
    """What a decoder's memory depends on.

    Attributes:
        linear: Rows and columns of each linear layer but the output layer, by name of its weight.
        other: Number of all other weights.
    """

    hidden: int
    layers: int
    vocabulary: int
    linear: dict[str, tuple[int, int]]
    other: int

    @property
    def weights(self) -> int:
        """Number of all weights."""
        return self.other + sum(rows * columns for rows, columns in self.linear.values())


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(astuple(self)))

    @property
    def least(self) -> float:
        """What is needed for sure."""
        return self.total - (1 - SURE) * (self.activations + self.logits)

    def __str__(self) -> str:
        parts = ("weights", "gradients", "optimizer", "activations", "logits")
        return f"{_shown(self.total)}: " + ", ".join(f"{name} {_shown(getattr(self, name))}" for name in parts)


def _shown(count: float) -> str:
    return f"{count / GIB:,.2f} GiB" if count >= 0.01 * GIB else f"{count / MIB:,.2f} MiB"


def shape_of(folder: Path) -> Shape | None:
    """The shape of a model directory; None if it isn't there, or isn't a decoder of a known form.

    Raises:
        InputError: A file isn't what it says.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config") or config
        sizes = [config[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size")]
        shapes = {name: shape for path in files for name, shape in _header(path).items()}
    except (KeyError, AttributeError):
        return None
    except (OSError, ValueError, TypeError, RecursionError, struct.error) as error:
        what, expected = f"{folder}: not a model directory", "config.json and safetensors"
        raise InputError(problem(what, found=error, expected=expected)) from error
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    linear = {name: shape for name, shape in shapes.items() if len(shape) == 2 and ".layers." in name}
    other = sum(_count(shape) for name, shape in shapes.items() if name not in linear)
    hidden, layers, vocabulary = sizes
    return Shape(hidden, layers, vocabulary, {name: (shape[0], shape[1]) for name, shape in linear.items()}, other)


def _header(path: Path) -> dict[str, list[int]]:
    """The shapes of a safetensors file's tensors, by name."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > LONGEST_HEADER:
            raise ValueError(f"{path.name} has a header of {length:,} bytes")
        found = json.loads(file.read(length))
    found.pop("__metadata__", None)
    return {name: [int(size) for size in one["shape"]] for name, one in found.items()}


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def estimate(
    shape: Shape, stage: StageBlock, *, rows: int, length: int, devices: int = 1, autocast: bool = False
) -> Memory:
    """The memory that a stage needs on one device, while it goes back through its longest rows.

    Args:
        shape: Its base weights.
        stage: The stage.
        rows: Rows of a forward pass on one device.
        length: Tokens of the longest row.
        devices: Devices that share the work; with FSDP2 the weights, too.
        autocast: Whether half precision is mixed, as on a GPU.
    """
    full, size = stage.tuning == "full", SIZES[stage.compute_dtype]
    trained = _training(shape, stage) if full else _adapter(shape, stage)
    weights = _weights(shape, stage) + (0 if full else 4 * trained)
    copies = 2 if full and stage.has_reference() else 1  # a frozen reference
    guides = len(stage.checkpoints()) - 1
    shared = devices if stage.distributed == "fsdp2" else 1
    buckets = 2 if devices > 1 and shared == 1 else 1  # DDP sends gradients from a second copy
    states = 1 if stage.optimizer == "rmsprop" else 2
    tokens = rows * length * stage.sequences
    rounded = 2 * shape.weights if full and size == 2 else 0  # autocast keeps half-precision copies of all weights
    return Memory(
        weights=copies * weights / shared + rounded + guides * _loaded(shape, stage),
        gradients=buckets * 4 * trained / shared,
        optimizer=states * 4 * trained / shared,
        activations=max(
            _activations(shape, stage, tokens, autocast=autocast or full), _cache(shape, stage, length) / devices
        ),
        logits=min(tokens, TILE_TOKENS) * (TILE_WORDS if autocast else min(TILE_WORDS, shape.vocabulary)) * size,
    )


def _cache(shape: Shape, stage: StageBlock, length: int) -> int:
    """Bytes of the keys and values of all answers of a step, which are drawn at once, before the step goes back."""
    if not stage.drawn_tokens():
        return 0
    kept = sum(rows for name, (rows, _) in shape.linear.items() if ".k_proj." in name or ".v_proj." in name)
    answers = stage.batch_size * stage.gradient_accumulation_steps
    return answers * length * kept * SIZES[stage.compute_dtype]


def _weights(shape: Shape, stage: StageBlock) -> float:
    return 4 * shape.weights if stage.tuning == "full" else _loaded(shape, stage)


def _loaded(shape: Shape, stage: StageBlock) -> float:
    """Bytes of a model's weights in the number format of the computation."""
    linear, size = shape.weights - shape.other, SIZES[stage.compute_dtype]
    return size * shape.other + (NF4 if stage.quantization == "nf4" else size) * linear


def _targets(shape: Shape, stage: StageBlock) -> list[tuple[int, int]]:
    """Rows and columns of the layers that have an adapter."""
    wanted = stage.lora.target_modules
    return [one for name, one in shape.linear.items() if wanted == "all-linear" or name.split(".")[-2] in wanted]


def _training(shape: Shape, stage: StageBlock) -> float:
    """Number of weights that have gradients at a time: all, or those of some layers and what is in none."""
    share = min(1.0, stage.lisa.layers / shape.layers) if stage.lisa else 1.0
    return shape.other + share * (shape.weights - shape.other)


def _adapter(shape: Shape, stage: StageBlock) -> int:
    """Number of an adapter's weights."""
    return sum(stage.lora.rank * (rows + columns) + stage.lora.dora * rows for rows, columns in _targets(shape, stage))


def _activations(shape: Shape, stage: StageBlock, tokens: int, *, autocast: bool) -> float:
    """Bytes that autograd keeps of one forward pass."""
    hidden, size = shape.hidden, SIZES[stage.compute_dtype]
    of_all_layers = _layers(shape, stage, autocast=autocast)
    kept: float = of_all_layers
    if stage.gradient_checkpointing:  # the input of each layer, and one layer at a time
        kept = shape.layers * hidden * (4 if stage.tuning == "full" else size) + of_all_layers / shape.layers
    return tokens * (kept + 3 * 4 * hidden)  # the last norm, the output layer's input and its gradient


def _layers(shape: Shape, stage: StageBlock, *, autocast: bool) -> float:
    """Bytes that autograd keeps of one token in all layers."""
    full, size = stage.tuning == "full", SIZES[stage.compute_dtype]
    norms = shape.layers * 2 * 4 * shape.hidden * (2 if full else 1)  # in float32; a trained norm keeps its output, too
    inner = sum(rows for name, (rows, _) in shape.linear.items() if ".up_proj." in name)
    queries = sum(rows for name, (rows, _) in shape.linear.items() if ".q_proj." in name)
    attention = 4 * queries * size  # queries, keys and values, repeated for each head, and what comes out
    gates = 3 * inner * size
    if full:
        return norms + attention + gates + _inputs(shape, "all-linear") * size
    masked = 1 if autocast else 4
    cast = size if autocast else 4
    if stage.lora.dropout or cast != size:  # each adapter has an input of its own
        copies = cast + masked if stage.lora.dropout else cast
        return norms + attention + gates + copies * sum(columns for _, columns in _targets(shape, stage))
    return norms + attention + gates + _inputs(shape, stage.lora.target_modules) * size


def _inputs(shape: Shape, wanted: str | list[str]) -> int:
    """Sizes of the inputs of trained layers, which some share; the attention output's is counted with attention."""
    groups = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("down_proj",))
    first = [group if wanted == "all-linear" else [name for name in group if name in wanted] for group in groups]
    heads = {group[0] for group in first if group}
    return sum(columns for name, (_, columns) in shape.linear.items() if name.split(".")[-2] in heads)


def check(name: str, found: Memory, available: int, device: str) -> None:
    """Refuse a stage that can't fit.

    Raises:
        InputError: The device has less memory than the stage needs for sure.
    """
    if found.least <= available:
        return
    raise InputError(
        problem(
            f"stages.{name} doesn't fit into the memory of {device}",
            found=f"about {found}",
            expected=f"at most {_shown(available)}",
            hint="a smaller batch_size with more gradient_accumulation_steps, gradient_checkpointing: true, a smaller "
            "max_length, quantization: nf4, or more devices with distributed: fsdp2",
        )
    )


def main_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process may use: the machine's, or its control group's limit."""
    lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def longest(dataset: Any) -> int:
    """Tokens of the longest row that a trainer has prepared."""
    columns = [name for name in dataset.column_names if name.endswith("ids")]
    if "prompt_ids" in columns:  # of preferences: a prompt with either answer
        return max(
            len(row["prompt_ids"]) + max(len(row[name]) for name in columns if name != "prompt_ids") for row in dataset
        )
    return max(len(ids) for ids in dataset["input_ids"])
