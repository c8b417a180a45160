"""Mixes: TRL's columns, whole families on one side of the split, shares, and what is cut to fit."""

import json
import logging
import random
from collections import Counter
from pathlib import Path

import pytest
import reading
from mixes import chat, folders, kept, preference
from reading import split
from templates import Bytes, Words, said, student_prompt

from bezoar.steps.data import mixing
from bezoar.steps.data.draw import Draw
from bezoar.steps.data.examples import Limit, Window, example_of
from bezoar.steps.data.families import KEYS, first_turn
from bezoar.steps.data.mix import Mix, Part
from bezoar.steps.data.rows import PreferenceRow, SeedRow, dialogue, row_id

SYSTEM = "Be kind."


# "### System: Be kind. ### Instruction: ### Response:" has 8 words, and an answer ends with one more
TEMPLATE, END = 8, 1


def window(total, prompt):
    return Window(Words(), Limit(tokenizer="tiny", total=total, prompt=prompt), SYSTEM)


def numbers(count, word="w"):
    return " ".join(f"{word}{number}" for number in range(count))


def block(*parts, form="prompt_completion", eval_rows=1):
    made = [Part(kind=kind, name=name, rows=rows) for kind, name, rows in parts]
    return Mix(format=form, parts=made, eval_rows=eval_rows, limit=None)


def mixed(recipe, where, cut=None, seed=0):
    examples, _, report = reading.mixed(recipe, where, SYSTEM, cut, seed)
    return examples, report


def ids(examples):
    return {one["id"] for one in examples}


def families_of(examples):
    return {one[key] for one in examples for key in KEYS}


def test_chat_rows_become_prompt_and_completion():
    keys = {"id": "a", "family": "f", "first_turn": first_turn("Hi")}
    for turns in (["Hi", "Hello"], ["Hi", "Hello", "Sing", "La"]):
        expected = keys | {"prompt": said(*turns[:-1], system=SYSTEM), "completion": answer(turns[-1])}
        assert example_of(chat(*turns), False, SYSTEM, None) == expected


def answer(text):
    """A column with one answer."""
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize("own", ["Be brief.", ""])
def test_a_rows_own_system_text_comes_before_the_recipes(own):
    assert example_of(chat("Hi", "Hello", system=own), False, SYSTEM, None)["prompt"] == said("Hi", system=own)
    assert example_of(chat("Hi", "Hello"), False, "", None)["prompt"] == said("Hi", system="")


def test_without_a_system_text_of_the_recipe_there_is_none():
    assert example_of(chat("Hi", "Hello"), False, None, None)["prompt"] == said("Hi")


def test_preferences_become_prompt_chosen_and_rejected():
    example = example_of(preference("apple", ["Hi", "Hello", "Sing"]), True, SYSTEM, None)
    assert example["prompt"] == said("Hi", "Hello", "Sing", system=SYSTEM)
    assert (example["chosen"], example["rejected"]) == (answer("apple!"), answer("no"))
    assert set(example) == {"id", *KEYS, "prompt", "chosen", "rejected"}


def test_what_is_known_of_a_pair_is_in_a_mix_of_pairs_only(tmp_path):
    known = {"gold": "Apple pie!", "score_chosen": 8.0, "win_rate_rejected": 0.0}
    pair = preference("apple").model_copy(update=known)
    found = example_of(pair, True, SYSTEM, None)
    assert set(found) == {"id", *KEYS, "prompt", "chosen", "rejected", *known}
    assert found["gold"] == answer("Apple pie!")
    assert (found["score_chosen"], found["win_rate_rejected"]) == (8.0, 0.0)
    assert set(example_of(pair, False, SYSTEM, None)) == {"id", *KEYS, "prompt", "completion"}
    # rows of one file may have other columns than its first one; a third answer is cut like the others
    where = folders(tmp_path, sources={"pairs": [preference("pear"), pair]})
    examples, _ = mixed(block(("source", "pairs", None), form="preference"), where)
    assert sorted("gold" in one for one in examples) == [False, True]
    long = pair.model_copy(update={"gold": numbers(40)})
    cut = example_of(long, True, SYSTEM, window(30, 20))
    assert len(cut["gold"][0]["content"].split()) == 30 - TEMPLATE - END - len("Say apple.".split())


