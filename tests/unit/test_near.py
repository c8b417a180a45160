"""Near-duplicates: which rows are alike, which one stays, what is written about it, and that no split divides them."""

import itertools
import json
import random

import pytest
import reading
from hypothesis import given
from hypothesis import strategies as st
from mixes import folders, kept, preference

from bezoar.steps.data import near
from bezoar.steps.data.mix import Mix, NearDuplicates, Part
from bezoar.steps.data.mixing import write_mix
from bezoar.steps.data.near import Clusters, Texts
from bezoar.steps.data.shingles import SIZE, jaccard, shingles, words_of

WORDS = [f"word{number}" for number in range(2000)]
SYSTEM = "Be kind."


def text(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def edited(words: str, place: int = 50) -> str:
    """A text with another word at a place."""
    found = words.split()
    return " ".join([*found[:place], "other", *found[place + 1 :]])


LONG = text(100)


def alike(first, second, threshold=0.8, prompts=False):
    """The similarity of two rows (prompt, response, and perhaps system text) that are near-duplicates; else None."""
    texts = Texts(threshold, prompts=prompts)
    for prompt, response, *system in (first, second):
        texts.add(prompt, response, *system or [""])
    found = list(Clusters([texts], 2).thin([0, 1]))
    texts.close()
    return found[0][2] if found else None


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        (("Sing.", LONG), ("sing!", LONG.upper()), True),
        (("Sing.", LONG), ("Sing.", edited(LONG)), True),  # 91 of 101 shingles
        (("Sing.", LONG), ("Sing.", edited(edited(edited(LONG, 20)), 80)), False),  # 81 of 111
        (("Sing.", LONG), ("Dance.", LONG), False),  # a short text is only like itself
        (("Sing now.", "La"), ("Sing  NOW", "la."), True),
        (("Sing now.", "La"), ("Sing now.", "Lo"), False),
        ((f"{LONG} Who?", "Ada."), (f"{LONG} Where?", "Paris."), False),  # two questions about one passage
        ((f"{LONG} Who?", "Ada."), (f"{LONG} Where?", "Ada."), True),
        (("What is 2 + 3?", "5"), ("What is 2 - 3?", "5"), False),
        (("Is a < b?", "Yes"), ("Is a > b?", "Yes"), False),
        (("well-known", "Yes"), ("well known", "Yes"), True),
        (("Say caf\u00e9", "Yes"), ("Say cafe\u0301", "Yes"), True),
        (("\uff33\uff49\uff4e\uff47", "Yes"), ("sing", "Yes"), True),
        (("", "Yes"), ("", "Yes"), True),
        (("???", "Yes"), ("!", "Yes"), True),
        (("Sing.", "La", "Be brief."), ("Sing.", "La", "Be long."), False),
        (("Sing.", "La", "Be brief."), ("Sing.", "La", "be brief"), True),
    ],
)
def test_rows_are_near_duplicates_if_prompts_and_responses_are(first, second, near):
    assert (alike(first, second) is not None) == near


def test_a_character_stands_for_a_word_where_a_script_has_no_spaces():
    chinese = "".join(chr(0x4E00 + number * 7) for number in range(80))
    assert alike(("\u554f", chinese), ("\u554f", chinese[:40] + "\u4e01" + chinese[41:]))
    assert not alike(("\u554f", chinese), ("\u554f", chinese[40:] + chinese[:20]))
    assert words_of("\u6771\u4eacTower 2, \u0e01\u0e02") == ["\u6771", "\u4eac", "tower", "2", "\u0e01", "\u0e02"]


def compared(monkeypatch, margin, answers):
    """How many of some rows' pairs are compared in full, and which rows are lost."""
    texts, pairs = Texts(0.8, prompts=False), []
    for answer in answers:
        texts.add("Sing.", answer, "")
    similarity = texts.similarity
    monkeypatch.setattr(near, "MARGIN", margin)
    monkeypatch.setattr(texts, "similarity", lambda *rows: pairs.append(rows) or similarity(*rows))
    lost = list(Clusters([texts], len(answers)).thin(range(len(answers))))
    texts.close()
    return len(pairs), lost


