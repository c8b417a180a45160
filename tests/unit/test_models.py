"""Models in memory: four-bit weights that still teach, merging that changes no answer, tokenizers that agree."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    BloomConfig,
    BloomForCausalLM,
    Gemma3Config,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    XLNetConfig,
)

from bezoar.blocks import Sampling
from bezoar.cache.storable import check_storable
from bezoar.requests.base import ask
from bezoar.steps import models
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.base import local
from bezoar.steps.evaluate import likelihood
from bezoar.steps.evaluate.harness import checkpoint_of
from bezoar.steps.evaluate.served import Served
from bezoar.steps.train import merge, tuning
from bezoar.steps.train.merge import Merging
from bezoar.steps.train.sft import Sft

RECIPE = Path(__file__).parents[2] / "recipes" / "openbezoar-3b.yaml"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.arange(3, 3 + 24).reshape(2, 12)


@pytest.fixture(scope="module")
def folder(random_llama, tmp_path_factory):
    """A two-layer model with random weights."""
    return random_llama(tmp_path_factory.mktemp("models") / "base", ["a few words", "and a few more words"])


def adapted(folder, dtype, nf4):
    """The model under an adapter that changes its answers."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=LINEAR, init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(models.load(folder, dtype, nf4=nf4), config)


def gradients(model):
    """Of every trainable parameter, after one pass forwards and back."""
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


@torch.inference_mode()
def logits(model):
    return model.eval()(input_ids=IDS).logits.float()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_under_nf4_are_the_same_before_and_after_an_evaluation(folder, dtype):
    model = adapted(folder, dtype, nf4=True)
    before = gradients(model)
    logits(model)  # the first pass without gradients, at which bitsandbytes would repack its weights
    after = gradients(model)
    assert len(before) == 2 * 2 * len(LINEAR)  # two matrices for each of 7 layers in 2 blocks
    for name, gradient in before.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(gradient, after[name]), name


@pytest.mark.parametrize("nf4", [True, False])
def test_merged_model_answers_as_base_with_adapter(folder, tmp_path, nf4):
    model = adapted(folder, "float32", nf4)
    expected = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    merged = models.merge(folder, tmp_path / "adapter", dtype="float32", nf4=nf4)
    assert (logits(merged) - expected).abs().max() < 1e-3
    assert not isinstance(merged, PeftModel)


def test_an_adapter_that_was_trained_under_nf4_fits_no_other_weights(folder, tmp_path):
    model = adapted(folder, "float32", nf4=True)
    expected = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    merged = models.merge(folder, tmp_path / "adapter", dtype="float32", nf4=False)
    assert (logits(merged) - expected).abs().max() > 1e-1  # hundred times what merging as trained may differ


def merging(into, merged):
    """How a stage that was trained under nf4 is merged."""
    return Merging(quantization="nf4", compute_dtype="bfloat16", merge_into=into, merged_dtype=merged)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16"])
def test_a_merge_into_the_original_keeps_the_bits_that_no_adapter_changes(folder, tmp_path, stored):
    models.save(models.load(folder, "float32"), models.load_tokenizer(folder), tmp_path / "base", stored)
    adapted(folder, "float32", nf4=False).save_pretrained(tmp_path / "adapter")
    merge.merge(tmp_path / "base", tmp_path / "adapter", merging("original", stored), tmp_path / "merged")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.split(".")[-2] in LINEAR}
    assert {one.dtype for one in after.values()} == {models.TORCH[stored]}


@pytest.mark.parametrize(
    ("stored", "into", "merged", "rounded"),
    [
        ("float32", "original", "bfloat16", "F32"),
        ("float16", "original", "bfloat16", "F16"),
        ("bfloat16", "original", "float16", "BF16"),
        ("float32", "as_trained", "bfloat16", None),
        ("bfloat16", "original", "bfloat16", None),
        ("float16", "original", "float32", None),
    ],
)
def test_a_merge_into_the_original_that_rounds_the_original_is_warned_of(
    tmp_path, caplog, stored, into, merged, rounded
):
    save_file({"weight": torch.zeros(2, dtype=models.TORCH[stored])}, tmp_path / "model-00001-of-00001.safetensors")
    merge.check_merged(tmp_path, merging(into, merged))
    expected = f"merge_into: original, but merged_dtype: {merged} rounds weights of {tmp_path} in {rounded}: "
    assert caplog.text == "" if rounded is None else expected in caplog.text


def test_a_saved_merge_opens_as_a_plain_model(folder, tmp_path):
    adapted(folder, "float32", nf4=True).save_pretrained(tmp_path / "adapter")
    merge.merge(folder, tmp_path / "adapter", merging("as_trained", "float32"), tmp_path / "merged")
    expected = logits(models.merge(folder, tmp_path / "adapter", dtype="bfloat16", nf4=True))
    again = models.load(tmp_path / "merged", "float32")
    assert torch.equal(logits(again), expected)
    assert not hasattr(again.config, "quantization_config")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "merged").iterdir()} == {0o644}
    before, after = models.load_tokenizer(folder), models.load_tokenizer(tmp_path / "merged")
    assert after("a few\n words").input_ids == before("a few\n words").input_ids