def test_a_third_answer_may_equal_the_chosen_one():
    pair = preference("apple").model_copy(update={"gold": "apple!"})
    assert example_of(pair, True, SYSTEM, None)["gold"] == answer("apple!")


def test_pairs_of_one_dialogue_are_one_family():
    first, second = preference("a", ["Hi"]), preference("b", ["Hi"])
    third = first.model_copy(update={"id": "c", "messages": dialogue("Hi", system="Be brief.")})
    families = {example_of(row, True, SYSTEM, None)["family"] for row in (first, second, third)}
    assert len(families) == 1


def cut_text(window, instruction, responses):
    """What a window leaves of one instruction and its responses."""
    (_, user), texts = window.cut(said(instruction, system=SYSTEM), list(responses))
    return user["content"], tuple(texts)


def test_what_fits_is_not_cut():
    cut = window(total=TEMPLATE + 7 + END, prompt=TEMPLATE + 1)
    assert cut_text(cut, "a  b c d", ("e f g", "h")) == ("a  b c d", ("e f g", "h"))  # 8 + 4 + 3 + 1 = 16
    assert cut.cuts == {}


def test_an_instruction_loses_its_start_and_a_response_its_end():
    # total 15, prompt 11: of the instruction 11 - 8 = 3 words stay, and 15 - 8 - 3 - 1 = 3 of each response
    cut = window(total=15, prompt=11)
    instruction, responses = cut_text(cut, numbers(5), (numbers(4, "c"), numbers(2, "r")))
    assert instruction == "w2 w3 w4"
    assert responses == ("c0 c1 c2", "r0 r1")
    assert cut.cuts == {"instruction": 1, "response": 1}


def test_a_short_instruction_leaves_its_room_to_the_response():
    # template 8 + instruction 1 + end 1 leave 15 - 10 = 5 words
    assert cut_text(window(total=15, prompt=11), "w0", (numbers(9, "c"),)) == ("w0", (numbers(5, "c"),))


def test_a_dialogue_loses_its_oldest_turns_whole_and_the_start_of_the_next():
    # "Human:", "Assistant:" and "Human:" are 3 words: 8 + 3 + 9 = 20 of 15 that the prompt may have
    turns = [numbers(4, "a"), numbers(2, "b"), numbers(3, "c")]
    for most, left in ((20, turns), (18, ["a2 a3", *turns[1:]]), (17, ["a3", *turns[1:]]), (16, turns[2:])):
        cut = window(total=30, prompt=most)
        prompt, responses = cut.cut(said(*turns, system=SYSTEM), [numbers(12, "r")])
        assert prompt == said(*left, system=SYSTEM)
        speakers = 3 if left[1:] else 0
        assert responses == [numbers(min(12, 30 - END - TEMPLATE - speakers - sum(map(words, left))), "r")]
    assert window(30, 10).cut(said(*turns, system=SYSTEM), [numbers(12, "r")])[0] == said("c1 c2", system=SYSTEM)


def words(text):
    return len(text.split())


def test_a_rows_own_system_text_is_never_cut():
    own = numbers(5, "s")  # 3 words more than SYSTEM, so the template has 11
    prompt, _ = window(total=16, prompt=13).cut(said(numbers(9), system=own), ["a b c"])
    assert prompt == said("w7 w8", system=own)


def byte_window(total, prompt):
    template = len(student_prompt("", SYSTEM).encode())
    total += len(Bytes.end)
    return Window(Bytes(), Limit(tokenizer="tiny", total=template + total, prompt=template + prompt), SYSTEM)


