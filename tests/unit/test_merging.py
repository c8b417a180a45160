"""Merging file by file: the bytes of a merge of the whole model, in the memory of one file."""

import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from bezoar.files import digest
from bezoar.steps import models
from bezoar.steps.train import shards

VARIANTS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


@pytest.fixture(scope="module")
def folder(random_llama, tmp_path_factory):
    """A two-layer model with random weights."""
    return random_llama(tmp_path_factory.mktemp("merging") / "base", ["a few words", "and a few more words"])


def adapter_of(folder, out, dtype="float32", nf4=False, target="all-linear", **variant):
    """An adapter that changes answers, on these weights."""
    torch.manual_seed(1)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=target, init_lora_weights=False, task_type="CAUSAL_LM", **variant
    )
    get_peft_model(models.load(folder, dtype, nf4=nf4), config).save_pretrained(out)
    return out


def whole(folder, adapter, out, merged_dtype, **loading):
    """The merge of the whole model in memory."""
    models.save(models.merge(folder, adapter, **loading), models.load_tokenizer(folder), out, merged_dtype)
    return digest(out)


def by_file(folder, adapter, out, merged_dtype, **loading):
    """The merge file by file."""
    out.mkdir()
    shards.write(folder, adapter, out, merged_dtype=merged_dtype, **loading)
    models.save_tokenizer(folder, out)
    return digest(out)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("dtype", "nf4", "merged"),
    [("float32", False, "float32"), ("bfloat16", False, "bfloat16"), ("bfloat16", True, "float16")],
)
def test_a_merge_by_file_has_the_bytes_of_a_merge_of_the_whole(folder, tmp_path, variant, dtype, nf4, merged):
    adapter = adapter_of(folder, tmp_path / "adapter", dtype, nf4, **VARIANTS[variant])
    loading = {"dtype": dtype, "nf4": nf4}
    expected = whole(folder, adapter, tmp_path / "whole", merged, **loading)
    assert by_file(folder, adapter, tmp_path / "by_file", merged, **loading) == expected
    unchanged = models.load(folder, "float32").state_dict()
    changed = load_file(tmp_path / "by_file" / "model.safetensors")
    assert any(not torch.equal(unchanged[name], changed[name].float()) for name in changed if "q_proj" in name)


def test_a_merge_by_file_of_tied_weights_and_several_files(tmp_path, random_llama):
    base = random_llama(tmp_path / "source", ["a few words"])
    config = LlamaConfig.from_pretrained(base, tie_word_embeddings=True)
    torch.manual_seed(2)
    model = LlamaForCausalLM(config)
    model.generation_config.max_new_tokens = 7
    model.save_pretrained(tmp_path / "base", max_shard_size="100KB")
    models.save_tokenizer(base, tmp_path / "base")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 1
    adapter = adapter_of(tmp_path / "base", tmp_path / "adapter")
    expected = models.merge(tmp_path / "base", adapter, dtype="float32", nf4=False)
    expected.save_pretrained(tmp_path / "whole", max_shard_size="50KB")
    (tmp_path / "by_file").mkdir()
    shards.write(
        tmp_path / "base",
        adapter,
        tmp_path / "by_file",
        dtype="float32",
        nf4=False,
        merged_dtype="float32",
        shard="50KB",
    )
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "by_file" / path.name).read_bytes() == path.read_bytes(), path.name
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "by_file").generation_config.max_new_tokens == 7


def test_an_adapter_of_embeddings_is_merged_as_a_whole(folder, tmp_path, caplog):
    from bezoar.steps.train.merge import Merging, merge

    adapter = adapter_of(folder, tmp_path / "adapter", target=["embed_tokens", "q_proj"])
    with pytest.raises(shards.Unfit, match=r"the adapter has base_model\.model\.model\.embed_tokens"):
        by_file(folder, adapter, tmp_path / "by_file", "float32", dtype="float32", nf4=False)
    whole(folder, adapter, tmp_path / "whole", "float32", dtype="float32", nf4=False)
    models.save_generation_config(tmp_path / "whole")
    block = Merging(quantization="none", compute_dtype="float32", merge_into="as_trained", merged_dtype="float32")
    merge(folder, adapter, block, tmp_path / "merged")
    assert digest(tmp_path / "merged") == digest(tmp_path / "whole")
    assert "the whole model is held in memory, since the adapter has" in caplog.text


MEASURE = """
import re, sys
from pathlib import Path
from bezoar.steps import models
from bezoar.steps.train import shards
base, adapter, out, way = map(Path, sys.argv[1:5])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
if way.name == "whole":
    models.save(models.merge(base, adapter, dtype="bfloat16", nf4=False), models.load_tokenizer(base), out, "bfloat16")
else:
    out.mkdir()
    shards.write(base, adapter, out, dtype="bfloat16", nf4=False, merged_dtype="bfloat16", shard="32MB")
print(peak() - before)
"""


@pytest.mark.long
def test_a_merge_by_file_needs_the_memory_of_a_file(tmp_path, random_llama):
    base = random_llama(tmp_path / "source", ["a few words"])
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=1024, hidden_size=1024, num_hidden_layers=12, num_attention_heads=8, intermediate_size=2816
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "base", max_shard_size="64MB")
    models.save_tokenizer(base, tmp_path / "base")
    adapter = adapter_of(tmp_path / "base", tmp_path / "adapter", "bfloat16")
    peaks = {}
    for way in ("whole", "by_file"):
        words = [sys.executable, "-c", MEASURE, tmp_path / "base", adapter, tmp_path / way, way]
        peaks[way] = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout) / 1024
    print(f"peak beyond the imports, MB: {peaks}")
    # 12 layers of 12.8 million weights: 308 MB in bfloat16 and 617 MB in float32. A file of 32 MB, the weights of one
    # layer in float32 (11.5 MB) some times over, and pages of the files that are read
    assert peaks["whole"] > 617
    assert peaks["by_file"] < 200
