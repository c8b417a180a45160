"""Evaluation items in training rows: planted ones are found by kind, other rows are not; certificate and clearance."""

import json
import random
from pathlib import Path

import leaks
import pytest
from mains import script

from bezoar.errors import BezoarError
from bezoar.steps.data.contamination.block import Contamination
from bezoar.steps.data.contamination.certificate import certificate, find, interval, write_certificate
from bezoar.steps.data.contamination.certified import write_clearance
from bezoar.steps.data.contamination.items import Item, Items
from bezoar.steps.data.contamination.words import forms, has_look_alikes, plain, without_look_alikes, words
from bezoar.steps.data.rows import write_rows

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"  # 15 words
MIDDLE = "one two three four five six seven eight nine"  # 9 words
NINE = "uno due tre quattro cinque sei sette otto nove"
SHORT = "one two three four five six seven"  # 7 words
OTHER = "some words that nobody asked about in any evaluation of this recipe at all"


def changed(text, *places):
    """The text with other words at some places, from 0."""
    return " ".join(f"other{place}" if place in places else word for place, word in enumerate(text.split()))


def item(*texts, name="1", task="questions", field="turns", **more):
    return Item(eval="bench", task=task, id=name, texts={field: list(texts)}, **more)


def mix(folder, rows, held=()):
    """A mix with rows, and with one more that repeats nothing in each split."""
    write_rows(folder / "train.jsonl", [*rows, leaks.row("free", OTHER, "Yes.")])
    write_rows(folder / "eval.jsonl", [*held, leaks.row("free too", OTHER, "No.")])
    return folder


def rules_of(folder, items, *rows, overlap=0.7):
    """By row with a match, its rules."""
    found = find(mix(folder, rows), Items(items), overlap)
    return {found.places[row].id: {one.rule for one in matches} for row, matches in found.matches.items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ｆｕｌｌ　ｗｉｄｔｈ！", "full width"),
        ("ze\u200bro\u2060 wi\u200ddth", "zero width"),
        ("so\u00adft hyp\u00adhen", "soft hyphen"),
        ("cafe\u0301 Ångström", "CAFÉ angstrom"),
        ("ﬁne Straße", "FINE STRASSE"),
        ("𝐛𝐨𝐥𝐝 ⓒⓘⓡⓒⓛⓔ", "bold circle"),
        ("snake_case, well-known", "snake case well known"),
        ("a\x00b\x07 c", "ab c"),
        ("カタカナ がぎ", "ｶﾀｶﾅ か\u3099き\u3099"),
        ("한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"),
        ("ΟΔΟΣ", "οδος"),
        ("ВЫБЕРИТЕ", "выберите"),
    ],
)
def test_equal_texts_in_other_forms_have_the_same_words(one, other):
    assert words(plain(one)) == words(plain(other)) != []


def test_a_character_of_a_script_without_spaces_is_a_word():
    assert words(plain("你好吗? 日本語です ok")) == ["你", "好", "吗", "日", "本", "語", "て", "す", "ok"]


def test_look_alike_letters_are_those_of_ascii():
    assert not has_look_alikes("plain text with an e and an a")
    for text in ("сору", "Нot", "Νew", "Іt", "раste"):
        assert has_look_alikes(plain(text))
        assert words(without_look_alikes(plain(text)))[0].isascii(), text
    assert words(without_look_alikes("сору Νew Іt")) == ["copy", "new", "it"]


def test_an_item_is_looked_for_with_its_punctuation_gone():
    assert forms("Don't mix e.g. 3.5") == [
        ["don", "t", "mix", "e", "g", "3", "5"],
        ["dont", "mix", "eg", "35"],
        ["dont", "mix", "e", "g", "3", "5"],
    ]
    assert forms("one two") == [["one", "two"]]