def test_a_character_that_the_cut_breaks_is_left_out():
    # 4 bytes of the instruction stay: the last of 東, and 京; 8 - 4 = 4 of the response: 大, and the first of 阪
    cut = byte_window(total=8, prompt=4)
    instruction, responses = cut_text(cut, "a東京", ("大阪",))
    assert (instruction, responses) == ("京", ("大",))


def test_a_broken_character_away_from_the_cut_stays():
    # the text's own broken character has 3 bytes: of both texts, 1 + 3 = 4 stay
    cut = byte_window(total=8, prompt=4)
    assert cut_text(cut, "zzza\ufffd", ("\ufffdabc",)) == ("a\ufffd", ("\ufffda",))


def test_a_row_without_a_text_after_the_cut_is_dropped_and_counted(tmp_path):
    short, long = (
        preference("apple", ["a" * 8]),
        PreferenceRow(id="b", messages=dialogue("東" * 8), chosen="a", rejected="b" * 99),
    )
    where = folders(tmp_path, sources={"pairs": [short, long]})
    for form in ("preference", "prompt_completion"):
        recipe = block(("source", "pairs", None), form=form)
        (example,), report = mixed(recipe, where, byte_window(total=4, prompt=2))  # 東 has 3 bytes
        assert example["id"] == short.id
        assert report["dropped"] == {"empty after cut": 1}
        assert (report["parts"][0]["found"], report["parts"][0]["taken"]) == (2, 1)


def test_a_cut_example_fits_and_keeps_its_template_whole():
    cut = window(total=20, prompt=12)
    said = dialogue(numbers(50))
    row = PreferenceRow(id="a", messages=said, chosen=numbers(50, "c"), rejected=numbers(30, "r"))
    example = example_of(row, True, SYSTEM, cut)
    start, end = student_prompt("|", SYSTEM).split("|")
    for column in ("chosen", "rejected"):
        text = Words().apply_chat_template(example["prompt"] + example[column], False, False)
        assert text.startswith(start)
        assert end in text
        assert len(text.split()) == 20


@pytest.mark.parametrize(("total", "prompt"), [(14, TEMPLATE), (14, 4), (11, 11), (10, 12)])
def test_a_limit_without_room_is_an_error(total, prompt):
    with pytest.raises(ValueError, match=f"found:    prompt {prompt}, total {total} tokens\n  expected: more for"):
        window(total, prompt)


def drawn(rows, number, seed=0):
    """The ids of a part with a number of rows."""
    draw = Draw(block(("source", "chats", number)), SYSTEM, None, seed, lambda row: None)
    draw.fill(0, [(f"f:{row.id}", {}, row) for row in rows], lambda row: row)
    draw.compare([])
    counts, _, _ = draw.take(0)
    assert counts["found"] == counts["taken"] + sum(counts["dropped"].values()) + counts["not_drawn"]
    return [json.loads(line)["id"] for line, _ in draw.held(range(len(draw)))]


def chats(number):
    return [chat(f"Say {one}", str(one), name=row_id(str(one)), family=str(one)) for one in range(number)]


def test_rows_are_drawn_without_replacement_whatever_their_order():
    rows = chats(20)
    shuffled = random.Random(1).sample(rows, 20)
    found = drawn(rows, 8)
    assert len(set(found)) == 8
    assert drawn(shuffled, 8) == found
    assert set(drawn(rows, 8, seed=1)) != set(found)
    assert drawn(shuffled, None) == drawn(shuffled, 30) == drawn(rows, 20)


@pytest.mark.parametrize(("few", "many"), [(1, 2), (5, 20), (19, 20)])
def test_a_smaller_set_is_a_subset_of_a_larger_one(few, many):
    assert drawn(chats(20), many)[:few] == drawn(chats(20), few)


