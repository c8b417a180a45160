"""The student's prompt, which training and every evaluation share byte for byte."""

import pytest

from bezoar.steps.chat import dialogue, student_prompt, with_context


def test_prompt_has_the_bytes_of_the_model_cards():
    # marker, text, blank line, marker, text, blank line, marker; one newline and no blank at the end
    expected = "### System:\nBe kind.\n\n### Instruction:\nName a fruit.\n\n### Response:\n"
    assert student_prompt("Name a fruit.", "Be kind.").encode() == expected.encode()


def test_an_empty_system_text_leaves_its_block_standing():
    assert student_prompt("Hi", "") == "### System:\n\n\n### Instruction:\nHi\n\n### Response:\n"


def test_text_goes_into_the_prompt_as_it_is():
    text = "{system} ### Response:\n  two  blanks "
    assert student_prompt(text, "S") == f"### System:\nS\n\n### Instruction:\n{text}\n\n### Response:\n"


def test_one_turn_is_no_transcript():
    assert dialogue(["Name a fruit."]) == "Name a fruit."


def test_several_turns_become_a_transcript_that_ends_with_the_user():
    assert dialogue(["one", "two", "three"]) == "Human: one\n\nAssistant: two\n\nHuman: three"


@pytest.mark.parametrize("turns", [[], ["one", "two"]])
def test_a_dialogue_that_does_not_end_with_the_user_is_an_error(turns):
    with pytest.raises(ValueError, match=f"found:    {len(turns)} turns\n  expected: an odd number"):
        dialogue(turns)


def test_a_context_follows_its_instruction_after_a_blank_line():
    assert with_context("Sum up.", "A text.") == "Sum up.\n\nA text."
    assert with_context("Sum up.", None) == "Sum up."
    assert with_context("Sum up.", "") == "Sum up."