@pytest.mark.parametrize(
    ("text", "row", "rules"),
    [
        (LONG, LONG, {"whole"}),
        (LONG, f"Before. {LONG.upper()}! After.", {"whole"}),
        (LONG, LONG.replace(" ", ",\n"), {"whole"}),
        (LONG, " ".join(LONG.split()[:13]), {"13 words"}),
        (LONG, " ".join(LONG.split()[:9]), {"8 words"}),  # 9 of 15
        (LONG, " ".join(LONG.split()[:7]), None),
        (LONG, changed(LONG, 1), {"13 words"}),  # words 3 to 15 are 13 in a row
        (LONG, changed(LONG, 7), {"overlap"}),  # 7 before and 7 after
        (LONG, changed(LONG, 4, 9), {"overlap"}),
        (LONG, changed(LONG, 2, 5, 8, 11), None),
        (MIDDLE, f"so {MIDDLE} so", {"whole"}),  # of fewer than 13 words, the whole
        (MIDDLE, changed(MIDDLE, 0), None),
        (SHORT, SHORT.title() + "?", {"whole"}),  # of fewer than 8 words, as a whole message only
        (SHORT, f"so {SHORT}", None),
        (SHORT, changed(SHORT, 6), None),
        ("Why not?", "Why not?", None),  # of fewer than 4 words, never
    ],
)
def test_what_counts_as_a_leak(tmp_path, text, row, rules):
    found = rules_of(tmp_path, [item(text)], leaks.row("a", row, "Yes."))
    assert found == ({"a": rules} if rules else {})


def test_a_short_item_is_a_message_that_asks_and_not_one_that_answers(tmp_path):
    assert rules_of(tmp_path, [item(SHORT)], leaks.row("a", OTHER, SHORT)) == {}


def test_short_texts_of_an_item_are_looked_for_as_one(tmp_path):
    one = Item(eval="bench", task="t", id="1", texts={"stem": ["the sun gives us"], "choices": [SHORT, "a b c"]})
    row = leaks.row("a", f"So: the sun gives us {SHORT} a b c", "Yes.")
    assert rules_of(tmp_path, [one], row, leaks.row("b", f"So: {SHORT} the sun", "Yes.")) == {"a": {"whole"}}


@pytest.mark.parametrize("column", ["system", "prompt", "completion", "chosen", "rejected"])
def test_every_message_of_a_row_is_compared(tmp_path, column):
    row = leaks.row("a", "Say it.", "Yes.", system="Be kind.")
    row |= {name: [{"role": "assistant", "content": "No."}] for name in ("chosen", "rejected")}
    place = row["prompt"][0] if column == "system" else row[column][-1]
    place["content"] = LONG
    assert rules_of(tmp_path, [item(LONG)], row) == {"a": {"whole"}}


def test_an_items_text_may_start_in_one_message_and_end_in_another(tmp_path):
    rows = [leaks.row("a", *leaks.PLANTS["halves in question and response"](random.Random(0), LONG))]
    rows.append(leaks.row("b", *leaks.PLANTS["halves in two turns"](random.Random(0), LONG)))
    assert set(rules_of(tmp_path, [item(LONG)], *rows)) == {"a", "b"}


@pytest.fixture(scope="module")
def world():
    """Made-up words, and items of 13 words or more."""
    generator = random.Random(3)
    words = leaks.vocabulary(generator)
    return generator, words, leaks.items(generator, words, 60)


@pytest.mark.parametrize("kind", leaks.PLANTS)
def test_planted_leaks_are_found_by_kind(tmp_path, world, kind):
    _, words, texts = world
    rows = [*leaks.planted(kind, texts), *leaks.disjoint(random.Random(5), words, 300)]
    found = rules_of(tmp_path, [item(text, name=str(place)) for place, text in enumerate(texts)], *rows)
    hits = {name for name in found if name.startswith(kind)}
    assert set(found) == hits  # no false alarm
    least = {"one word edited": 57, "three words edited": 30, "halves in two turns": 57}
    assert len(hits) >= (60 if kind in leaks.ALIKE else least.get(kind, 60)), kind


