"""Selections: each measure against values by hand, and what becomes of the rows that are left out."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from mains import script
from mixes import chat, folders, kept, preference
from tree import SHARDS

from bezoar import cli
from bezoar.errors import InputError
from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.requests.base import Completion, Request
from bezoar.steps import prompts
from bezoar.steps.data.rows import SeedRow, row_id
from bezoar.steps.select import deita, difficulty, ordered
from bezoar.steps.select.deita import Deita, Kept, expectation
from bezoar.steps.select.difficulty import Difficulty, ifd
from bezoar.steps.select.ordered import Ordered
from bezoar.steps.select.selection import Choice, Ranked, pooled, write_selection

PROMPTS = ROOT / "recipes/prompts/selecting/deita.yaml"
NAMES = [f"row {number}" for number in range(30)]
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant: {% endif %}"
)


def pool_of(root: Path, rows: list[Any], seed: int = 0, shards: int = 2) -> Any:
    """The rows of a scheme, dealt to shards, as a pool."""
    folders(root, schemes={"evol": rows}, shards=shards)
    return pooled(Ordered(method="random", of="evol", kind="scheme", rows=1), root / "filtered", root, seed, shards)


def source_pool(root: Path, rows: list[Any]) -> Any:
    folders(root, sources={"mine": rows})
    block = Ordered(method="random", of="mine", kind="source", rows=1)
    return pooled(block, root / "filtered", root / "source", 0, 1)


def ids(pool: Any, choice: Choice) -> list[str]:
    return [pool.key(row.number)[1] for row in choice.taken]


def drawn(root: Path, rows: list[Any], wanted: int, method: str = "random", **where: int) -> list[str]:
    pool = pool_of(root, rows, **where)
    return ids(pool, ordered.chosen(Ordered(method=method, of="evol", kind="scheme", rows=wanted), pool))


# random and longest


def test_a_smaller_random_selection_begins_a_larger_one(tmp_path):
    rows = [kept(name) for name in NAMES]
    few, many, other = (
        drawn(tmp_path / f"{place}", rows, wanted, seed=seed)
        for place, (wanted, seed) in enumerate(((5, 0), (20, 0), (5, 1)))
    )
    assert many[:5] == few
    assert len({*many}) == 20
    assert set(other) != set(few)


def test_a_selection_depends_neither_on_shards_nor_on_the_order_of_rows(tmp_path):
    rows = [kept(name) for name in NAMES]
    for method in ("random", "longest"):
        one, other = (
            drawn(tmp_path / f"{method}{place}", some, 7, method, shards=shards)
            for place, (some, shards) in enumerate(((rows, 1), (rows[::-1], 3)))
        )
        assert one == other


def test_the_longest_answers_are_those_with_the_most_characters(tmp_path):
    rows = [kept("ab"), kept("abcdef"), kept("abcd")]  # "ab!", "abcdef!", "abcd!"
    pool = pool_of(tmp_path, rows)
    choice = ordered.chosen(Ordered(method="longest", of="evol", kind="scheme", rows=2), pool)
    assert ids(pool, choice) == [row_id("abcdef"), row_id("abcd")]
    assert [row.score for row in choice.taken] == [7.0, 5.0]
    assert list(choice.left.values()) == [("not selected", "score 3")]


def test_every_form_of_row_has_an_answer_but_a_seed_without_one(tmp_path):
    common = {"context": None, "category": None}
    rows = [
        SeedRow(id=row_id(name), instruction="Go.", response=name or None, **common) for name in ("", "long answer")
    ]
    pool = source_pool(tmp_path / "seeds", rows)
    choice = ordered.chosen(Ordered(method="longest", of="mine", kind="source", rows=2), pool)
    assert ids(pool, choice) == [row_id("long answer")]
    assert list(choice.left.values()) == [("no response", "")]
    pool = source_pool(tmp_path / "pairs", [preference("a"), preference("abc")])
    choice = ordered.chosen(Ordered(method="longest", of="mine", kind="source", rows=1), pool)
    assert (ids(pool, choice), choice.taken[0].score) == ([row_id("abc")], 4.0)  # the chosen answer, "abc!"


# difficulty


def test_difficulty_is_the_loss_after_the_prompt_over_the_loss_without_it():
    assert ifd(1.0, 2.0) == 0.5
    assert ifd(0.0, 2.0) == 0.0
    assert ifd(3.0, 2.0) == 1.5
    assert ifd(0.0, 0.0) == math.inf  # certain without any prompt


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, random_llama: Callable[..., Path]) -> Path:
    folder: Path = random_llama(tmp_path_factory.mktemp("model"), ["Say row 1. row 1!"], positions=64)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def loss(folder: Path, asked: str, answer: str) -> float:
    """The mean loss of an answer's tokens and of the token that ends it, in nats, one token at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = f"<|start|>user: {asked}<|end|><|start|>assistant: "
    before, ids = (tokenizer(one, add_special_tokens=False).input_ids for one in (text, f"{text}{answer}<|end|>"))
    start = next(place for place, pair in enumerate(zip([*before, -1], ids, strict=False)) if pair[0] != pair[1])
    with torch.inference_mode():
        logs = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids))) / (len(ids) - start)


