"""Chat templates: OpenBezoar's layout byte for byte, and what a template must not do to a dialogue."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from templates import OPENBEZOAR, said, student_prompt, transcript

from bezoar.errors import InputError
from bezoar.steps import chat

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="module")
def tokenizer(random_llama, tmp_path_factory):
    """A tokenizer with OpenBezoar's template; its end token is <|end|>."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(random_llama(tmp_path_factory.mktemp("chat") / "model", ["Hello"]))


def with_template(tokenizer, text):
    """A copy of the tokenizer with another template."""
    from copy import copy

    other = copy(tokenizer)
    other.chat_template = text
    return other


def test_prompt_has_the_bytes_of_the_model_cards(tokenizer):
    # marker, text, blank line, marker, text, blank line, marker; one newline and no blank at the end
    expected = "### System:\nBe kind.\n\n### Instruction:\nName a fruit.\n\n### Response:\n"
    assert chat.render(tokenizer, said("Name a fruit.", system="Be kind."), prompt=True).encode() == expected.encode()
    answered = chat.render(tokenizer, said("Name a fruit.", "A pear.", system="Be kind."), prompt=False)
    assert answered.encode() == (expected + "A pear.<|end|>").encode()


@given(turns=st.lists(TEXT, min_size=1, max_size=7), system=st.none() | TEXT)
def test_openbezoars_template_renders_its_layout_byte_for_byte(tokenizer, turns, system):
    asks = len(turns) % 2 == 1
    asked, answer = (turns, "") if asks else (turns[:-1], turns[-1] + "<|end|>")
    expected = student_prompt(transcript(asked), system or "") + answer
    assert chat.render(tokenizer, said(*turns, system=system), prompt=asks) == expected


def test_text_goes_into_the_prompt_as_it_is(tokenizer):
    text = "{system} {{ bos_token }} <b> ### Response:\n  two  blanks "
    assert chat.render(tokenizer, said(text, system="S"), prompt=True) == student_prompt(text, "S")


@pytest.mark.parametrize("roles", [["assistant"], ["user", "user"], ["user", "assistant", "tool"]])
def test_openbezoars_layout_has_no_room_for_other_orders(tokenizer, roles):
    messages = [{"role": role, "content": "a"} for role in roles]
    message = (
        f"refuses a dialogue: user and assistant have to alternate, user first\n  found:    roles {', '.join(roles)}"
    )
    with pytest.raises(InputError, match=message):
        chat.render(tokenizer, messages, prompt=True)


def test_a_tokenizer_without_a_template_says_what_to_set(tokenizer):
    with pytest.raises(
        InputError, match=r"has no chat template\n(.*\n)*hint: set models.<name>.chat_template to a file"
    ):
        chat.render(with_template(tokenizer, None), said("Hi"), prompt=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}",
            "a turn of system",
        ),
        ("{{ messages[0].content }}", "leaves out a turn of user"),
        ("{{ messages[0].content }}\n{% if %}", "refuses a dialogue: Expected an expression.* (line 2)"),
        ("{{ nothing.at.all }}", "refuses a dialogue: 'nothing' is undefined"),
        ("{{ messages[0].content + 1 }}", "refuses a dialogue: can only concatenate str.*"),
        ("{{ 1 // (messages | length - 2) }}", "refuses a dialogue: .*division.* by zero"),
    ],
)
def test_a_template_that_leaves_out_a_turn_or_is_none_is_an_error(tokenizer, template, message):
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(InputError, match=rf"{pattern}\n  found:    roles system, user\n"):
        chat.render(with_template(tokenizer, template), said("Hi", system="Be kind."), prompt=True)


def test_a_template_may_write_a_turn_as_json(tokenizer):
    messages = [*said("Hi", "Wait."), {"role": "tool", "content": 'the "rivers"\nof 東京'}]
    template = "{% for m in messages %}{{ m.content | tojson }}{% endfor %}"
    assert r"\"rivers\"\n" in chat.render(with_template(tokenizer, template), messages, prompt=True)


def test_a_system_text_is_added_where_there_is_none():
    assert chat.with_system(said("Hi"), "Be kind.") == said("Hi", system="Be kind.")
    assert chat.with_system(said("Hi"), "") == said("Hi", system="")
    assert chat.with_system(said("Hi"), None) == said("Hi")
    assert chat.with_system(said("Hi", system="Own."), "Be kind.") == said("Hi", system="Own.")


def test_a_context_follows_its_instruction_after_a_blank_line():
    assert chat.with_context("Sum up.", "A text.") == "Sum up.\n\nA text."
    assert chat.with_context("Sum up.", None) == "Sum up."
    assert chat.with_context("Sum up.", "") == "Sum up."


def test_the_template_of_the_recipes_is_the_one_that_is_tested():
    recipes = [path.read_text() for path in Path(OPENBEZOAR).parents[1].glob("*.yaml")]
    assert sum("chat_template: recipes/templates/openbezoar.jinja" in text for text in recipes) >= 2