@pytest.mark.parametrize("kind", sorted(leaks.ALIKE - {"full-width", "bold and circled letters"}))
def test_short_items_are_found_in_all_their_forms(tmp_path, kind):
    texts = [f"Name the capital of {one}-land, please." for one in ("Alpha", "Beta", "Gamma", "Delta")]
    texts += [f"Tell me, in short: what's a {one} good for in a home?" for one in ("lamp", "fork", "rug")]
    rows = list(leaks.planted(kind, texts))
    found = rules_of(tmp_path, [item(text, name=str(place)) for place, text in enumerate(texts)], *rows)
    missing = {row["id"] for row in rows} - set(found)
    # of fewer than 8 words only a message that asks, and nothing around it, is one
    assert len(missing) == (4 if kind in ("framed", "response") else 0), missing


CODE = "def total(values, start=0):\n    for value in values:\n        start += value['price'] * 2\n    return start\n"
MATH = r"Let $f(x) = 3x^2 + 5x - 7$. Find the sum of all real $x$ such that $f(f(x)) = 0$ and $x > -2$."
CHINESE = "请用三句话解释一下为什么天空在白天看起来是蓝色的, 而在日落的时候看起来是红色的?"
JAPANESE = "次の文章を読んで、筆者が最も伝えたいことを三十字以内でまとめてください。"


