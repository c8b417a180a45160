"""Where the schemes draw their lines: list numbers, tags, doubles, refusals, counts, and what no name may change."""

import re

import pytest
from test_generate import (
    CALL,
    LISTING,
    EvolTeacher,
    ParrotTeacher,
    drawn,
    evol_block,
    evolved,
    lamini_block,
    message,
    orca_block,
    query,
    shard_folder,
    tagged,
    written,
)

from bezoar.steps.data.rows import DroppedRow
from bezoar.steps.generate import lamini, orca
from bezoar.steps.generate.scheme import write_shard


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (tagged("2024. What happened?"), "2024. What happened?"),
        (tagged("20. What happened?"), "What happened?"),
        ("<Example>Sing a song.</EXAMPLE>", "Sing a song."),
        ("< example >Sing a song.</ example >", "Sing a song."),
    ],
)
def test_years_are_no_list_numbers_and_tags_may_be_written_otherwise(text, kept):
    assert lamini.listed(text, CALL, 5) == ([kept], [])


def test_an_unclosed_tag_in_another_case_is_unclosed():
    assert lamini.listed("<Example>Sing", CALL, 5)[1] == [("unclosed", "<example>Sing")]


@pytest.mark.parametrize(
    ("text", "ended", "kept", "unclosed"),
    [
        ("1. Leap.\n2) Dance.\n 3 : Rest.", True, ["Leap.", "Dance.", "Rest."], []),
        ("Sure! Here you are:\n\n1. Leap.\n2. Dance.\n\nI hope this helps!", True, ["Leap.", "Dance."], []),
        ("1. Leap:\nla la\n2. Dance.", True, ["Leap:\nla la", "Dance."], []),
        ("1. Leap.\n2. Dan", False, ["Leap."], [" Dan"]),
        ("1.5 plus 2?\n7:30 is when?", True, [], []),
        ("Leap.", True, [], []),
    ],
)
def test_a_numbered_list_is_read_without_what_is_said_around_it(text, ended, kept, unclosed):
    expected = (kept, [("unclosed", start) for start in unclosed])
    assert lamini.listed(text, CALL, 5, "numbered_list", ended=ended) == expected


@pytest.mark.parametrize(
    ("text", "ended", "kept", "unclosed"),
    [
        ("Leap.</example>\n<example>Dance.</example>", True, ["Leap.", "Dance."], []),
        ("Leap.", True, ["Leap."], []),  # the end of the answer ends the item
        ("Leap.</example> <example>Dance.", True, ["Leap.", "Dance."], []),
        ("Leap.</example> <example>Dan", False, ["Leap."], ["<example>Dan"]),
        ("<Example>Leap.</example>", True, ["Leap."], []),  # it opens the tag again
    ],
)
def test_an_answer_after_an_opened_tag_is_read_from_its_start(text, ended, kept, unclosed):
    expected = (kept, [("unclosed", start) for start in unclosed])
    assert lamini.listed(text, CALL, 5, "opened_tag", ended=ended) == expected


def test_examples_are_listed_in_the_prompt_as_instructions_in_the_answer():
    block = lamini_block(parser="numbered_list")
    assert lamini.listing_prompt(CALL, block, LISTING) == "1. Name a fruit.\n2. Sing. 4"


def test_topics_are_read_without_blanks_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "topics.txt").write_bytes(b"\xef\xbb\xbfart\r\n\n bees \n")
    assert lamini.read_topics(tmp_path / "topics.txt") == ["art", "bees"]
    (tmp_path / "topics.txt").write_bytes(b"\n")
    with pytest.raises(ValueError, match=r"topics.txt: no topic\n  found:    an empty file"):
        lamini.read_topics(tmp_path / "topics.txt")


def test_an_instruction_is_listed_once_whatever_its_end_punctuation():
    teacher = ParrotTeacher(lambda request: tagged("Name a sea.", "name a  sea", "Name a sea!", "Name a sea ?!"))
    items, dropped, _ = lamini.list_instructions([CALL], teacher, lamini_block(), LISTING)
    assert [item.instruction for item in items] == ["Name a sea."]
    assert [row.reason for row in dropped] == ["duplicate"] * 3


