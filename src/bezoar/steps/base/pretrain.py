"""A small Llama with its own tokenizer, pretrained on raw text: the embedded recipe's base model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bezoar import logs
from bezoar.blocks import Block, Share, SourceName
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.base import template
from bezoar.steps.base.model import ModelBlock
from bezoar.steps.data.rows import TextRow, read_rows

if TYPE_CHECKING:
    import torch  # slow to import, and every recipe imports its models
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

PAD, START, END = "<|pad|>", "<|start|>", "<|end|>"
IGNORED = -100  # a label that the loss ignores, in torch and transformers


class Tokenizer(Block):
    """A byte-level BPE tokenizer."""

    vocabulary: int = Field(1024, ge=300, description="Most tokens, including the 256 bytes.")
    added_tokens: list[str] = Field([], description="Texts that are one token each, with the whitespace after them.")


class Architecture(Block):
    """A Llama (transformers.LlamaConfig)."""

    hidden_size: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=8)
    max_position_embeddings: int = Field(512, ge=16, description="Longest sequence, in tokens.")
    initializer_range: float = Field(0.02, gt=0, description="Default: transformers.LlamaConfig.")


class PretrainedModel(ModelBlock):
    """A small Llama with its own tokenizer, pretrained on raw text."""

    method: Literal["pretrain"]
    corpus: SourceName
    tokenizer: Tokenizer = Tokenizer()
    architecture: Architecture
    sequence_length: int = Field(64, ge=8, description="Tokens of a packed sequence.")
    batch_size: int = Field(8, ge=1, description="Sequences per step.")
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(gt=0, description="Peak.")
    beta2: float = Field(0.95, gt=0, lt=1, description="Default: Touvron et al. 2023 (arXiv:2302.13971), section 2.3.")
    weight_decay: float = Field(0.1, ge=0, description="Default: the same.")
    warmup: Share = Field(0.05, description="Share of steps with a rising learning rate.")
    decay: Share = Field(0.6, description="Share of steps at the end in which it falls to a tenth.")

    def sources(self) -> list[str]:
        """The texts."""
        return [self.corpus]

    def lacks_template(self) -> bool:
        """Its tokenizer is made here, without a template."""
        return True


def trained_tokenizer(texts: list[str], block: PretrainedModel) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the texts, with end-of-text and padding tokens."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Bpe
    from transformers import PreTrainedTokenizerFast

    tokenizer = Bpe(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=block.tokenizer.vocabulary - len(block.tokenizer.added_tokens),
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # With the whitespace after them, so that a context that lost its last newline still ends with the same token.
    markers = [AddedToken(text, rstrip=True, normalized=False) for text in block.tokenizer.added_tokens]
    tokenizer.add_tokens(markers)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        model_max_length=block.architecture.max_position_embeddings,
    )


def untrained_model(block: PretrainedModel, vocabulary: int, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = block.architecture
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_position_embeddings,
        initializer_range=shape.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def packed(documents: list[list[int]], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both (sequences, length): whole documents one after the other, then padding.

    A document of more than `length` tokens is cut. Start tokens and padding have no label.
    """
    import torch

    sequences: list[list[int]] = [[]]
    for document in documents:
        tokens = [1, *document, 2][:length]
        if len(sequences[-1]) + len(tokens) > length:
            sequences.append([])
        sequences[-1] += tokens
    ids = torch.tensor([sequence + [0] * (length - len(sequence)) for sequence in sequences])
    return ids, ids.masked_fill((ids == 0) | (ids == 1), IGNORED)


def learning_rate_share(step: int, steps: int, warmup: float, decay: float) -> float:
    """Share of the peak learning rate at a step, from 0 to 1: a linear rise, a plateau, a linear fall to a tenth.

    Source: the warm-up, stable, decay schedule of Hu et al. 2024 (arXiv:2404.06395), section 4.2.
    """
    rise = min(1.0, (step + 1) / max(1, math.ceil(warmup * steps)))
    into_fall = (step - (1 - decay) * steps) / max(1.0, decay * steps)
    return rise * (1 - 0.9 * min(1.0, max(0.0, into_fall)))


def batches(rows: int, size: int, epochs: int, seed: int) -> Iterator[torch.Tensor]:
    """Row numbers of each batch, in a new random order each epoch, without an incomplete last batch."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows // size * size].split(size)


def train(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor, block: PretrainedModel, seed: int) -> float:
    """Train the model in place; returns the mean loss, in nats a token, of the last twentieth of the steps."""
    import torch

    size = min(block.batch_size, len(ids))
    steps = block.epochs * (len(ids) // size)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=block.learning_rate,
        betas=(0.9, block.beta2),
        weight_decay=block.weight_decay,
        fused=True,
    )
    losses: list[float] = []
    model.train()
    for step, rows in enumerate(logs.progress(batches(len(ids), size, block.epochs, seed), steps, "pre-train")):
        for group in optimizer.param_groups:
            group["lr"] = block.learning_rate * learning_rate_share(step, steps, block.warmup, block.decay)
        loss = model(input_ids=ids[rows], labels=labels[rows]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    last = losses[-max(1, steps // 20) :]
    return sum(last) / len(last)


def make(texts_path: Path, chat_template: Path | None, block: PretrainedModel, seed: int, out_folder: Path) -> None:
    """Train tokenizer and model on the texts of a source, and write both as an artifact."""
    from bezoar.steps.models import save

    name = out_folder.name
    texts = [row.text for row in read_rows(texts_path, TextRow)]
    tokenizer = trained_tokenizer(texts, block)
    model = untrained_model(block, len(tokenizer), seed)
    ids, labels = packed(tokenizer(texts, add_special_tokens=False).input_ids, block.sequence_length)
    size, tokens = model.num_parameters(), ids.numel()
    logger.info(f"base {name}: {size:,} parameters, {tokens:,} tokens, vocabulary of {len(tokenizer):,}")
    loss = train(model, ids, labels, block, seed)
    with artifact(out_folder) as out:
        save(model, tokenizer, out, "float32")
        template.put(out, chat_template)
    logger.info(f"base {name}: loss {loss:.3f} nats a token at the end")