def test_a_row_that_gives_no_example_is_made_up_for_by_the_next():
    rows = chats(10)
    twice = [*rows, *(row.model_copy(update={"id": row_id(row.id)}) for row in rows)]
    assert len(drawn(twice, 8)) == 8
    assert len(drawn(twice, 15)) == 10


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        (["Say apple.", "another"], 2),
        (["say  APPLE.", "Apple"], 1),
        (["Say apple.", " APPLE!\n"], 1),
        (["Say apple.", "apple!", "Again.", "apple!"], 2),
    ],
)
def test_of_two_examples_with_the_same_texts_but_for_case_and_blanks_one_stays(other, stays):
    first = chat("Say apple.", "apple!")
    assert len(drawn([first, chat(*other, name="b")], None)) == stays
    assert len(drawn([first, chat(*other, name="b", system="Be brief.")], None)) == 2


def family_examples(sizes):
    return [
        {"id": f"{family}{number}", "family": f"family {family}", "first_turn": f"turn {family} {number}"}
        for family, size in enumerate(sizes)
        for number in range(size)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_families_stay_whole_across_the_split(seed):
    examples = family_examples([3] * 10)
    train, held = split(examples, 4, seed, [])
    assert not families_of(train) & families_of(held)
    assert sorted(one["id"] for one in train + held) == sorted(one["id"] for one in examples)
    assert len(held) == 6  # whole families of 3 until there are at least 4


def test_eval_has_as_many_rows_as_asked_where_families_are_single():
    train, held = split(family_examples([1] * 10), 4, 0, [])
    assert (len(train), len(held)) == (6, 4)


@pytest.mark.parametrize("seed", range(5))
def test_a_family_that_is_larger_than_what_is_wanted_is_passed_over(seed):
    train, held = split(family_examples([50, 1, 1, 2, 3]), 4, seed, [])
    assert len(held) == 4
    assert len(train) == 53


def tied(name, family, turn):
    return {"id": name, "family": family, "first_turn": turn}


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_are_tied_by_a_third_are_one_family(seed):
    # a and b share a tree, b and c a first turn
    examples = [tied("a", "t", "1"), tied("b", "t", "2"), tied("c", "u", "2"), tied("d", "v", "3")]
    train, held = split(examples, 1, seed, [])
    assert {frozenset(ids(train)), frozenset(ids(held))} == {frozenset("abc"), frozenset("d")}


@pytest.mark.parametrize("seed", range(5))
def test_no_family_of_which_an_earlier_mix_trained_on_a_row_is_held_out(seed):
    earlier = [{"family": f"family {number}", "first_turn": "x"} for number in range(15)]
    train, held = split(family_examples([1] * 20), 5, seed, earlier)
    assert ids(held) == {f"{number}0" for number in range(15, 20)}
    assert len(train) == 15


def test_fewer_are_held_out_where_earlier_mixes_left_fewer():
    earlier = [{"family": f"family {number}", "first_turn": "x"} for number in range(9)]
    assert len(split(family_examples([1] * 10), 5, 0, earlier)[1]) == 1


@pytest.mark.parametrize(("held", "fits"), [(10, True), (3, True), (2, False), (0, False)])
def test_a_mix_bears_a_share_of_missing_eval_rows(held, fits):
    recipe = block(("source", "chats", None), eval_rows=10)
    if fits:
        mixing.check_split("some", recipe, 100, held)
    else:
        message = rf"mix some: rows to evaluate: too few rows.*\n  found:    ({held}|no row at all)\n  expected: "
        with pytest.raises(ValueError, match=message):
            mixing.check_split("some", recipe, 100, held)


def test_another_seed_holds_out_other_families():
    examples = family_examples([1] * 40)
    held = [ids(split(examples, 10, seed, [])[1]) for seed in (0, 1)]
    assert held[0] != held[1]


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="found:    4 rows, 2 of them for eval"):
        split(family_examples([4]), 2, 0, [])