def test_difficulty_of_a_model_is_that_of_its_losses(model, tmp_path):
    rows = [chat(f"Say {name}.", f"{name}!", name=row_id(name)) for name in NAMES[:6]]
    rows.append(chat("Say it. " * 30, "It.", name=row_id("long")))  # more than 64 tokens
    block = Difficulty(method="difficulty", of="mine", kind="source", rows=3, checkpoint="base", dtype="float32")
    pool, choice = source_pool(tmp_path, rows), Choice(9)
    found = {pool.key(row.number)[1]: row for row in difficulty.scored(block, pool, choice, model, None)}
    assert [reason for reason, _ in choice.left.values()] == ["too long"]
    assert {*found} == {row.id for row in rows[:6]}
    for name in NAMES[:6]:
        given, alone = loss(model, f"Say {name}.", f"{name}!"), loss(model, "", f"{name}!")
        row = found[row_id(name)]
        assert row.measures == {"given": pytest.approx(given, rel=1e-4), "alone": pytest.approx(alone, rel=1e-4)}
        assert row.score == pytest.approx(given / alone, rel=1e-4)


def test_the_most_difficult_rows_of_at_most_1_are_selected(model, tmp_path, monkeypatch):
    scores = {row_id("a"): 0.4, row_id("b"): 1.2, row_id("c"): 1.0, row_id("d"): 0.9}
    pool = source_pool(tmp_path, [chat("Go.", "Gone.", name=name) for name in scores])
    ranked = [Ranked(number, scores[pool.key(number)[1]]) for number in range(4)]
    monkeypatch.setattr(difficulty, "scored", lambda *_: iter(ranked))
    block = Difficulty(method="difficulty", of="mine", kind="source", rows=2, checkpoint="base")
    choice = difficulty.chosen(block, pool, model, None)
    assert ids(pool, choice) == [row_id("c"), row_id("d")]
    assert sorted(choice.left.values()) == [("not selected", "score 0.4"), ("the prompt doesn't help", "score 1.2")]


# deita


def alternatives(**found: float) -> tuple[tuple[str, float], ...]:
    """Tokens with their probabilities; `_1` is the digit 1."""
    return tuple((name.lstrip("_"), math.log(one)) for name, one in found.items())