def test_a_merged_checkpoint_ends_at_every_end_token_and_samples_by_no_setting_of_its_base(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "base")
    surprising = {"eos_token_id": [2, 7], "temperature": 0.2, "repetition_penalty": 1.1, "do_sample": True}
    (tmp_path / "base/generation_config.json").write_text(json.dumps(surprising))
    adapted(folder, "float32", nf4=False).save_pretrained(tmp_path / "adapter")
    merge.merge(tmp_path / "base", tmp_path / "adapter", merging("original", "float32"), tmp_path / "merged")
    found = json.loads((tmp_path / "merged/generation_config.json").read_text())
    found.pop("transformers_version")
    assert found == {"bos_token_id": 1, "eos_token_id": [2, 7], "pad_token_id": 0}


def test_a_model_is_saved_in_its_number_format(folder, tmp_path):
    models.save(models.load(folder, "float32"), models.load_tokenizer(folder), tmp_path / "half", "bfloat16")
    found = LlamaForCausalLM.from_pretrained(tmp_path / "half", dtype="auto").dtype
    assert found == torch.bfloat16


def test_torch_weights_are_converted_to_equal_safetensors(folder, tmp_path):
    model = models.load(folder, "float32")
    (tmp_path / "torch").mkdir()
    model.config.save_pretrained(tmp_path / "torch")
    torch.save(model.state_dict(), tmp_path / "torch" / "pytorch_model.bin")
    models.convert(tmp_path / "torch", tmp_path / "out")
    assert torch.equal(logits(models.load(tmp_path / "out", "float32")), logits(model))


def test_pytorch_files_alone_are_not_loaded(folder, tmp_path):
    model = models.load(folder, "float32")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        models.load(tmp_path, "float32")


def test_padding_is_the_end_token_where_there_is_no_other():
    assert models.padding(SimpleNamespace(pad_token_id=0, eos_token_id=2)) == 0
    assert models.padding(SimpleNamespace(pad_token_id=None, eos_token_id=2)) == 2


def test_a_tokenizer_with_neither_padding_nor_end_token_is_an_error():
    bare = SimpleNamespace(pad_token_id=None, eos_token_id=None, name_or_path="data/base/small")
    silent = SimpleNamespace(eos_token_id=None)
    with pytest.raises(ValueError, match="data/base/small: the tokenizer has neither a padding token nor an end token"):
        models.padding(bare)
    with pytest.raises(ValueError, match="data/base/small: the model has no end token"):
        models.end_tokens(SimpleNamespace(config=silent, generation_config=silent), bare)


# --- The harness ----------------------------------------------------------------------------------------------------


def test_the_harness_takes_end_tokens_and_nothing_else_of_a_checkpoints_generation_config(folder, tmp_path):
    from lm_eval.api.instance import Instance

    def answered(**settings):
        copy = tmp_path / f"model_{len(list(tmp_path.iterdir()))}"
        shutil.copytree(folder, copy)
        (copy / "generation_config.json").write_text(json.dumps(settings))
        model = checkpoint_of(copy, dtype="float32", batch_size=2, max_length=512)
        asked = [
            Instance("generate_until", {}, (text, {"until": ["<|end|>"], "max_gen_toks": 12, "do_sample": False}), n)
            for n, text in enumerate(("a few words", "more"))
        ]
        return model, model.generate_until(asked, disable_tqdm=True)

    model, plain = answered(eos_token_id=2)
    _, penalised = answered(eos_token_id=2, repetition_penalty=5.0, num_beams=2, min_new_tokens=12)
    assert penalised == plain
    prompt = model.tokenizer("a few words", return_tensors="pt").input_ids
    ids = model.model.generate(prompt, max_new_tokens=12, do_sample=False)[0, prompt.shape[1] :].tolist()
    other = next(one for place, one in enumerate(ids) if place >= 2 and one not in ids[:place])
    _, ended = answered(eos_token_id=[2, other])
    assert plain[0].startswith(ended[0])
    assert len(ended[0]) < len(plain[0])
    assert model.tokenizer.decode([other]) not in ended[0]


# --- Adapters -------------------------------------------------------------------------------------------------------


def test_the_3b_recipes_adapter_has_as_many_parameters_as_the_released_one():
    stage = Sft.model_validate(yaml.safe_load(RECIPE.read_text())["stages"]["sft_lamini"])
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=3200,
        intermediate_size=8640,
        num_hidden_layers=26,
        num_attention_heads=32,
        max_position_embeddings=2048,
    )
    with torch.device("meta"):  # shapes without memory
        model = get_peft_model(LlamaForCausalLM(config), tuning.lora(stage))
    # q, k and v, each 3200 -> 3200, of 26 layers: rank 16 times (3200 in + 3200 out)
    expected = 3 * 26 * 16 * (3200 + 3200)
    assert expected == 7_987_200
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == expected
    assert (stage.lora.rank, stage.lora.alpha, stage.lora.dropout) == (16, 16, 0.05)


