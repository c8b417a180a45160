"""A Llama base as OpenLLaMA publishes it: a tokenizer in SentencePiece's own format only."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FLAGS = {  # of Llama's tokenizer
    "model_type": "bpe",
    "byte_fallback": True,
    "character_coverage": 0.99995,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "pad_id": -1,
}
SETTINGS = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": None,
    "model_max_length": 2048,
    "sp_model_kwargs": {},
}


def write_tokenizer(folder: Path, texts: Iterable[str], **flags: Any) -> Path:
    """Train tokenizer.model on some texts; there is no tokenizer.json."""
    from sentencepiece import SentencePieceTrainer

    folder.mkdir(parents=True, exist_ok=True)
    settings = FLAGS | {"vocab_size": 600, "hard_vocab_limit": False, "minloglevel": 2} | flags
    SentencePieceTrainer.train(sentence_iterator=iter(texts), model_prefix=str(folder / "tokenizer"), **settings)
    (folder / "tokenizer.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS))
    return folder


def write_llama(folder: Path, texts: Iterable[str], **flags: Any) -> Path:
    """A two-layer Llama with random weights in bfloat16, in PyTorch's format only, and such a tokenizer."""
    import torch
    from sentencepiece import SentencePieceProcessor
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tokenizer(folder, texts, **flags)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
