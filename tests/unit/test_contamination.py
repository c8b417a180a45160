"""Evaluation items in training texts: planted ones are found, everyday phrases are not."""

import pytest
from templates import said

from bezoar.steps.data.decontaminate import EvaluationItems, texts_of

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"  # 15 words
MIDDLE = "one two three four five six seven eight nine"  # 9 words
SHORT = "one two three four five six seven"  # 7 words


def changed(text, place):
    """The text with another word at a place, from 0."""
    words = text.split()
    words[place] = "other"
    return " ".join(words)


@pytest.mark.parametrize(
    ("item", "text", "leaks"),
    [
        (LONG, LONG, True),
        (LONG, f"Before. {LONG.upper()}! After.", True),
        (LONG, LONG.replace(" ", ",\n"), True),
        (LONG, " ".join(LONG.split()[:13]), True),  # 13 words in a row
        (LONG, " ".join(LONG.split()[:12]), False),
        (LONG, " ".join(LONG.split()[2:]), True),
        (LONG, changed(LONG, 1), True),  # words 3 to 15 are 13 in a row
        (LONG, changed(LONG, 7), False),  # 7 before and 7 after
        (f"{LONG} a b c d e f g h i j k l m", changed(f"{LONG} a b c d e f g h i j k l m", 7), True),
        (MIDDLE, f"so {MIDDLE} so", True),  # of fewer than 13 words, the whole
        (MIDDLE, changed(MIDDLE, 0), False),
        (SHORT, SHORT.title() + "?", True),  # of fewer than 8 words, as a whole text only
        (SHORT, f"so {SHORT}", False),
        (SHORT, changed(SHORT, 6), False),
        ("", "", False),
        ("?!", "...", False),
    ],
)
def test_what_counts_as_a_leak(item, text, leaks):
    assert EvaluationItems([item]).leaks_into(text) is leaks


def test_items_of_all_lengths_are_looked_up_together():
    items = EvaluationItems([LONG, "a b c d e f g h i", "hello there"])
    assert items.leaks_into(f"well {LONG}")
    assert items.leaks_into("well a b c d e f g h i")
    assert items.leaks_into("Hello there!")
    assert not items.leaks_into("well hello there and one two three")


def test_without_items_nothing_leaks():
    assert not EvaluationItems([]).leaks_into(LONG)


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"turns": ["one", "two"], "question_id": 81, "reference": ["a"]}, ["one", "two"]),
        ({"instruction": "one", "answer": "a"}, ["one"]),
        ({"question": "one", "choices": ["a", "b"]}, ["one"]),
        ({"text": "one"}, ["one"]),
        ({"messages": said("one", "a", "two", system="s")}, ["one", "two"]),
        ({"answer": "a"}, []),
        ({"question": None, "turns": ["one", None], "text": None}, ["one"]),
    ],
)
def test_texts_of_an_evaluation_row_are_what_is_asked(row, texts):
    assert texts_of(row) == texts


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": {"text": "one"}}, "'question' isn't text"),
        ({"turns": [{"role": "user"}]}, "'turns' isn't text"),
        ({"turns": [["one"]]}, "'turns' isn't text"),
        ({"text": 5}, "'text' isn't text"),
        (["one"], "not an object"),
    ],
)
def test_what_an_evaluation_row_has_instead_of_a_text_is_named_by_file_and_line(row, message):
    with pytest.raises(ValueError, match=f"^items.jsonl:3: {message}\n  found: ") as error:
        texts_of(row, "items.jsonl:3")
    assert "None" not in str(error.value)


def test_turns_of_real_questions_are_found_verbatim_and_inside_a_text(real):
    from bezoar.jsonl import read_json_lines

    turns = [text for _, row in read_json_lines(real / "mt_bench" / "question.jsonl") for text in texts_of(row)]
    items = EvaluationItems(turns)
    assert len(turns) == 160
    assert all(items.leaks_into(text) for text in turns)
    long = [text for text in turns if len(text.split()) >= 20]
    assert all(items.leaks_into(f"Please answer: {text} Thank you.") for text in long)


def test_real_instructions_hold_no_question(real):
    from bezoar.jsonl import read_json_lines

    items = EvaluationItems(
        text for _, row in read_json_lines(real / "mt_bench" / "question.jsonl") for text in texts_of(row)
    )
    dolly = [row["instruction"] for _, row in read_json_lines(real / "dolly_sample.jsonl")]
    assert not [text for text in dolly if items.leaks_into(text)]
