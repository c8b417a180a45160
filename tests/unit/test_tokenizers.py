"""Tokenizers that are converted from a SentencePiece model split text as it does, or are refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sentences import SETTINGS, write_tokenizer

from bezoar.steps import models, tokenizers

WORDS = ["a few words and some more words. And so  on.  Twice"] * 10 + list(tokenizers.TEXTS)
DIFFERS = "splits text differently from its SentencePiece model\n  found: "
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    "{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
HEADINGS = "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
TEMPLATES = {"none": None, "chatml": CHATML, "llama-2": LLAMA_2, "headings": HEADINGS}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama tokenizer in SentencePiece's format only."""
    return write_tokenizer(tmp_path_factory.mktemp("sentences"), WORDS)


def with_template(tokenizer: Any, template: str | None) -> Any:
    tokenizer.chat_template = template
    if template == CHATML:
        tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


class Converted:
    """A tokenizer that splits text as a SentencePiece model does, after an own change of the text."""

    chat_template = None
    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

    def __init__(self, folder: Path, change: Any = str) -> None:
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        self.change = change

    def __call__(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        assert not add_special_tokens
        return SimpleNamespace(input_ids=self.processor.encode(self.change(text)))


def test_a_tokenizer_that_agrees_with_its_original_passes(sentences):
    tokenizers.check_tokenizer(Converted(sentences), sentences)


@pytest.mark.parametrize(
    "change", [str.lower, lambda text: text.replace("1,", "one"), lambda text: f"{text}.", lambda text: text[:-1]]
)
def test_a_tokenizer_that_differs_from_its_original_is_refused(sentences, change):
    with pytest.raises(ValueError, match=DIFFERS):
        tokenizers.check_tokenizer(Converted(sentences, change), sentences)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("legacy", [True, False])
def test_a_llama_tokenizer_in_sentencepieces_format_only_passes_under_every_template(sentences, tmp_path, legacy, name):
    (tmp_path / "tokenizer.model").write_bytes((sentences / "tokenizer.model").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SETTINGS | {"legacy": legacy}))
    tokenizer = with_template(models.load_tokenizer(tmp_path), TEMPLATES[name])
    tokenizers.check_tokenizer(tokenizer, tmp_path)
    assert tokenizer("a few").input_ids[0] == tokenizer.bos_token_id == 1
    tokenizer.save_pretrained(tmp_path / "saved")  # as it is saved beside merged weights
    assert (tmp_path / "saved/chat_template.jinja").exists() == (TEMPLATES[name] is not None)
    tokenizers.check_tokenizer(models.load_tokenizer(tmp_path / "saved"), tmp_path)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    "flags",
    [
        {"remove_extra_whitespaces": True},  # two blanks are one
        {"normalization_rule_name": "nmt_nfkc"},  # a ligature is two letters
        {"add_dummy_prefix": False},
        {"model_type": "unigram"},
    ],
)
def test_a_sentencepiece_model_that_the_conversion_changes_is_refused_under_every_template(tmp_path, flags, name):
    folder = write_tokenizer(tmp_path, WORDS, **flags)
    with pytest.raises(ValueError, match=DIFFERS):
        tokenizers.check_tokenizer(with_template(models.load_tokenizer(folder), TEMPLATES[name]), folder)


def test_probes_are_what_a_template_writes_between_special_tokens(sentences):
    found = tokenizers.probes(with_template(models.load_tokenizer(sentences), CHATML))
    assert "user\nHello world" in found
    assert "system\n1,504 + 0.05. And so  on.  Twice" in found
    assert not [text for text in found if "<|im_" in text or text.startswith(" ")]
    dialogue = tokenizers.probes(with_template(models.load_tokenizer(sentences), HEADINGS))
    assert any(all(text in one for text in tokenizers.TEXTS) for one in dialogue)


def test_a_template_that_refuses_system_messages_is_probed_without_one(sentences):
    found = tokenizers.probes(with_template(models.load_tokenizer(sentences), LLAMA_2))
    assert "[INST] Hello world [/INST] Hello world " in found


def test_a_template_that_refuses_everything_leaves_the_bare_texts(sentences):
    refusing = with_template(models.load_tokenizer(sentences), "{{ raise_exception('none') }}")
    assert tokenizers.probes(refusing) == [one.lstrip(" ") for one in tokenizers.TEXTS if one.strip(" ")]


@pytest.mark.parametrize("flag", ["user_defined_symbols", "control_symbols"])
def test_a_sentencepiece_model_with_symbols_of_its_own_template_passes(tmp_path, flag):
    symbols = ["<|im_start|>", "<|im_end|>"]
    folder = write_tokenizer(tmp_path, WORDS, **{flag: symbols})
    tokenizer = with_template(models.load_tokenizer(folder), CHATML)
    tokenizers.check_tokenizer(tokenizer, folder)
    (start,) = tokenizer("<|im_start|>", add_special_tokens=False).input_ids
    assert start == Converted(folder).processor.piece_to_id("<|im_start|>")


def test_a_tokenizer_model_that_is_not_sentencepieces_is_logged_and_left_alone(sentences, tmp_path, caplog):
    (tmp_path / "tokenizer.model").write_text("IQ== 0\nIg== 1\nIw== 2\n")  # tiktoken's, as Llama 3 has it
    tokenizers.check_tokenizer(models.load_tokenizer(sentences), tmp_path)
    assert "tokenizer.model isn't a SentencePiece model, so the tokenizer isn't compared with it: " in caplog.text


def test_a_tokenizer_without_an_original_is_taken_as_it_is(sentences, tmp_path):
    tokenizers.check_tokenizer(models.load_tokenizer(sentences), tmp_path)
