"""A pilot's questions: some of each category."""

from collections import Counter

from reading import taken

from bezoar.steps.data.rows import QuestionRow

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
QUESTIONS = [
    QuestionRow(question_id=81 + number, category=CATEGORIES[number // 10], turns=["a", "b"]) for number in range(80)
]


def sampled(count, seed=0):
    return taken(QUESTIONS, count, seed)


def test_a_sample_of_questions_has_as_many_of_each_category_as_can_be():
    assert Counter(one.category for one in sampled(16)) == dict.fromkeys(CATEGORIES, 2)
    assert sorted(Counter(one.category for one in sampled(10)).values()) == [1] * 6 + [2] * 2
    assert len(sampled(3)) == 3
    assert sampled(80) == QUESTIONS


def test_a_smaller_sample_of_questions_is_part_of_a_larger_one_and_in_its_order():
    small, large = sampled(9), sampled(30)
    assert [one for one in large if one in small] == small == sorted(small, key=lambda one: one.question_id)
    assert sampled(9) == small != sampled(9, seed=1)