def test_a_score_is_the_expectation_over_the_digits():
    logits = (0.0, 0.0, 0.0, 0.0, math.log(2), math.log(4))
    total = math.log(sum(math.exp(one) for one in logits))  # log 10
    # (1 + 2 + 3 + 4 + 5 * 2 + 6 * 4) / 10
    found = expectation([(f"{place}", one - total) for place, one in enumerate(logits, start=1)])
    assert found == pytest.approx(4.4)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"_3": 0.5, "_4": 0.5}, 3.5),
        ({"_4": 0.3, "▁4": 0.6, " 5": 0.1}, 4.1),  # one digit, in two tokens
        ({"_2": 0.6, "The": 0.4}, 2.0),  # other words don't count
        ({"_2": 0.4, "The": 0.6}, None),  # it mostly says something else
        ({"_7": 0.9, "_0": 0.1}, None),
        ({"_16": 1.0}, None),
        ({}, None),
    ],
)
def test_digits_alone_count_and_what_can_not_be_read_is_no_score(found, expected):
    assert expectation(alternatives(**found)) == (None if expected is None else pytest.approx(expected))
    assert expectation(None) is None


@given(st.lists(st.floats(0.001, 1.0), min_size=6, max_size=6))
def test_a_score_is_between_the_digits(weights):
    found = expectation([(f"{place}", math.log(one / sum(weights))) for place, one in enumerate(weights, start=1)])
    assert found is not None
    assert 1.0 <= found <= 6.0


@dataclass
class Scorer:
    """Answers each row by a table of digits and their probabilities, by the words that its prompt holds."""

    table: dict[str, dict[str, float]]
    asked: list[Request] = field(default_factory=list)

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        self.asked += requests
        found = [next(row for word, row in self.table.items() if word in one.turns[0]) for one in requests]
        return [Completion("?", "length", "scorer", alternatives=alternatives(**row) or None) for row in found]


def block(rows: int = 2, **changes: Any) -> Deita:
    values = {"method": "deita", "of": "evol", "kind": "scheme", "rows": rows, "prompts": str(PROMPTS)}
    made = Deita(
        **values | {"complexity": "one", "quality": "other", "embedding": "base", "dtype": "float32"} | changes
    )
    made._name = "best"
    return made


def scores_of(root: Path, complexity: Scorer, quality: Scorer, names: str = "xyz") -> tuple[Any, Choice, list[Ranked]]:
    pool, choice = pool_of(root, [kept(name) for name in names]), Choice(2)
    templates = prompts.load(PROMPTS, deita.NEEDS)
    first, second = (
        deita.scored(measure, pool, choice, scorer, templates[measure], 2)
        for measure, scorer in (("complexity", complexity), ("quality", quality))
    )
    return pool, choice, deita.ranked(first, second)


def test_a_rows_score_is_complexity_times_quality_and_unreadable_ones_have_failed(tmp_path):
    complexity = Scorer({"Say x.": {"_3": 0.5, "_4": 0.5}, "Say y.": {"_6": 1.0}, "Say z.": {"_1": 1.0}})
    quality = Scorer({"x!": {"_4": 0.9, "_5": 0.1}, "y!": {"The": 0.9, "_3": 0.1}, "z!": {"_6": 1.0}})
    pool, choice, ranked = scores_of(tmp_path, complexity, quality)
    assert [pool.key(row.number)[1] for row in ranked] == [row_id("x"), row_id("z")]
    assert [row.score for row in ranked] == [pytest.approx(3.5 * 4.1), pytest.approx(6.0)]  # 14.35
    assert ranked[0].measures == {"complexity": pytest.approx(3.5), "quality": pytest.approx(4.1)}
    (left,) = choice.left.values()
    assert left == ("failed: no score", "quality: '?' (length)")  # and not 3.0
    assert {one.top_logprobs for one in complexity.asked} == {20}
    assert {one.sampling.max_new_tokens for one in quality.asked} == {1}


def test_a_row_without_a_complexity_is_not_asked_for_its_quality(tmp_path):
    complexity = Scorer({"Say x.": {}, "Say y.": {"_2": 1.0}, "Say z.": {"_2": 1.0}})
    quality = Scorer({"": {"_2": 1.0}})
    _, choice, ranked = scores_of(tmp_path, complexity, quality)
    assert (len(quality.asked), len(ranked), len(choice.left)) == (2, 2, 1)