def test_few_rows_of_one_template_are_compared_in_full_and_the_same_ones_are_lost(monkeypatch):
    answers = []
    for seed in range(300):  # two rows have about half of their shingles in common, and some have more
        chance, words = random.Random(seed), LONG.split()
        for place in chance.sample(range(100), 3):
            words[place] = f"own{seed}"
        answers.append(" ".join(words))
    answers += [edited(answer, 99) for answer in answers[:5]]
    every, few = (compared(monkeypatch, margin, answers) for margin in (1.0, near.MARGIN))
    assert every[1] == few[1] != []
    assert 3 * few[0] < every[0]


def test_prompts_alone_are_compared_if_asked_for():
    assert alike((LONG, "a"), (edited(LONG), "b"), prompts=True)
    assert not alike((LONG, "a"), (edited(LONG), "b"))


def sets_of(one: str) -> set[tuple[str, ...]]:
    """Shingles as words."""
    words = words_of(one)
    return {tuple(words[place : place + SIZE]) for place in range(max(1, len(words) - SIZE + 1))} if words else set()


@given(st.lists(st.sampled_from("abc"), max_size=20), st.lists(st.sampled_from("abc"), max_size=20))
def test_the_similarity_is_that_of_the_sets_of_words(first, second):
    one, other = (sets_of(" ".join(words)) for words in (first, second))
    expected = len(one & other) / len(one | other) if one | other else 1.0
    assert jaccard(*(shingles(" ".join(words)) for words in (first, second))) == expected


def mixed(root, rows, parts=("evol",), **near):
    """Ids of the examples, and the dropped rows, of a mix of schemes."""
    where = folders(root, schemes=rows)
    block = Mix(parts=[Part(kind="scheme", name=one) for one in parts], near_duplicates=NearDuplicates(**near))
    examples, dropped, report = reading.mixed(block, where, SYSTEM, None, 0)
    return [one["id"] for one in examples], dropped, report


def rated(name, response, rating, asked="Tell.", **keys):
    return kept(name, **keys).model_copy(update={"instruction": asked, "response": response, "rating": rating})


def others(count):
    """Rows that are like no other."""
    return [rated(f"x{number}", text(50, number + 5), 1.0, f"Say {number}.") for number in range(count)]