def test_of_more_instructions_than_asked_the_first_are_kept():
    teacher = ParrotTeacher(lambda request: tagged(*(f"Task {number}." for number in range(60))))
    block = lamini_block(instructions_per_call=20)
    items, dropped, seen = lamini.list_instructions([CALL], teacher, block, LISTING)
    assert [item.instruction for item in items] == [f"Task {number}." for number in range(20)]
    assert ({row.reason for row in dropped}, len(dropped), seen) == ({"more than asked"}, 40, 60)


@pytest.mark.parametrize(
    ("rewrite", "reason"),
    [
        ("I'm sorry, but I can't rewrite this prompt.", "refuses to rewrite"),
        ("I cannot help with that.", "refuses to rewrite"),
        ("Sure! Here is a harder one: Sing in a choir.", "announces itself"),
        ("Here is the rewritten prompt:\nSing in a choir.", "announces itself"),
    ],
)
def test_a_rewrite_that_refuses_or_announces_itself_is_eliminated_before_it_is_answered(rewrite, reason):
    teacher = EvolTeacher(rewrites={"Sing.": rewrite})
    rows, dropped = evolved(["Sing."], teacher, max_characters=1000)
    assert (rows, [row.reason for row in dropped], teacher.asked("answer:")) == ([], [reason], [])


def test_a_rewrite_that_differs_in_end_punctuation_equals_its_parent():
    _, dropped = evolved(["Sing."], EvolTeacher(rewrites={"Sing.": "sing !"}))
    assert [row.reason for row in dropped] == ["equals its parent"]


def test_every_seed_row_of_orca_is_drawn_or_counted():
    rows = [orca.Query.of(query(f"query {number}")) for number in range(10)]
    rows.append(orca.Query.of(query("few", template="fs_opt")))
    block = orca_block(candidates=4, shares={"CoT": 1.0})
    assert orca.unused(rows, orca.drawn(rows, block, 0), block) == {"template not wanted": 1, "beyond its share": 6}


def test_orca_with_far_too_few_seed_rows_is_an_error():
    rows = [query(f"query {number}") for number in range(10)]
    message = r"orca: candidates: too few rows\n  found:    10\n  expected: 1,000; a share of 0\.75 may be missing"
    with pytest.raises(ValueError, match=message):
        drawn(rows, candidates=1000)
    assert len(drawn(rows, candidates=1000, max_missing_share=1.0)) == 10


def test_templates_that_no_row_has_are_an_error():
    rows = [query(f"query {number}", template="fs_opt") for number in range(20)]
    with pytest.raises(ValueError, match=r"found:    fs_opt\n  expected: zs_opt, zs_noopt"):
        drawn(rows)


def test_orcas_queries_are_drawn_by_seed_and_fewer_are_some_of_more():
    rows = [query(f"query {number}") for number in range(40)]

    def ids(number, seed=0):
        return {row.id for row in drawn(rows, seed, candidates=number)}

    assert ids(10) < ids(20)
    assert ids(10) != ids(10, seed=1)


def test_no_schemes_name_is_in_keys_and_ids():
    found = []
    for name in ("first", "second"):
        teacher = ParrotTeacher()
        rows, _ = lamini.answered([lamini.Listed("Paint.", CALL)], teacher, lamini_block(), LISTING, name)
        more, _ = orca.explained([query("Why?")], [message("plain")], teacher, orca_block(), 0, name)
        assert {row.scheme for row in rows + more} == {name}
        columns = [row.model_dump(exclude={"scheme"}) for row in rows + more]
        found.append((columns, [request.key for request in teacher.requests]))
    assert found[0] == found[1]


@pytest.mark.parametrize(("candidates", "fits"), [(19, True), (20, False)])
def test_a_shard_that_loses_nearly_all_of_its_candidates_is_an_error(tmp_path, candidates, fits):
    dropped = [DroppedRow(reason="says sorry", detail=f"Sorry {number}.", row={}) for number in range(candidates)]
    out = shard_folder(tmp_path)
    if fits:  # of so few, all may be dropped by chance
        write_shard(out, [], dropped, candidates, evol_block())
        report, *counts = written(out)
        assert (report["dropped"], counts) == ({"says sorry": 19}, [0, 19])
    else:
        message = (
            "20 says sorry: Sorry 0., Sorry 1., Sorry 2.\n  expected: at most a share of 0.95 (schemes.evol.max_dro"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            write_shard(out, [], dropped, candidates, evol_block())
        assert not out.parent.exists()