def test_more_unreadable_scores_than_the_bound_are_an_error():
    choice = Choice(2)
    for number in range(2):
        choice.leave(number, deita.UNREADABLE, f"quality: {number}")
    deita.check_failed(block(max_failed_share=0.2), choice, 10)
    with pytest.raises(InputError, match=r"2 of 10 rows dropped\n +2 failed: no score: quality: 0, quality: 1"):
        deita.check_failed(block(max_failed_share=0.1), choice, 10)


def test_all_turns_before_an_answer_are_shown(tmp_path):
    row = chat("Hello.", "Hi.", "Go on.", "I do.", system="Be brief.")
    said = deita.request_of("complexity", "a", row.messages[:-1], "I do.", "{instruction}").turns[0]
    assert said == "user: Hello.\n\nassistant: Hi.\n\nuser: Go on."


def selected(pool: Any, wanted: int, most: float, vectors: dict[str, tuple[float, float]], order: str) -> Choice:
    """A selection of rows in an order of falling scores, by embeddings of their names."""
    choice, by_id = Choice(wanted), {pool.key(number)[1]: number for number in range(len(pool))}
    ranked = [Ranked(by_id[row_id(name)], float(10 - place)) for place, name in enumerate(order)]

    def embed(texts: list[str]) -> Any:
        found = np.array([vectors[text[4]] for text in texts], np.float32)  # "Say a.\n\na!"
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    deita.select(ranked, pool, choice, most, embed)
    return choice


def test_a_row_too_similar_to_a_better_one_is_left_out(tmp_path):
    pool = pool_of(tmp_path, [kept(name) for name in "abcde"])
    vectors = {"a": (1.0, 0.0), "b": (0.95, math.sqrt(1 - 0.95**2)), "c": (0.0, 1.0), "d": (0.6, 0.8), "e": (-1.0, 0.0)}
    choice = selected(pool, 3, 0.9, vectors, "abcde")
    # b with a: 0.95; c with a: 0; d with a: 0.6, with c: 0.8; then there are enough
    assert ids(pool, choice) == [row_id(name) for name in "acd"]
    reasons = {pool.key(number)[1]: why for number, why in choice.left.items()}
    place = next(pool.place(number) for number in range(5) if pool.key(number)[1] == row_id("a"))
    assert reasons == {
        row_id("b"): ("too similar", f"score 9, cosine 0.95 with {place}"),
        row_id("e"): ("not selected", "score 6"),
    }


@pytest.mark.parametrize(("cosine", "stays"), [(0.9, True), (0.901, False)])
def test_a_row_at_the_bound_stays(tmp_path, cosine, stays):
    pool = pool_of(tmp_path, [kept(name) for name in "ab"])
    vectors = {"a": (1.0, 0.0), "b": (cosine, math.sqrt(1 - cosine**2))}
    assert len(selected(pool, 2, 0.9, vectors, "ab").taken) == 1 + stays


def test_the_nearest_row_is_among_those_that_were_kept():
    found = Kept(3)
    assert found.nearest(np.array([1.0, 0.0], np.float32)) is None
    for number, vector in ((7, (1.0, 0.0)), (3, (0.0, 1.0))):
        found.add(number, np.array(vector, np.float32))
    cosine, number = found.nearest(np.array([0.6, 0.8], np.float32)) or (0, 0)
    assert (cosine, number) == (pytest.approx(0.8), 3)


