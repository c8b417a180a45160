"""The shipped recipe openbezoar-3b, at small scale: every stage, from its sources to results/mtbench.json.

The list below names each value that differs from the shipped file. A look-alike of the hub has what is fetched from
there, so even these blocks stay: the base is a random Llama of the same kind (bfloat16, in PyTorch's format, with a
SentencePiece model only), and the data of the ten harness tasks are two documents a split.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import server as model_server
import yaml
from conftest import ROOT, Workspace
from harness_data import write_harness_data
from hub import Hub
from sentences import write_llama
from server import EXAMPLE, SECOND, SINGLE, Answer, Server, draw

SHIPPED = ROOT / "recipes" / "openbezoar-3b.yaml"
SAMPLES = {
    "seed_tasks": "seed_tasks.jsonl",
    "dolly": "dolly_sample.jsonl",
    "flan": "flan_cot_sample.jsonl",
    "hh": "hh_rlhf_harmless_sample.jsonl",
    "hh_dpo": "hh_rlhf_harmless_sample.jsonl",
    "questions": "mt_bench/question.jsonl",
    "references": "mt_bench/reference_answer_gpt-4.jsonl",
    "judge_prompts": "mt_bench/judge_prompts.jsonl",
}
STAGES = ("sft_lamini", "sft_orca", "sft_evol", "sft_hh")
REPLACED: dict[str, Any] = {
    # Sources: the real samples. Three of them have the pinned bytes.
    **{f"sources.{name}.origin": {"kind": "file", "path": f"real/{path}"} for name, path in SAMPLES.items()},
    # Models: scripted ones behind the real clients. The teacher's address is a variable already.
    "backends.filter.connection.base_url_env": "FILTER_BASE_URL",
    "backends.judge.connection.base_url_env": "JUDGE_BASE_URL",
    # What the samples can't fill: 100 rows of dolly, and 420 of one FLAN collection.
    "sources.dolly.sample": None,
    "sources.flan.sample": None,
    "schemes.orca.shares": {"CoT": 1.0},
    "schemes.orca.candidates": 420,
    "mixes.orca.parts": [{"name": "orca", "rows": 240}],
    "mixes.evol.parts": [{"name": "evol", "rows": 240}],
    "mixes.hh_chosen.eval_rows": 32,
    "mixes.hh_pairs.eval_rows": 32,
}
SMALLER: dict[str, Any] = {  # of the short form: fewer rows, questions and tokens
    "shards": 2,
    "sources.dolly.sample": 12,
    "sources.questions.sample": 8,
    "sources.hh.limit": 80,
    "sources.hh_dpo.limit": 80,
    "schemes.lamini.calls": 4,
    "schemes.orca.candidates": 40,
    "schemes.evol.rounds": 2,
    "mixes.lamini.parts": [{"name": "lamini", "rows": 24}],
    "mixes.orca.parts": [{"name": "orca", "rows": 24}],
    "mixes.evol.parts": [{"name": "evol", "rows": 24}],
    **{f"mixes.{name}.eval_rows": 4 for name in ("lamini", "orca", "evol", "hh_chosen", "hh_pairs")},
    **{f"stages.{name}.epochs": 1 for name in STAGES[:3]},
    "evals.mtbench.repeats": 1,
    "answers.mtbench.max_new_tokens": 32,
}
ON_A_CPU = {f"stages.{name}.optimizer": "adamw_torch" for name in STAGES}  # paged memory is CUDA's
KINDS = re.compile(
    r"sources\.\w+\.(origin|sample|limit)|backends\.(filter|judge)\.connection\.base_url_env|shards"
    r"|schemes\.\w+\.(shares|candidates|calls|rounds)|mixes\.\w+\.(parts|eval_rows)"
    r"|stages\.sft_\w+\.(optimizer|epochs)|evals\.mtbench\.repeats|answers\.mtbench\.max_new_tokens"
)


def replaced(recipe: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A recipe with other values under some dotted names."""
    made: dict[str, Any] = json.loads(json.dumps(recipe))  # a copy in which no two blocks are one
    for name, value in values.items():
        *parents, last = name.split(".")
        block = made
        for parent in parents:
            block = block[parent]
        block[last] = value
    return made