ROWS = [
    rated("a", LONG, 5.0),
    rated("b", edited(LONG), 9.0),
    rated("c", LONG.upper(), None),
    rated("d", text(50, 1), 1.0),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_best_rated_row_stays_whatever_the_order(tmp_path, order):
    found, dropped, report = mixed(tmp_path, {"evol": [ROWS[number] for number in order]})
    assert sorted(found) == sorted([ROWS[1].id, ROWS[3].id])
    assert {(row.row["id"], row.row["kept"], row.reason) for row in dropped} == {
        (ROWS[0].id, ROWS[1].id, "near-duplicate"),
        (ROWS[2].id, ROWS[1].id, "near-duplicate"),
    }
    assert len({row.row["cluster"] for row in dropped}) == 1
    assert {row.row["similarity"] for row in dropped} == {round(91 / 101, 4)}
    assert report["parts"][0]["found"] == 4


def test_of_rows_with_the_same_rating_that_with_the_first_id_stays(tmp_path):
    rows = [rated(name, edited(LONG, place), 9.0) for place, name in ((10, "a"), (11, "b"), (12, "c"))]
    assert mixed(tmp_path, {"evol": rows})[0] == [min(row.id for row in rows)]


def test_a_row_of_a_later_part_goes_for_one_of_an_earlier_part(tmp_path):
    rows = {"lamini": [rated("a", LONG, 1.0)], "evol": [rated("b", edited(LONG), 9.0), rated("c", text(40, 2), 9.0)]}
    found, (dropped,), _ = mixed(tmp_path, rows, ("lamini", "evol"))
    assert found == [rows["lamini"][0].id, rows["evol"][1].id]
    assert (dropped.row["part"], dropped.row["kept"]) == ("evol", rows["lamini"][0].id)
    assert "evol/0000/kept.jsonl:1 is near" in dropped.detail


def test_no_row_goes_for_one_that_is_not_drawn(tmp_path):
    rows = [rated(f"a{number}", text(60, number), 5.0) for number in range(6)]
    twins = [rated(f"b{number}", edited(text(60, number), 30), 5.0) for number in range(6)]
    where = folders(tmp_path, schemes={"lamini": rows, "evol": twins})
    parts = [Part(kind="scheme", name="lamini", rows=2), Part(kind="scheme", name="evol")]
    examples, dropped, _ = reading.mixed(Mix(parts=parts), where, SYSTEM, None, 0)
    assert (len(examples), len(dropped)) == (6, 2)
    assert {row.row["kept"] for row in dropped} <= {one["id"] for one in examples}


def test_a_tree_of_rewrites_may_be_exempt(tmp_path):
    rows = [
        rated("a", LONG, 5.0, family="t"),
        rated("b", edited(LONG), 5.0, family="t"),
        rated("c", edited(LONG, 9), 5.0),
    ]
    assert len(mixed(tmp_path / "all", {"evol": rows})[0]) == 1
    found, dropped, _ = mixed(tmp_path / "trees", {"evol": rows}, within_families=False)
    both = {rows[0].id, rows[1].id}
    assert set(found) in ({rows[2].id}, both)  # the third isn't of their family
    assert all(row.row["kept"] in found for row in dropped)


def test_without_the_check_only_rows_with_the_same_texts_are_dropped(tmp_path):
    where = folders(tmp_path, schemes={"evol": [*ROWS, rated("e", LONG, 5.0)]})
    block = Mix(parts=[Part(kind="scheme", name="evol")], near_duplicates=None)
    examples, dropped, _ = reading.mixed(block, where, SYSTEM, None, 0)
    assert (len(examples), [row.reason for row in dropped]) == (3, ["duplicate", "duplicate"])


def test_pairs_are_compared_with_both_responses_only_where_a_mix_has_both(tmp_path):
    rows = [preference("a", ["Hi"]), preference("b", ["Hi"]).model_copy(update={"chosen": "a!", "rejected": "another"})]
    where = folders(tmp_path, sources={"pairs": rows})
    for form, count in (("preference", 2), ("prompt_completion", 1)):
        block = Mix(format=form, parts=[Part(kind="source", name="pairs")])
        assert len(reading.mixed(block, where, SYSTEM, None, 0)[0]) == count


def written(root, name, rows, earlier=(), eval_rows=3, **near):
    """A mix's files by name, as rows."""
    where = folders(root / name, schemes={"evol": rows})
    part = Part(kind="scheme", name="evol")
    block = Mix(parts=[part], eval_rows=eval_rows, max_missing_share=1.0, near_duplicates=NearDuplicates(**near))
    out = root / "mixes" / name
    write_mix(block, where, None, [root / "mixes" / one / "train.jsonl" for one in earlier], SYSTEM, 0, out)
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in out.glob("*.jsonl")}


def test_clusters_are_in_the_list_of_origins_and_of_dropped_rows(tmp_path):
    found = written(tmp_path, "some", [*ROWS, *others(5)])
    clusters = {row["id"]: row["cluster"] for row in found["origins"] if row["cluster"]}
    assert set(clusters) == {ROWS[1].id}
    assert {row["row"]["cluster"] for row in found["dropped"]} == set(clusters.values())


@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_held_out_that_is_like_one_that_an_earlier_mix_trains_on(tmp_path, seed):
    first = [rated(f"a{number}", text(60, number), 5.0, f"Tell {number}") for number in range(8)]
    second = [rated(f"b{number}", edited(text(60, number), 30 + seed), 5.0, f"Tell, {number}") for number in range(12)]
    before = written(tmp_path, "before", first, eval_rows=2)
    after = written(tmp_path, "after", second, ["before"], eval_rows=4)
    trained = {row["id"] for row in before["train"]}
    like = {f"b{number}" for number, row in enumerate(first) if row.id in trained}
    held = {row["id"] for row in after["eval"]}
    assert len(held) == 4
    assert not held & {row.id for number, row in enumerate(second) if f"b{number}" in like}
    assert not after["dropped"]


def test_rows_of_a_tree_that_may_stay_are_on_one_side(tmp_path):
    rows = [
        rated("a", LONG, 9.0, "Tell 1", family="t"),
        rated("b", edited(LONG), 8.0, "Tell, 1", family="t"),
        *others(7),
    ]
    found = written(tmp_path, "some", rows, within_families=False)
    sides = {row["split"] for row in found["origins"] if row["cluster"]}
    assert (len(found["origins"]), len(sides)) == (9, 1)
