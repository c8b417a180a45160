"""One template from training to serving: five families of chat templates, two families of tokenizers.

Each model is a random one with a tokenizer that is trained here. It goes through rule base as a model of the disk does.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sentences import write_tokenizer
from templates import FAMILIES, OPENBEZOAR, answered, said, student_prompt, transcript
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bezoar.blocks import Sampling
from bezoar.errors import InputError
from bezoar.requests.base import Request
from bezoar.steps import chat, models
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.base import local as base_local
from bezoar.steps.base import template
from bezoar.steps.data.rows import write_rows
from bezoar.steps.evaluate.harness import Task, checkpoint_of, evaluated, loaded, through_template
from bezoar.steps.train import conversations, dpo, sft, training
from bezoar.steps.train.conversations import tokens_of
from bezoar.steps.train.dpo import Dpo
from bezoar.steps.train.merge import Merging, merge
from bezoar.steps.train.sft import Sft
from bezoar.steps.train.stage import Paths

TINY = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "tiny.yaml").read_text())["stages"]
SYSTEM = "Be kind."
TURNS = ["Hi, who are you?", "I am a model.", "Say\n\n  1,504 + 0.05 in 東京 🙂", "(It is 1504.05)", "Thanks!", "Bye."]
TEXTS = [*TURNS, SYSTEM, "[INST] [/INST] user model system assistant Human: Assistant:", OPENBEZOAR.read_text()] * 9
CASES = [(family, kind) for family in FAMILIES for kind in ("bpe", "sentencepiece")]


def bpe(folder: Path, marks: tuple[str, ...]) -> Any:
    """A byte-level BPE tokenizer that puts a start token before every text, as Llama 3's does."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<s>", "</s>", *marks]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", extra_special_tokens=[*marks]
    )
    made.save_pretrained(folder)
    return made


def sentencepiece(folder: Path, marks: tuple[str, ...]) -> Any:
    """Llama's SentencePiece tokenizer, which puts a start token before every text, with special tokens of its own."""
    made = AutoTokenizer.from_pretrained(write_tokenizer(folder, TEXTS))
    made.add_special_tokens({"extra_special_tokens": [*marks]})
    made.save_pretrained(folder)
    return made


def published(folder: Path, family: str, kind: str) -> Path:
    """A model directory as its authors publish it; OpenBezoar's base has no template."""
    folder.mkdir(parents=True)
    tokenizer = {"bpe": bpe, "sentencepiece": sentencepiece}[kind](folder, FAMILIES[family].marks)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        **shape,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    if family != "openbezoar":
        tokenizer.chat_template = FAMILIES[family].template
        tokenizer.save_pretrained(folder)
    ends = [2, *tokenizer.convert_tokens_to_ids([end] if (end := FAMILIES[family].end) else [])]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "repetition_penalty": 5.0}))
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """What rule base makes of each model."""
    root, found = tmp_path_factory.mktemp("parity"), {}
    for family, kind in CASES:
        out = root / "data/base" / f"{family}_{kind}"
        base_local.make(published(root / out.name, family, kind), OPENBEZOAR if family == "openbezoar" else None, out)
        found[family, kind] = out
    return found


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, bases: dict[tuple[str, str], Path]) -> tuple[str, Path]:
    """A family, and the directory of a base model with its template."""
    return request.param[0], bases[request.param]


@pytest.fixture(params=FAMILIES)
def trained_case(request: pytest.FixtureRequest, bases: dict[tuple[str, str], Path]) -> tuple[str, Path]:
    """A family, with one of the tokenizers, for what takes seconds."""
    kinds = dict(zip(FAMILIES, ["bpe", "sentencepiece"] * 3, strict=False))
    return request.param, bases[request.param, kinds[request.param]]


def dialogues(family: str) -> list[list[dict[str, str]]]:
    """Dialogues of one to three exchanges, under a system text where the family has them."""
    systems = [None, SYSTEM] if FAMILIES[family].system else [None]
    return [said(*TURNS[:length], system=system) for length in (2, 4, 6) for system in systems]


def mix(folder: Path, family: str) -> Path:
    """A mix of SFT and one of preferences, of these dialogues."""
    for name in ("train", "eval"):
        rows = [{"prompt": one[:-1], "completion": one[-1:]} for one in dialogues(family)]
        rejected = [{"role": "assistant", "content": "No."}]
        pairs = [{"prompt": one[:-1], "chosen": one[-1:], "rejected": rejected} for one in dialogues(family)]
        write_rows(folder / "sft" / f"{name}.jsonl", rows)
        write_rows(folder / "dpo" / f"{name}.jsonl", pairs)
    return folder