def test_an_embedding_is_the_mean_of_the_last_hidden_states(model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = ["Say row 1.", "Say row 1. row 1! row 1!", "Say it. " * 40]  # the last one has more than 64 tokens
    found = deita.Embedder(model, block(batch_size=2)).embed(texts)
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    for text, one in zip(texts, found, strict=True):
        tokens = torch.tensor([tokenizer(text).input_ids[:64]])
        with torch.inference_mode():
            mean = network(tokens, output_hidden_states=True).hidden_states[-1][0].mean(dim=0)
        assert one.tolist() == pytest.approx((mean / mean.norm()).tolist(), abs=1e-4)
        assert np.linalg.norm(one) == pytest.approx(1.0)


# What is written


def written(root: Path, rows: list[Any], wanted: int, name: str = "best", **values: Any) -> Path:
    """A random selection, written."""
    values = {"method": "random", "of": "evol", "kind": "scheme", "rows": wanted} | values
    made, pool = Ordered(**values), pool_of(root / "data", rows)
    write_selection(made, pool, ordered.chosen(made, pool), root / name)
    return root / name


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_every_row_is_selected_or_left_out_with_a_reason(tmp_path):
    rows = [kept(name) for name in NAMES]
    out = written(tmp_path, rows, 12)
    taken, dropped, places, scores = (lines(out / f"{name}.jsonl") for name in ("rows", "dropped", "places", "scores"))
    assert len(taken) == 12
    assert {row["id"] for row in taken} | {row["row"]["id"] for row in dropped} == {row.id for row in rows}
    assert {row["reason"] for row in dropped} == {"not selected"}
    assert [one["id"] for one in places] == [one["id"] for one in scores] == [row["id"] for row in taken]
    for row, place in zip(taken, places, strict=True):
        assert lines(Path(place["file"]))[place["line"] - 1] == row
    report = json.loads((out / "report.json").read_text())
    assert report == {"found": 30, "rows": 12, "dropped": {"not selected": 18}, "failed": {}, "scores": None}
    again = written(tmp_path / "again", rows, 12)
    assert (out / "rows.jsonl").read_bytes() == (again / "rows.jsonl").read_bytes()


def test_fewer_rows_than_wanted_are_an_error_but_for_a_share(tmp_path):
    rows = [kept(name) for name in NAMES[:8]]
    hint = r"too few rows\n  found:    8\n  expected: 10; a share of 0 may be missing \(selections.best.max_missing"
    with pytest.raises(InputError, match=hint):
        written(tmp_path, rows, 10)
    assert len(lines(written(tmp_path / "less", rows, 10, max_missing_share=0.2) / "rows.jsonl")) == 8


def test_an_empty_scheme_gives_no_selection(tmp_path):
    with pytest.raises(InputError, match="select best: too few rows are left\n  found:    no row at all"):
        written(tmp_path, [], 1, max_missing_share=1.0)


# In a project


@pytest.fixture
def with_selection(tree: Path) -> Path:
    """The built project with a selection of its scheme's rows, and a mix of it and of the same scheme."""
    data = yaml.safe_load(Path("params.yaml").read_text())
    data["selections"] = {"long": {"method": "longest", "of": "evol", "rows": 6}}
    data["mixes"]["all"]["parts"].append("evol_all")
    data["mixes"]["long"] = {"parts": [{"name": "long"}, {"name": "more", "rows": 6}], "eval_rows": 2}
    Path("params.yaml").write_text(yaml.safe_dump(data))
    recipe = load()
    Path("params.resolved.yaml").write_text(yaml.safe_dump(recipe.resolved()))
    assert (recipe.selections["long"].kind, recipe.mixes["long"].parts[0].kind) == ("scheme", "selected")
    common = ["--filtered", "data/filtered", "--source", "data/source"]
    takes = ["--params", "selections.long", "seed", "shards"]
    script("select/ordered").main([*takes, *common, "--out", "data/selected/long"])
    takes = ["--params", "mixes.long", "prompt", "seed", "shards"]
    folders = [*common, "--selected", "data/selected", "--pairs", "data/pairs"]
    script("data/mix").main([*takes, *folders, "--out", "data/mixes/long"])
    return tree


def test_selected_rows_enter_a_mix_and_its_waterfall(with_selection, capsys):
    everything = [row for shard in SHARDS for row in lines(Path(f"data/filtered/evol/{shard}/kept.jsonl"))]
    taken = lines(Path("data/selected/long/rows.jsonl"))
    lengths = sorted((len(row["response"]) for row in everything), reverse=True)
    assert [len(row["response"]) for row in taken] == lengths[:6]
    origins = [row for row in lines(Path("data/mixes/long/origins.jsonl")) if row["part"] == "long"]
    assert {row["kind"] for row in origins} == {"selected"}
    assert {row["id"] for row in origins} == {row["id"] for row in taken}
    for row in origins:
        assert lines(Path(row["file"]))[row["line"] - 1]["id"] == row["id"]
    assert cli.main(["rows", "long", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    steps = {f"{one['step']} {one['name']}": one for one in found["steps"]}
    assert [*steps] == [
        *("source mine", "generate evol", "filter evol", "select long", "source more"),
        *("part (selected) long", "part (source) more", "mix long", "certificate long"),
    ]
    counts = {"read": len(everything), "kept": 6, "reasons": {"not selected": len(everything) - 6}}
    assert steps["select long"].items() >= counts.items()
    assert steps["part (selected) long"]["read"] == 6
    assert found["notes"] == []


def test_a_selection_of_other_rows_than_are_here_is_said(with_selection, capsys):
    path = Path("data/selected/long/report.json")
    report = json.loads(path.read_text())
    report["found"] += 1
    report["dropped"]["not selected"] += 1
    path.write_text(json.dumps(report))
    assert cli.main(["rows", "selections.long"]) == 0
    assert f"select long read {report['found']} rows, but now filter evol has" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_row_that_was_not_selected_is_traced_with_its_reason(with_selection, capsys):
    left = lines(Path("data/selected/long/dropped.jsonl"))[0]
    assert cli.main(["trace", left["row"]["id"], "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    found = next(one for one in steps if one["step"] == "select")
    assert found["left_out"] == {"reason": "not selected", "detail": left["detail"]}
    assert "filter" in {one["step"] for one in steps}


def test_a_selection_has_the_licences_of_its_rows(with_selection):
    recipe = load()
    card = recipe.card("long")
    assert [*card.sources] == ["mine", "more"]
    assert [*card.schemes] == ["evol"]
    assert card.selections["long"]["rows"] == 6
    assert "selections" not in recipe.card("all").model_dump()
    assert {"backend teacher, teacher of evol", "source mine"} <= {what for what, _ in card.inputs}
    assert card.parts["selected long"] == recipe.card("random").parts["scheme evol_random"]


# Checks


def refusal(**sections: Any) -> str:
    data = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(data | sections, sort_keys=False))
    with pytest.raises(RecipeError) as caught:
        load()
    return str(caught.value)


def test_a_selection_of_more_rows_than_there_are_is_refused(tree):
    said = refusal(selections={"some": {"method": "random", "of": "more", "rows": 11}})  # its sample has 10
    assert "selections.some.rows: more rows than there are\n  found:    11 of at most 10 rows of more" in said


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"of": "evo"}, "selections.some.of: no such source\n  found:    evo\n"),
        ({"of": "evol", "method": "difficulty", "checkpoint": "nobody"}, "difficulty for an unknown checkpoint"),
        ({"of": "evol", "method": "longst"}, "selections.some.method"),
        ({"of": "asked"}, "source `asked` has no rows to train on\n  found:    format questions"),
    ],
)
def test_a_selection_of_what_is_not_there_is_refused(tree, selection, said):
    sources = yaml.safe_load(Path("params.yaml").read_text())["sources"]
    Path("asked.jsonl").write_text("{}\n")
    asked = {"path": "asked.jsonl", "format": "questions"}
    assert said in refusal(
        sources=sources | {"asked": asked}, selections={"some": {"method": "random", "rows": 2} | selection}
    )