# --- Base models ---------------------------------------------------------------------------------------------------


def local_model(path: str, name: str = "mine", **keys: str) -> local.LocalModel:
    block = local.LocalModel.model_validate({"method": "local", "path": path, **keys})
    block._name = name
    return block


def test_a_model_directory_is_read_in_place_and_another_template_needs_a_copy():
    block = local_model("~/models/mine/")
    assert block.folder == str(Path.home() / "models/mine")
    assert block.stage_names() == []
    other = local_model("models/mine", chat_template="recipes/templates/openbezoar.jinja")
    assert (other.folder, other.files()) == ("data/base/mine", ["models/mine"])
    assert other.stage_names() == ["base-mine"]


def test_a_gguf_file_is_an_input_by_itself_and_is_dequantised():
    block = local_model("models/mine", file="small.gguf")
    assert (block.folder, block.files()) == ("data/base/mine", ["models/mine/small.gguf"])
    with pytest.raises(ValueError, match="file"):
        local_model("models/mine", file="../small.gguf")


def test_a_directory_without_weights_is_known_before_anything_runs(folder, tmp_path):
    assert local_model(str(tmp_path)).lacks_weights()
    assert local_model(str(folder), file="small.gguf").lacks_weights()
    assert not local_model(str(folder)).lacks_weights()


def test_a_model_under_another_template_is_copied_as_the_cache_can_store_it(folder, tmp_path, monkeypatch):
    given, template = tmp_path / "given", tmp_path / "own.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
    shutil.copytree(folder, given)
    for path in (given / "config.json", *given.glob("*.safetensors")):
        path.chmod(0o755)  # as every file on some disks
    (given / "notes.txt").symlink_to(given / "config.json")
    (given / "original/deep").mkdir(parents=True)
    (given / "original/consolidated.bin").touch()
    monkeypatch.chdir(tmp_path)
    local.make(given, template, Path("data/models/base"))
    check_storable({"data/models/base": "data/models/base"})
    assert Path("data/models/base/notes.txt").read_text() == (given / "config.json").read_text()
    assert not Path("data/models/base/original").exists()
    assert template.read_text() in Path("data/models/base/chat_template.jinja").read_text()


def unlimited(folder: Path, kind: str) -> None:
    """Replace a model by one whose config has no longest sequence."""
    torch.manual_seed(0)
    shared = {"vocab_size": len(models.load_tokenizer(folder)), "hidden_size": 16, "pad_token_id": 0, "eos_token_id": 2}
    made = {
        "bloom": lambda: BloomForCausalLM(BloomConfig(**shared, n_layer=1, n_head=2)),
        "mamba": lambda: MambaForCausalLM(MambaConfig(**shared, num_hidden_layers=1, state_size=2)),
    }
    made[kind]().save_pretrained(folder)


@pytest.mark.parametrize("kind", ["bloom", "mamba"])
def test_a_model_without_a_longest_sequence_is_asked_served_and_scored(random_llama, tmp_path, kind):
    folder = random_llama(tmp_path / "base", ["a few words"], positions=16)
    unlimited(folder, kind)
    assert not hasattr(AutoConfig.from_pretrained(folder), "max_position_embeddings")
    request = ask("key", "a few words " * 20, Sampling(max_new_tokens=5))
    local = LocalBackend(kind="local", checkpoint="base", dtype="float32")
    (said,) = local.open(checkpoint=folder, system=None, seed=0).complete([request], "test")
    assert said.finish_reason in ("length", "stop")
    fitted = Served(SimpleNamespace(), folder, None, 0)._fitted(request)
    assert fitted is not None
    assert fitted.sampling.max_new_tokens == 5
    turns = {"prompt": [{"role": "user", "content": "few"}], "completion": [{"role": "assistant", "content": "words"}]}
    rows = tmp_path / "mixes/one/eval.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"id": "a", "family": "f", "first_turn": "t", **turns}))
    (row,) = likelihood.scored(folder, [rows], [], likelihood.Scored(batch_size=1, dtype="float32"))
    assert row.loglikelihood < 0


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (GPT2Config(n_positions=64), 64),
        (LlamaConfig(max_position_embeddings=32), 32),
        (BloomConfig(), sys.maxsize),
        (XLNetConfig(), sys.maxsize),  # says -1
        (Gemma3Config(text_config={"max_position_embeddings": 48}), 48),  # of its text part
    ],
    ids=lambda one: getattr(one, "model_type", None),
)
def test_a_longest_sequence_is_read_from_any_config(config, limit):
    assert models.positions(config) == limit