@pytest.mark.parametrize("text", [CODE, MATH, CHINESE, JAPANESE])
@pytest.mark.parametrize("kind", ["verbatim", "framed", "zero-width", "punctuation", "halves in two turns"])
def test_code_math_and_scripts_without_spaces_are_found(tmp_path, text, kind):
    one, two = text[: len(text) // 2], text[len(text) // 2 :]
    turns = (one, "Go on.", two, "Yes.") if "halves" in kind else leaks.PLANTS[kind](random.Random(1), text)
    assert set(rules_of(tmp_path, [item(text)], leaks.row("a", *turns))) == {"a"}


def test_boilerplate_that_many_rows_share_with_an_item_is_no_leak(tmp_path):
    generator = random.Random(2)
    words = leaks.vocabulary(generator)
    said = leaks.SYSTEMS[1]
    texts = [f"{said} {leaks.sentence(generator, words, 12)}" for _ in range(5)]
    rows = [leaks.row(f"row{n}", leaks.sentence(generator, words, 9), "Yes.", system=said) for n in range(40)]
    items = [item(text, name=str(place)) for place, text in enumerate(texts)]
    assert rules_of(tmp_path, items, *rows) == {}
    assert set(rules_of(tmp_path, items, *rows, leaks.row("a", texts[0], "Yes."))) == {"a"}
    few = [leaks.row(f"row{n}", "Yes.", "Yes.", system=said) for n in range(3)]
    assert len(rules_of(tmp_path, items, *few)) == 3  # as few rows as that may be leaks


def test_an_item_that_many_rows_repeat_is_one_in_each_of_them(tmp_path):
    rows = [leaks.row(f"row{place}", LONG, f"Answer {place}.") for place in range(50)]
    assert len(rules_of(tmp_path, [item(LONG)], *rows)) == 50


def test_a_request_of_every_day_is_told_apart_from_a_leak_by_its_number(tmp_path):
    rows = [leaks.row(f"row{place}", "Can you say more?", f"Answer {place}.") for place in range(11)]
    few, many = (find(mix(tmp_path, rows[:number]), Items([item("Can you say more?")]), 0.7) for number in (10, 11))
    assert (len(few.matches), few.everyday) == (10, {})
    assert (many.matches, list(many.everyday.values())) == ({}, [11])
    said = certificate("m", many, [], Contamination())
    assert said["everyday"] == [{"eval": "bench", "task": "questions", "id": "1", "field": "turns", "rows": 11}]


def test_equal_texts_of_several_items_are_all_named(tmp_path):
    found = find(
        mix(tmp_path, [leaks.row("a", LONG, "Yes.")]), Items([item(LONG), item(LONG, name="2", field="x")]), 0.7
    )
    said = certificate("m", found, [], Contamination())
    assert [(one["id"], one["rows"][0]["field"]) for one in said["items"]] == [("1", "turns"), ("2", "x")]


def test_rows_are_found_across_batches_and_in_both_splits(tmp_path, monkeypatch):
    monkeypatch.setattr("bezoar.steps.data.contamination.match.BATCH", 20)
    rows = [leaks.row(f"row{place}", LONG if place % 7 == 0 else OTHER, "Yes.") for place in range(30)]
    found = find(mix(tmp_path, rows, rows[:2]), Items([item(LONG)]), 0.7)
    assert found.rows == {"train": 31, "eval": 3}
    assert [(one.split, one.id) for row, one in sorted(found.places.items()) if row in found.matches] == [
        *(("train", f"row{place}") for place in range(0, 30, 7)),
        ("eval", "row0"),
    ]


def test_without_items_nothing_matches(tmp_path):
    assert rules_of(tmp_path, [], leaks.row("a", LONG, "Yes.")) == {}
    assert rules_of(tmp_path, [item("", "?!")], leaks.row("a", "", "...")) == {}


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Runs the two scripts on a mix with leaks; returns the folder."""
    monkeypatch.chdir(tmp_path)

    def run(*rows, held=(), **block):
        Path("params.yaml").write_text(json.dumps({"contamination": block}))
        mix(Path("mixes/all"), rows, held)
        targets = [item(LONG), item(NINE, name="2"), item("a b c d e f g h i j", name="f", fewshot=True)]
        write_rows("targets/bench/questions.jsonl", targets)
        flags = "--mix mixes/all --targets targets/bench/questions.jsonl --out all.json"
        script("data/certificate").main(["--params", "contamination", *flags.split()])
        script("data/certified").main("--mix mixes/all --certificate all.json --out certified/all".split())
        return json.loads(Path("all.json").read_text())

    return run


def clear():
    script("data/clearance").main(["--certificate", "all.json", "--out", "cleared/all.json"])


def names_in(split):
    return [json.loads(line)["id"] for line in Path(f"certified/all/{split}.jsonl").read_text().splitlines()]


def test_rows_that_repeat_items_are_dropped_with_the_item_named(job):
    said = job(
        leaks.row("a", changed(LONG, 7), "Yes."), leaks.row("b", OTHER, "Yes."), held=[leaks.row("c", NINE, "No.")]
    )
    assert (names_in("train"), names_in("eval")) == (["b", "free"], ["free too"])
    dropped = [json.loads(line) for line in Path("certified/all/dropped.jsonl").read_text().splitlines()]
    assert dropped[0]["reason"] == "evaluation item"
    assert dropped[0]["detail"] == "bench questions 1, turns: overlap, 93%"
    assert [one["row"] for one in dropped] == [{"split": "train", "id": "a"}, {"split": "eval", "id": "c"}]
    assert (said["rows"], said["matching_rows"]) == ({"train": 3, "eval": 2}, {"train": 1, "eval": 1})
    low, high = interval(2, 2)
    shown = {"items": 2, "matched": 2, "share": 1.0, "low": low, "high": high, "fewshot": 1, "fewshot_matched": 0}
    assert said["evaluations"] == {"bench": {"questions": shown}}
    found = {"split": "train", "line": 1, "id": "a", "field": "turns", "rule": "overlap", "share": 0.9333}
    assert said["items"][0] == {"eval": "bench", "task": "questions", "id": "1", "fewshot": False, "rows": [found]}
    assert len(said["targets"][0]["sha256"]) == 64
    clear()
    assert json.loads(Path("cleared/all.json").read_text()) == {"mix": "all", "passes": True}


def test_what_stays_is_written_as_it_was(job):
    Path("mixes/all").mkdir(parents=True)
    job(leaks.row("b", OTHER + " «é» \u2028", "Yes."))
    for split in ("train", "eval"):
        assert Path(f"certified/all/{split}.jsonl").read_bytes() == Path(f"mixes/all/{split}.jsonl").read_bytes()


def test_block_closes_the_gate_and_drops_nothing(job):
    said = job(leaks.row("a", LONG, "Yes."), policy="block")
    assert not said["passes"]
    assert names_in("train") == ["a", "free"]
    with pytest.raises(BezoarError) as error:
        clear()
    assert str(error.value) == (
        "mix all is not fit to train on\n  found:    1 of 3 rows repeat evaluation items, and contamination.policy is "
        "block; bench questions 1 in 1 rows\n  expected: no row that repeats an evaluation item, or few rows to drop\n"
        "hint: all.json names each item with its rows; contamination.policy: drop trains without them"
    )
    assert not Path("cleared").exists()


def test_block_lets_a_mix_without_leaks_pass(job):
    assert job(leaks.row("a", OTHER, "Yes."), policy="block")["passes"]
    clear()
    assert Path("cleared/all.json").exists()


def test_a_mix_that_would_lose_too_much_does_not_pass(job):
    said = job(*(leaks.row(f"row{place}", LONG, "Yes.") for place in range(3)))
    assert said["reasons"] == ["3 of 5 rows repeat evaluation items, and contamination.max_dropped_share is 0.5"]
    with pytest.raises(BezoarError, match="is not fit to train on"):
        clear()


def test_a_mix_with_a_split_that_would_be_empty_does_not_pass(tmp_path):
    write_rows(tmp_path / "train.jsonl", [leaks.row(f"row{place}", OTHER, "Yes.") for place in range(9)])
    write_rows(tmp_path / "eval.jsonl", [leaks.row("a", LONG, "Yes.")])
    write_rows(tmp_path / "items.jsonl", [item(LONG)])
    write_certificate(tmp_path, [tmp_path / "items.jsonl"], Contamination(), tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["reasons"] == ["no row of the eval split is left"]
    with pytest.raises(BezoarError):
        write_clearance(tmp_path / "m.json", tmp_path / "cleared.json")


def test_a_new_item_that_no_row_repeats_leaves_rows_and_clearance_as_they_are(job):
    """Which is why training isn't done again: its inputs are these files and not the certificate."""
    job(leaks.row("a", LONG, "Yes."), leaks.row("b", OTHER, "Yes."))
    clear()
    files = ["certified/all/train.jsonl", "certified/all/eval.jsonl", "cleared/all.json"]
    before, old = {path: Path(path).read_bytes() for path in files}, Path("all.json").read_bytes()
    write_rows("targets/more/questions.jsonl", [item("a new question of another evaluation that nobody has seen yet")])
    targets = ["targets/bench/questions.jsonl", "targets/more/questions.jsonl"]
    flags = ["--mix", "mixes/all", "--targets", *targets, "--out", "new.json"]
    script("data/certificate").main(["--params", "contamination", *flags])
    script("data/certified").main("--mix mixes/all --certificate new.json --out again/all".split())
    script("data/clearance").main(["--certificate", "new.json", "--out", "again.json"])
    again = ["again/all/train.jsonl", "again/all/eval.jsonl", "again.json"]
    assert [Path(path).read_bytes() for path in again] == list(before.values())
    assert Path("new.json").read_bytes() != old


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 0, 0, 1), (0, 41000, 0, 0.0000937), (5, 10, 0.2366, 0.7634)]
)
def test_the_interval_of_a_share_is_wilsons(hits, trials, low, high):
    assert interval(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_turns_of_real_questions_are_found_verbatim_and_inside_a_text(tmp_path, real):
    questions = [json.loads(line) for line in (real / "mt_bench" / "question.jsonl").read_text().splitlines()]
    items = [item(*one["turns"], name=str(one["question_id"])) for one in questions]
    turns = [turn for one in questions for turn in one["turns"]]
    assert len(turns) == 160
    assert len(rules_of(tmp_path, items, *leaks.planted("verbatim", turns))) == 160
    long = [turn for turn in turns if len(words(plain(turn))) >= 8]
    assert len(rules_of(tmp_path, items, *leaks.planted("framed", long))) == len(long)


def test_real_instructions_hold_no_question(tmp_path, real):
    questions = [json.loads(line) for line in (real / "mt_bench" / "question.jsonl").read_text().splitlines()]
    items = [item(*one["turns"], name=str(one["question_id"])) for one in questions]
    dolly = [json.loads(line) for line in (real / "dolly_sample.jsonl").read_text().splitlines()]
    rows = [leaks.row(f"row{place}", one["instruction"], one["response"] or "-") for place, one in enumerate(dolly)]
    assert rules_of(tmp_path, items, *rows) == {}