def test_a_scorer_has_to_give_log_probabilities_and_to_answer_any_prompt(tree):
    backends = yaml.safe_load(Path("params.yaml").read_text())["backends"]
    blind = backends["teacher"] | {"sends_sampling": False}
    values = {"method": "deita", "of": "evol", "rows": 2, "prompts": str(PROMPTS.name), "embedding": "base"}
    Path(PROMPTS.name).write_text(PROMPTS.read_text())
    models = {"base": {"method": "hub", "repository": "a/b", "revision": "0" * 40}}
    scorers, other = {"complexity": "rules", "quality": "blind"}, {"prompts": "other.yaml"}
    Path("other.yaml").write_text("complexity: '{instruction}'\n")
    said = refusal(
        backends=backends | {"blind": blind, "rules": {"kind": "verifier"}},
        models=models,
        selections={
            "some": values | scorers,
            "other": values | {"complexity": "teacher", "quality": "teacher"} | other,
        },
    )
    assert "selections.some.quality: no backend that gives log-probabilities\n  found:    blind" in said
    assert "selections.some.complexity: a backend that answers no free prompt\n  found:    rules" in said
    assert (
        "selections.other.prompts: prompts that this method can't fill\n  found:    other.yaml: the prompts are" in said
    )
    assert said.count("\n  found:") == 3