@pytest.mark.parametrize(("sizes", "held"), [([90, 95], 0), ([8, 90], 8), ([30, 31], 30), ([31, 95], 0)])
def test_a_family_that_would_make_the_eval_split_far_too_large_is_trained_on(sizes, held, caplog):
    # 10 rows are requested, so at most 30 are held out
    train, found = split(family_examples(sizes), 10, 0, [])
    assert (len(train), len(found)) == (sum(sizes) - held, held)
    assert ("rows are held out" in caplog.text) == (held < 10)


def test_a_mix_takes_each_parts_share(tmp_path):
    names = [f"e{number}" for number in range(10)]
    where = folders(
        tmp_path,
        schemes={"evol": [kept(name) for name in names]},
        sources={"pairs": [preference(f"p{number}") for number in range(10)]},
    )
    recipe = block(("scheme", "evol", 4), ("source", "pairs", None))
    examples, report = mixed(recipe, where)
    assert Counter(one["completion"][0]["content"][0] for one in examples) == {"e": 4, "p": 10}
    assert len({one["id"] for one in examples}) == 14
    assert report == {
        "parts": [
            {"kind": "scheme", "name": "evol", "asked": 4, "found": 10, "taken": 4, "dropped": {}, "not_drawn": 6},
            {"kind": "source", "name": "pairs", "asked": None, "found": 10, "taken": 10, "dropped": {}, "not_drawn": 0},
        ],
        "dropped": {},
        "cleaned": {},
    }


def test_every_format_of_source_becomes_prompt_and_completion(tmp_path):
    seed = SeedRow(id="s", instruction="Sum up.", context="A text.", response="It.", category=None)
    where = folders(
        tmp_path,
        sources={
            "chats": [chat("Hi", "Hello", name="c")],
            "pairs": [preference("apple", ["Hi", "Hello", "Sing"])],
            "dolly": [seed, seed.model_copy(update={"id": "t", "response": None})],  # the second teaches nothing
        },
    )
    recipe = block(("source", "chats", None), ("source", "pairs", None), ("source", "dolly", None))
    examples, report = mixed(recipe, where)
    assert report["dropped"] == {"no response": 1}
    assert [(one["prompt"], one["completion"]) for one in examples] == [
        (said("Hi", system=SYSTEM), answer("Hello")),
        (said("Hi", "Hello", "Sing", system=SYSTEM), answer("apple!")),
        (said("Sum up.\n\nA text.", system=SYSTEM), answer("It.")),
    ]


def test_a_preference_mix_takes_preferences_only(tmp_path):
    where = folders(tmp_path, sources={"pairs": [preference("a")], "chats": [chat("Hi", "Hello")]})
    examples, _ = mixed(block(("source", "pairs", None), form="preference"), where)
    assert [set(one) for one in examples] == [{"id", *KEYS, "prompt", "chosen", "rejected"}]
    with pytest.raises(ValueError, match=r"chats/rows.jsonl: no preferences\n  found:    .*\n  expected: preferences"):
        mixed(block(("source", "pairs", None), ("source", "chats", None), form="preference"), where)


def test_a_part_without_its_kind_is_no_part_of_a_whole_recipe(tmp_path):
    where = folders(tmp_path, sources={"pairs": [preference("a")]})
    recipe = Mix(parts=["pairs"])
    with pytest.raises(ValueError, match=r"part pairs: neither a scheme, a source nor pairs\n  found:    no kind\n"):
        mixed(recipe, where)


def test_a_tree_of_rewrites_is_one_family(tmp_path):
    where = folders(tmp_path, schemes={"evol": [kept("root"), kept("child", family="root"), kept("other")]})
    examples, _ = mixed(block(("scheme", "evol", None)), where)
    assert sorted(Counter(one["family"] for one in examples).values()) == [1, 2]


def test_the_same_first_turn_is_one_family_over_all_parts(tmp_path):
    where = folders(
        tmp_path,
        schemes={"evol": [kept("Apple"), kept("pear")]},
        sources={
            "pairs": [preference("apple", ["say  APPLE", "apple!", "Again."]), preference("p", ["say apple."])],
            "chats": [chat("SAY APPLE!", "no", name="c", family="c", system="Sir.")],
        },
    )
    recipe = block(("scheme", "evol", None), ("source", "pairs", None), ("source", "chats", None))
    examples, _ = mixed(recipe, where)
    assert len(examples) == 5
    assert ids(split(examples, 1, 0, [])[1]) == {row_id("pear")}