def stage(kind: type, **changes: Any) -> Any:
    name = {Sft: "sft_lamini", Dpo: "dpo_hh"}[kind]
    lora = {"rank": 2, "alpha": 4, "dropout": 0.0}
    return kind.model_validate(TINY[name] | {"quantization": "none", "batch_size": 8, "lora": lora} | changes)


def paths(base: Path, mixes: Path, root: Path) -> Paths:
    return Paths(base=base, adapter=None, mix=mixes, work=root / "work", out=root / "adapter")


def asked_locally(base: Path, dialogue: list[dict[str, str]]) -> list[int]:
    """The tokens that the local backend sends, and that MT-Bench answers come from."""
    backend = LocalBackend(kind="local", checkpoint="tiny", dtype="float32")
    model = backend.open(checkpoint=base, system=None, seed=0)
    messages = tuple((one["role"], one["content"]) for one in dialogue)
    found: list[int] = model.tokens(Request("key", messages, Sampling()))
    return found


# One text, the same tokens


def test_a_training_rows_prompt_is_what_the_model_gets_when_it_is_asked(case):
    family, base = case
    tokenizer = models.load_tokenizer(base)
    harness = checkpoint_of(base, dtype="float32", batch_size=1, max_length=512)
    through_template(harness, chat_template=True)
    for dialogue in dialogues(family):
        tokens = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=False)
        prompt = tokens.ids[: tokens.spans[-1][0]]
        assert asked_locally(base, dialogue[:-1]) == prompt
        text = harness.apply_chat_template(dialogue[:-1])
        assert harness.tok_encode(text) == prompt
        assert harness.tok_batch_encode([text])[0].tolist() == [prompt]
        served = tokenizer.apply_chat_template(dialogue[:-1], add_generation_prompt=True, return_dict=False)
        assert list(served) == prompt  # as `transformers serve` and vLLM do


def test_one_end_token_is_trained_and_no_start_token_is_doubled(case):
    family, base = case
    tokenizer = models.load_tokenizer(base)
    ends = models.end_tokens(LlamaForCausalLM.from_pretrained(base), tokenizer)
    end = FAMILIES[family].end or "</s>"
    for dialogue in dialogues(family):
        tokens = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=False)
        trained = [one for one, bit in zip(tokens.ids, tokens.mask, strict=True) if bit]
        assert [tokenizer.decode([one]).strip() for one in trained if one in ends] == [end]
        answer = tokenizer.decode(trained, skip_special_tokens=True)
        assert answer.strip() == dialogue[-1]["content"]
        assert tokens.ids.count(tokenizer.bos_token_id) == (0 if family == "chatml" else 1)
        assert family == "chatml" or tokens.ids[0] == tokenizer.bos_token_id


def test_all_turns_are_trained_each_with_one_end_token(case):
    family, base = case
    tokenizer = models.load_tokenizer(base)
    for dialogue in dialogues(family):
        said_before = [one["content"] for one in dialogue if one["role"] == "assistant"]
        if not FAMILIES[family].adds and len(said_before) > 1:
            with pytest.raises(InputError, match=r"rewrites earlier turns\n(.*\n)*hint: loss_on: last"):
                tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=True)
            continue
        tokens = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=True)
        texts = [tokenizer.decode(tokens.ids[slice(*span)]).strip() for span in tokens.spans]
        end = FAMILIES[family].end or "</s>"
        assert texts == [text + end for text in said_before]
        last = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=False)
        assert (tokens.ids, tokens.spans[-1:]) == (last.ids, last.spans)
        for place, span in enumerate(tokens.spans):  # each answer, after the tokens that the model is asked with
            position = [at for at, one in enumerate(dialogue) if one["role"] == "assistant"][place]
            assert tokens.ids[: span[0]] == asked_locally(base, dialogue[:position])


def test_labels_of_the_last_answer_are_those_of_trls_own_path(case, tmp_path):
    from trl import SFTConfig, SFTTrainer

    family, base = case
    mixes = mix(tmp_path, family) / "sft"
    block = stage(Sft, loss_on="last", max_length=100)
    ours = sft.trainer_of(paths(base, mixes, tmp_path), block, 0)
    theirs = SFTTrainer(
        model=models.load(base, "float32"),
        args=SFTConfig(**training.settings(block, 0, tmp_path / "work"), completion_only_loss=True),
        train_dataset=training.examples(mixes / "train.jsonl", ("prompt", "completion")),
        processing_class=models.load_tokenizer(base),
    )
    for column in ("input_ids", "labels"):
        assert list(map(list, ours.train_dataset[column])) == list(map(list, theirs.train_dataset[column]))
    assert len(ours.train_dataset) > len(dialogues(family)) / 2  # others have no answer within max_length