def test_a_checkpoint_that_is_trained_on_rows_that_it_selects_is_a_circle(tree):
    models = {"base": {"method": "hub", "repository": "a/b", "revision": "0" * 40}}
    selection = {"method": "difficulty", "of": "evol", "rows": 2, "checkpoint": "sft"}
    mixes = {"hard": {"parts": [{"kind": "selected", "name": "some"}], "eval_rows": 1}}
    stages = {"sft": {"init_from": "base", "mix": "hard"}}
    said = refusal(models=models, selections={"some": selection}, mixes=mixes, stages=stages)
    assert "selections.some.checkpoint: a checkpoint is built from itself\n  found:    sft <- sft\n" in said


def test_a_part_that_is_no_selection_is_refused(tree):
    said = refusal(mixes={"hard": {"parts": [{"kind": "selected", "name": "evol"}], "eval_rows": 1}})
    assert "mixes.hard.parts.0.name: no such selection\n  found:    evol\n" in said


def test_a_recipe_without_selections_has_no_value_for_them(tree):
    recipe = load()
    assert "selections" not in recipe.values()
    assert "selections" not in recipe.page().model_dump()


MATRIX = """\
recipe: mine
sources:
  mine: {path: rows.jsonl, format: chat}
  other: {path: rows.jsonl, format: chat}
models:
  base: {method: local, path: model}
selections:
  some: {method: random, of: mine, rows: 10}
mixes:
  first: {parts: [some]}
  held: {parts: [other]}
stages:
  sft: {init_from: base, mix: first}
evals:
  scored: {method: likelihood, checkpoints: [sft], mixes: [held]}
matrix:
  sizes:
    eval: scored
    score: [sft]
    axes:
      rows: {few: {}, many: {selections.some.rows: 20}}
"""


def test_a_level_of_a_matrix_copies_a_selection_and_what_is_made_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}\n")
    Path("model").mkdir()
    Path("model/model.safetensors").touch()
    Path("model/chat_template.jinja").write_text("{{ messages[-1].content }}")
    Path("params.yaml").write_text(MATRIX)
    recipe = load()
    sizes = {name: one.rows for name, one in recipe.selections.items()}
    assert sorted(sizes.values()) == [10, 20]
    taken = {name: sizes[mix.parts[0].name] for name, mix in recipe.mixes.items() if name != "held"}
    assert sorted(taken.values()) == [10, 20]
    assert sorted(taken[stage.mix] for stage in recipe.stages.values()) == [10, 20]


def test_a_seed_of_its_own_draws_other_rows(tmp_path):
    folders(tmp_path, schemes={"evol": [kept(name) for name in NAMES]})
    values = {"method": "random", "of": "evol", "kind": "scheme", "rows": 9}
    found = []
    for block in (Ordered(**values), Ordered(**values, seed=0), Ordered(**values, seed=7)):
        pool = pooled(block, tmp_path / "filtered", tmp_path, 0, 2)
        found.append(ids(pool, ordered.chosen(block, pool)))
    assert found[0] == found[1] != found[2]