def differences(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the values that two recipes don't share."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{name}.{key}".removeprefix("."))
    elif one != other:
        yield name


def listing(prompt: str) -> Answer:
    """As many instructions as were asked for, of the examples' words."""
    examples = [text.split() for text in EXAMPLE.findall(prompt)]
    found = re.search(r"Write (\d+) new instructions", prompt)
    assert found
    lines = []
    for number in range(int(found[1])):
        first, second = examples[number % len(examples)], examples[draw(f"{prompt}{number}", len(examples))]
        words = [*first[: 3 + draw(f"{number}{prompt}", 6)], str(draw(f"#{number}{prompt}", 10**6)), *second[-6:]]
        lines.append(f"<example>{number + 1}. {' '.join(words)}</example>")
    return Answer("\n".join(lines))


def response(instruction: str) -> Answer:
    """Words of the instruction in another order, always to the end."""
    words = sorted(set(re.findall(r"\w+", instruction)), key=lambda word: draw(instruction + word, 10**6))[:40]
    return Answer(f"Here is what I think of {', '.join(words)}.")


def verdict(prompt: str, codes: list[str]) -> Answer:
    """A verdict as JSON, one in five against the row."""
    bad = draw(prompt, 5) == 0
    found = {"reasons": codes[:1] if bad else [], "reason": "Read.", "rating": 3 if bad else 8}
    return Answer(json.dumps(found | {"status": "reject" if bad else "accept"}))


def judgment(prompt: str) -> Answer:
    """A rating from 1 to 2: a random model says nothing, as little as the controls do."""
    found = SINGLE.search(prompt) or SECOND.search(prompt)
    answer = found.group(1).strip() if found else ""
    rating = 1 if not answer or "[[" in answer else 1 + draw(prompt, 2)
    return Answer(f"The answer has {len(answer.split())} words.\n\nRating: [[{rating}]]")


@pytest.mark.parametrize(
    "smaller",
    [
        pytest.param(SMALLER, marks=[pytest.mark.short, pytest.mark.end_to_end], id="short"),
        pytest.param({}, marks=pytest.mark.end_to_end, id="whole"),
    ],
)
def test_the_shipped_recipe_gets_past_every_stage(
    smaller: dict[str, Any],
    real: Path,
    server: Server,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    for scripted in (listing, response, verdict, judgment):  # without the slips that a few rows can't bear
        monkeypatch.setattr(model_server, scripted.__name__, scripted)
    shipped = yaml.safe_load(SHIPPED.read_text())
    monkeypatch.setattr(model_server, "MODELS", tuple(one["model"] for one in shipped["backends"].values()))
    changed = REPLACED | smaller | ({} if torch.cuda.is_available() else ON_A_CPU)
    recipe = replaced(shipped, changed)
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    shutil.copytree(real, workspace.root / "real")
    texts = [line for path in real.glob("*.jsonl") for line in path.read_text().splitlines()]
    base = recipe["models"]["open_llama_3b_v2"]
    write_llama(tmp_path / "hub/models" / base["repository"], texts, vocab_size=4000, max_sentence_length=100_000)
    write_harness_data(tmp_path / "hub/datasets")
    workspace.environment["OPENAI_API_KEY"] = workspace.environment["FILTER_API_KEY"]
    workspace.environment["ANTHROPIC_API_KEY"] = workspace.environment["JUDGE_API_KEY"]
    workspace.environment["BEZOAR_APPROVE"] = "500"
    with Hub(tmp_path / "hub") as hub:
        workspace.environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        workspace.snakemake("results/mtbench.json")

    every_mix_was_compared_with_the_harness_tasks(workspace.root, shipped)
    every_stage_trained(workspace.root, shipped)
    every_checkpoint_has_a_score(workspace.root, recipe)


def every_mix_was_compared_with_the_harness_tasks(root: Path, shipped: dict[str, Any]) -> None:
    for name in shipped["mixes"]:
        certificate = json.loads((root / "data/certificates" / f"{name}.json").read_text())
        counts = {task: one["items"] for task, one in certificate["evaluations"]["harness"].items()}
        assert counts == dict.fromkeys(shipped["evals"]["harness"]["tasks"], 2)


def every_stage_trained(root: Path, shipped: dict[str, Any]) -> None:
    for name in shipped["stages"]:
        history = json.loads((root / "data/adapters" / name / "history.json").read_text())
        assert 0 < history[-1]["eval_loss"] < 20
        rows = json.loads((root / "data/adapters" / name / "rows.json").read_text())
        assert min(rows["train"]["rows"], rows["eval"]["rows"]) > 0
        adapter = json.loads((root / "data/adapters" / name / "adapter_config.json").read_text())
        assert (adapter["r"], sorted(adapter["target_modules"])) == (16, ["k_proj", "q_proj", "v_proj"])


def every_checkpoint_has_a_score(root: Path, recipe: dict[str, Any]) -> None:
    report = json.loads((root / "results/mtbench.json").read_text())
    assert sorted(report["models"]) == sorted(recipe["evals"]["mtbench"]["checkpoints"])
    assert report["questions"]["count"] == recipe["sources"]["questions"].get("sample") or 80
    assert not report["judge_compromised"]
    for one in report["models"].values():
        assert one["judgments"] == 2 * report["questions"]["count"] * recipe["evals"]["mtbench"]["repeats"]
        assert 1 <= one["average"]["low"] <= one["average"]["mean"] <= one["average"]["high"] <= 10
        assert one["average"]["mean"] <= 2  # its interval may reach higher: few questions, nearly all with one score


@pytest.mark.parametrize("values", [REPLACED, REPLACED | SMALLER, REPLACED | ON_A_CPU])
def test_nothing_but_what_is_listed_differs_from_the_shipped_file(values: dict[str, Any]) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text())
    assert all(KINDS.fullmatch(name) for name in values)
    found = list(differences(shipped, replaced(shipped, values)))
    assert all(any(f"{name}.".startswith(f"{one}.") for one in values) for name in found)
    unchanged = [one for one in values if not any(f"{name}.".startswith(f"{one}.") for name in found)]
    assert not unchanged, "listed, but as it is in the shipped file"


def test_samples_that_a_pinned_source_names_have_its_bytes(real: Path) -> None:
    import hashlib

    for name, block in yaml.safe_load(SHIPPED.read_text())["sources"].items():
        if "sha256" in block["origin"]:
            assert hashlib.sha256((real / SAMPLES[name]).read_bytes()).hexdigest() == block["origin"]["sha256"], name


CARD = "<|prompt|>Why is drinking water so healthy?<|endoftext|><|answer|>"  # printed in the model cards of the series


@pytest.mark.parametrize(
    ("system", "expected"), [(None, CARD), ("Be brief.", CARD.replace("<|prompt|>", "<|prompt|>Be brief.\n\n"))]
)
def test_the_teachers_template_writes_the_form_of_its_model_card(system: str | None, expected: str) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    shipped = yaml.safe_load(SHIPPED.read_text())
    command = shipped["backends"]["teacher"]["connection"]["server"]["command"]
    (path,) = (word.partition("=")[2] for word in command if word.startswith("--chat-template="))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    messages = [{"role": "user", "content": "Why is drinking water so healthy?"}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text = (ROOT / path).read_text()
    found = tokenizer.apply_chat_template(messages, chat_template=text, tokenize=False, add_generation_prompt=True)
    assert found == expected