def test_duplicates_across_shards_are_listed_with_both_places(tmp_path):
    same, other = kept("same"), kept("other")
    where = folders(tmp_path, schemes={"evol": [same, same, other]})
    examples, dropped, report = reading.mixed(block(("scheme", "evol", None)), where, SYSTEM, None, 0)
    assert (len(examples), report["dropped"]) == (2, {"duplicate": 1})
    first, second = (f"{where.filtered}/evol/000{shard}/kept.jsonl:1" for shard in (0, 1))
    (row,) = dropped
    assert (row.detail, row.row["id"], row.row["kept"]) == (f"{second} repeats {first}", same.id, same.id)


def test_a_part_that_stands_twice_gives_each_row_once(tmp_path):
    where = folders(tmp_path, schemes={"evol": [kept(str(number)) for number in range(6)]})
    examples, report = mixed(block(("scheme", "evol", 3), ("scheme", "evol", None)), where)
    assert (len(ids(examples)), len(examples), report["dropped"]) == (6, 6, {"duplicate": 3})


def test_a_part_with_too_few_rows_gives_all_and_the_shortfall_is_logged(tmp_path, caplog):
    where = folders(tmp_path, schemes={"evol": [kept("a"), kept("b")]})
    with caplog.at_level(logging.WARNING, logger="bezoar"):
        examples, _ = mixed(block(("scheme", "evol", 4)), where)
    assert len(examples) == 2
    assert caplog.messages == ["mix some: scheme evol: 2 of 4 rows"]


def test_a_part_with_far_too_few_rows_is_an_error(tmp_path):
    where = folders(tmp_path, schemes={"evol": [kept("a"), kept("b")]})
    message = r"mix some: scheme evol: too few rows\n  found:    2\n  expected: 1,504; a share of 0\.75 may"
    with pytest.raises(ValueError, match=message):
        mixed(block(("scheme", "evol", 1504)), where)


@pytest.mark.parametrize("rows", [None, 10])
def test_a_scheme_of_which_no_row_comes_out_is_an_error(tmp_path, rows):
    where = folders(tmp_path, schemes={"evol": [], "lamini": [kept("a")]})
    with pytest.raises(ValueError, match=r"mix some: scheme evol: too few rows are left\n  found:    no row at all"):
        mixed(block(("scheme", "lamini", None), ("scheme", "evol", rows)), where)


def test_a_part_may_be_without_rows_where_all_may_be_missing(tmp_path):
    where = folders(tmp_path, schemes={"evol": [], "lamini": [kept("a")]})
    recipe = block(("scheme", "lamini", None), ("scheme", "evol", 10)).model_copy(update={"max_missing_share": 1.0})
    examples, report = mixed(recipe, where)
    assert (len(examples), [part["taken"] for part in report["parts"]]) == (1, [1, 0])


def test_a_scheme_may_have_a_shard_without_rows(tmp_path):
    where = folders(tmp_path, schemes={"evol": [kept("a")]})  # the second of two shards is empty
    assert len(mixed(block(("scheme", "evol", None)), where)[0]) == 1


def test_a_source_of_which_no_row_has_a_response_is_an_error_with_places(tmp_path):
    seed = {"instruction": "Sum up.", "context": None, "response": None, "category": None}
    where = folders(tmp_path, sources={"dolly": [SeedRow(id=str(number), **seed) for number in range(5)]})
    with pytest.raises(ValueError, match=r"5 of 5 rows dropped\n +5 no response: .*rows\.jsonl:\d, "):
        mixed(block(("source", "dolly", None)), where)


