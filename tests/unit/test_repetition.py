"""What counts as a text that repeats itself: loops, with blanks or without, and not tables or code."""

import random
import time

import pytest

from bezoar.steps.filter.repetition import looped, repeated_triples, repetition


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("a a a a a a a a a a a a a", 0.0),  # 13 words are 11 triples: too few to say
        ("a a a a a a a a a a a a a a", 11 / 12),
        ("a b c d e f g h i j k l m n", 0.0),
        ("a b c d e f g a b c d e f g", 5 / 12),  # of 12 triples 7 are new: those that start with a to g
    ],
)
def test_repetition_is_the_share_of_triples_that_stood_before(text, share):
    assert repetition(text) == pytest.approx(share)


TABLE = "| day | open | sauna |\n|---|---|---|\n" + "".join(
    f"| {day} | yes | {'no' if day in 'Mon Tue' else 'yes'} |\n"
    for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
)
CODE = (
    "Use this:\n```python\n"
    + "".join(f"x{n} = read()\nif x{n} is None :\n    return None\n" for n in range(20))
    + "```\n"
)
TRUTH = "a\tb\ta and b\n" + "".join(f"{a}\t{b}\t{a and b}\n" for a in (True, False) for b in (True, False)) * 2
UNFENCED = "".join(f"def f{n}(a, b):\n    return a + b * {n}\n\n" for n in range(12))


@pytest.mark.parametrize(
    "text", [TABLE, CODE, TRUTH, UNFENCED, f"{TABLE}\nThe sauna is closed at the start of a week."]
)
def test_tables_and_code_are_no_repetition(text):
    assert repetition(text) <= 0.5


@pytest.mark.parametrize(
    "text",
    [
        "ha" * 100,
        "=" * 200,
        "東京は東京都にあり、" * 20,
        "The end is near. " * 20,
        "```\n" + "x = 1\n" * 50,  # never closed
        "=" * 80 + "\n" + "and on" * 40,
        "1" * 200,
        "| a | b |\n" * 40,
        "So it begins well enough. " + "and on" * 40,
        "abc" * 40 + "!",
    ],
)
def test_a_loop_is_a_repetition_with_blanks_or_without_and_wherever_it_is(text):
    assert repetition(text) > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "Results\n" + "=" * 100 + "\nAll four runs came to an end in time.",
        "Here is the zero matrix:\n" + "0 0 0 0 0 0 0 0\n" * 12,
        "1, 2, 1, 2\n" * 20,
        "| 0 | 0 | 0 |\n" * 20,
        "Draw this:\n```\n" + "*-*-*-*-*-*\n" * 12 + "```\nThat is all.",
    ],
)
def test_rule_lines_numbers_and_fenced_text_are_no_loop(text):
    assert repetition(text) <= 0.5


def test_the_share_of_a_loop_is_that_of_its_characters():
    # 100 other characters, then 50 times two of which the first is none of the others: 100 of 200
    start = "".join(chr(0x4E00 + number) for number in range(100))
    assert looped(start + "ab" * 50) == pytest.approx(0.5)


def test_twice_the_same_is_no_loop():
    half = "".join(chr(0x4E00 + number) for number in range(100))
    assert (looped(half * 2), looped(half * 3)) == (0.0, 1.0)


def test_words_of_prose_around_a_table_count():
    assert repeated_triples("a b " * 20 + "\n" + TABLE) > 0.5


def longest_loop(text):
    """The share of the longest loop, by comparing every character with every earlier one."""
    longest = 0
    for period in range(1, len(text) // 3 + 1):
        run = 0
        for place in range(period, len(text)):
            run = run + 1 if text[place] == text[place - period] else 0
            if run >= 2 * period:
                longest = max(longest, run + period)
    return longest / len(text)


def test_every_loop_is_found_whatever_its_period_and_place():
    chance = random.Random(0)

    def some(letters, count):
        return "".join(chance.choice(letters) for _ in range(count))

    texts = [some("ab", chance.randrange(100, 300)) for _ in range(20)]
    for period in [*range(1, 40), 63, 64, 65, 99, 130]:
        rounds = some("abcdefgh", period) * chance.randrange(2, 5)
        texts.append(
            f"{some('xyz', chance.randrange(100))}{rounds}{rounds[: chance.randrange(period)]}{some('uvw', 99)}"
        )
    found = [looped(text) for text in texts]
    assert found == [longest_loop(text) for text in texts]
    assert 10 < sum(share > 0.3 for share in found) < len(texts)


def test_a_loop_in_a_text_of_megabytes_is_found():
    text = f"{''.join(random.Random(0).choices('abcdefghijklmnop', k=200_000))}{'0123456789xy' * 10_000}"
    assert looped(text) == 120_000 / 320_000


def test_a_line_of_signs_is_read_once():
    start = time.process_time()
    assert repetition("=" * 100_000) > 0.99
    assert time.process_time() - start < 20  # with a look for a letter from each sign on, a minute