def test_a_preferences_prompt_is_what_the_model_gets_when_it_is_asked(trained_case, tmp_path):
    family, base = trained_case
    trainer = dpo.trainer_of(paths(base, mix(tmp_path, family) / "dpo", tmp_path), stage(Dpo, max_length=512), 0)
    tokenizer = models.load_tokenizer(base)
    for dialogue, row in zip(dialogues(family), trainer.train_dataset, strict=True):
        assert list(row["prompt_ids"]) == asked_locally(base, dialogue[:-1])
        tokens = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=False)
        assert list(row["prompt_ids"]) + list(row["chosen_ids"]) == tokens.ids


SENTENCE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@pytest.mark.parametrize("family", ["chatml", "llama3", "gemma"])  # whose special tokens stand beside each answer
@given(turns=st.lists(SENTENCE, min_size=2, max_size=6))
def test_what_is_trained_of_any_dialogue_is_the_text_of_its_answers(bases, family, turns):
    tokenizer = models.load_tokenizer(bases[family, "bpe"])
    dialogue = said(*turns[: len(turns) // 2 * 2])
    tokens = tokens_of(tokenizer, dialogue[:-1], dialogue[-1:], every_turn=True)
    trained = [tokenizer.decode(tokens.ids[slice(*span)]) for span in tokens.spans]
    stripped = family != "chatml"  # the other two templates strip a turn
    said_there = [text.strip() if stripped else text for text in turns[1::2]]
    after = "" if family == "llama3" else "\n"
    assert trained == [text + FAMILIES[family].end + after for text in said_there]
    place = 0  # and nothing else is
    for start, end in tokens.spans:
        assert tokens.mask[place:start] == [0] * (start - place)
        assert tokens.mask[start:end] == [1] * (end - start)
        place = end
    assert place == len(tokens.ids)


TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/items.jsonl}}}}
test_split: test
output_type: loglikelihood
doc_to_text: {text}
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
metadata: {{version: 1.0}}
"""


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_task_through_the_chat_template_scores_as_its_written_out_prompt_does(bases, kind, tmp_path):
    items = [{"question": "Who are you?", "answer": "I am a model."}, {"question": "Bye.", "answer": "Thanks!"}]
    write_rows(tmp_path / "items.jsonl", items)
    texts = {"whole": json.dumps(student_prompt("{{question}}", SYSTEM)), "plain": "'{{question}}'"}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, text=text, folder=tmp_path))
    found = {}
    for name, chat_template in (("whole", False), ("plain", True), ("plain", False)):
        keys = {"num_fewshot": 0, "chat_template": chat_template, "limit": None, "versions": {}, "data": []}
        task = Task(**keys, system=SYSTEM if chat_template else None)
        result = evaluated(loaded(bases["openbezoar", kind], 2, 512, "float32"), name, task, str(tmp_path), 0)
        found[name, chat_template] = result["results"][name]["perplexity,none"]
    assert found["plain", True] == pytest.approx(found["whole", False], rel=1e-6)
    assert found["plain", False] != pytest.approx(found["whole", False], rel=1e-3)


# What a template may not do


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_a_family_without_system_turns_says_so_before_training(bases, family, tmp_path):
    write_rows(tmp_path / "train.jsonl", [answered("Hi", "Hello", system=SYSTEM)])
    tokenizer = models.load_tokenizer(bases[family, "bpe"])
    message = (
        rf"^{re.escape(str(tmp_path))}/train.jsonl:1: .*refuses a dialogue: .*\n(.*\n)*hint: .*prompt.system: null"
    )
    with pytest.raises(InputError, match=message):
        training.tokenised(tmp_path / "train.jsonl", tokenizer, every_turn=True)


def test_a_template_that_ends_no_answer_is_refused_before_training(bases, tmp_path):
    write_rows(tmp_path / "train.jsonl", [answered("Hi", "Hello")])
    tokenizer = models.load_tokenizer(bases["openbezoar", "bpe"])
    tokenizer.chat_template = FAMILIES["chatml"].template  # whose end token is only text to this model
    message = r"train.jsonl, row 1: .*without an end token\D*\n  found:    'Hello<|im_end|>\\n'\n  expected: '</s>'"
    with pytest.raises(InputError, match=message.replace("|", r"\|")):
        conversations.count(tmp_path / "train.jsonl", tokenizer, [2], 512, every_turn=True)


def test_a_prompt_that_is_no_beginning_of_its_row_is_refused(bases):
    tokenizer = models.load_tokenizer(bases["chatml", "bpe"])
    tokenizer.chat_template = FAMILIES["chatml"].template.replace("assistant\\n' }}", "assistant\\n<think>' }}")
    with pytest.raises(InputError, match="writes a prompt that differs from the start of the whole dialogue"):
        tokens_of(tokenizer, *answered("Hi", "Hello").values(), every_turn=False)


def test_an_end_token_within_an_answer_is_told(bases, tmp_path, caplog):
    write_rows(tmp_path / "train.jsonl", [answered("Hi", "Hello</s> there")])
    tokenizer = models.load_tokenizer(bases["mistral", "bpe"])
    assert conversations.count(tmp_path / "train.jsonl", tokenizer, [2], 512, every_turn=True)["rows"] == 1
    assert "1 rows have an end token within an answer" in caplog.text


# A template as a file of every checkpoint


def test_a_template_of_a_file_gets_the_start_token_that_the_tokenizer_puts_before_a_text(bases, tmp_path, random_llama):
    text = OPENBEZOAR.read_text()
    for kind, start in (("bpe", "{{- bos_token -}}"), ("sentencepiece", "{{- bos_token + ' ' -}}")):
        assert (bases["openbezoar", kind] / template.FILE).read_text() == start + text
        tokenizer = models.load_tokenizer(bases["openbezoar", kind])
        for turns in (TURNS[:1], TURNS[:3]):
            found = chat.ids(tokenizer, said(*turns, system=SYSTEM), prompt=True)
            assert found == tokenizer(student_prompt(transcript(turns), SYSTEM)).input_ids
            assert found[0] == tokenizer.bos_token_id
    plain = random_llama(tmp_path / "plain", ["a few words"], chat_template=None)  # it puts none
    template.put(plain, OPENBEZOAR)
    assert (plain / template.FILE).read_text() == text


def test_the_tokenizers_own_template_stays_as_it_is(case):
    family, base = case
    if family != "openbezoar":
        assert (base / template.FILE).read_text() == FAMILIES[family].template
    assert "chat_template" not in json.loads((base / "tokenizer_config.json").read_text())


def test_a_template_in_the_tokenizers_settings_becomes_a_file(tmp_path, random_llama):
    folder = random_llama(tmp_path / "old", ["a few words"], chat_template=None)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"chat_template": "{{ messages[-1].content }}"})
    )
    for number, (path, text) in enumerate(((None, "{{ messages[-1].content }}"), (OPENBEZOAR, OPENBEZOAR.read_text()))):
        base_local.make(folder, path, out := tmp_path / f"out{number}")
        assert (out / template.FILE).read_text() == text
        assert json.loads((out / "tokenizer_config.json").read_text()) == settings


def test_a_model_without_a_template_stops_at_once_and_says_what_to_set(tmp_path, random_llama):
    folder = random_llama(tmp_path / "bare", ["a few words"], chat_template=None)
    with pytest.raises(InputError, match=r"has no chat template\n(.*\n)*hint: set models.<name>.chat_template"):
        base_local.make(folder, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_renders_and_ends_as_its_base_whatever_its_generation_settings(trained_case, tmp_path):
    family, base = trained_case
    where = paths(base, mix(tmp_path, family) / "sft", tmp_path)
    block = stage(Sft, loss_on="all" if FAMILIES[family].adds else "last", epochs=1, packing=True, max_length=512)
    training.run(sft.trainer_of(where, block, 0), where, block, 0)
    merging = Merging(quantization="none", compute_dtype="float32", merge_into="as_trained", merged_dtype="float32")
    merge(base, where.out, merging, tmp_path / "merged")
    start, *others = (models.load_tokenizer(folder) for folder in (base, where.out, tmp_path / "merged"))
    for dialogue in dialogues(family):
        for other in others:
            assert chat.ids(other, dialogue, prompt=False) == chat.ids(start, dialogue, prompt=False)
            assert chat.ids(other, dialogue[:-1], prompt=True) == chat.ids(start, dialogue[:-1], prompt=True)
    merged = LlamaForCausalLM.from_pretrained(tmp_path / "merged")
    assert models.end_tokens(merged, others[1]) == models.end_tokens(LlamaForCausalLM.from_pretrained(base), start)
    assert json.loads((where.out / "rows.json").read_text())["train"]["dropped"] == 0