def test_a_mix_is_the_same_whatever_the_order_of_rows(tmp_path):
    rows = [kept(str(number)) for number in range(30)]
    pairs = [preference(f"p{number}") for number in range(30)]
    recipe = block(("scheme", "evol", 20), ("source", "pairs", 10))
    found = []
    for name in ("forward", "shuffled"):
        where = folders(tmp_path / name, schemes={"evol": rows}, sources={"pairs": pairs})
        examples, _ = mixed(recipe, where)
        found.append(json.dumps(split(examples, 5, 0, [])))
        random.Random(2).shuffle(rows)
        random.Random(3).shuffle(pairs)
    assert found[0] == found[1]


def test_what_a_window_cuts_is_counted(tmp_path):
    where = folders(tmp_path, sources={"pairs": [preference("a", [numbers(40)])]})
    cut = window(total=20, prompt=12)
    for form in ("preference", "prompt_completion"):
        (example,), _ = mixed(block(("source", "pairs", None), form=form), where, cut)
        assert example["prompt"] == said("w36 w37 w38 w39", system=SYSTEM)  # 12 - 8 = 4 words
    assert cut.cuts == {"instruction": 2}


class Counting(Words):
    """Counts the texts that it is given."""

    texts = 0

    def __call__(self, text, add_special_tokens):
        self.texts += 1
        return super().__call__(text, add_special_tokens)


def test_only_rows_that_are_taken_are_cut_and_tokenised(tmp_path):
    where = folders(tmp_path, sources={"pairs": [preference(str(number), [numbers(40)]) for number in range(50)]})
    cut = Window(Counting(), Limit(tokenizer="tiny", total=20, prompt=12), SYSTEM)
    recipe = block(("source", "pairs", 5), form="preference")
    examples, report = mixed(recipe, where, cut)
    assert (len(examples), report["parts"][0]["not_drawn"]) == (5, 45)
    assert cut.cuts == {"instruction": 5}
    assert cut.tokenizer.texts < 50


def test_what_is_cut_and_then_dropped_does_not_count_as_cut(tmp_path):
    same = [preference("a", [numbers(40)]), preference("a", ["x", "y", numbers(40)])]  # the same after the cut
    where = folders(tmp_path, sources={"pairs": same})
    cut = window(total=20, prompt=12)
    recipe = block(("source", "pairs", None)).model_copy(update={"near_duplicates": None})
    examples, report = mixed(recipe, where, cut)
    assert (len(examples), report["dropped"], cut.cuts) == (1, {"duplicate": 1}, {"instruction": 1})


def test_each_example_of_both_splits_has_its_part_file_and_line(tmp_path):
    where = folders(
        tmp_path, schemes={"evol": [kept(str(n)) for n in range(6)]}, sources={"chats": [chat("Hi", "Hello", name="c")]}
    )
    recipe = block(("scheme", "evol", None), ("source", "chats", None), eval_rows=2)
    mixing.write_mix(recipe, where, None, [], SYSTEM, 0, tmp_path / "mixes/some")
    made = {one: read(tmp_path / f"mixes/some/{one}.jsonl") for one in ("train", "eval", "origins")}
    assert [(one["id"], one["split"], one["family"]) for one in made["origins"]] == [
        (one["id"], split, one["family"]) for split in ("train", "eval") for one in made[split]
    ]
    for one in made["origins"]:
        if one["kind"] == "source":
            assert (one["part"], one["scheme"], one["file"], one["line"]) == ("chats", None, "chats.jsonl", 1)
        else:
            line = Path(one["file"]).read_text().splitlines()[one["line"] - 1]
            assert (one["part"], one["scheme"], json.loads(line)["id"]) == ("evol", "evol", one["id"])


def test_a_source_with_other_places_than_rows_is_an_error(tmp_path):
    where = folders(tmp_path, sources={"chats": chats(3)})
    (tmp_path / "source/chats/places.jsonl").write_text("")
    with pytest.raises(ValueError, match="shorter"):
        mixed(block(("source", "chats", None)), where)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
