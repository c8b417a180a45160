"""Refusals, and texts that only mention one."""

import pytest

from bezoar.steps.filter.refusals import phrase_in, prefaced, refuses


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help",
        "I'm sorry, but I can\u2019t help with that.",
        "I am sorry, but I cannot assist with this request.",
        "**I'm really sorry**, but I can't help with that.",
        "Sorry, I can't do that.",
        "Sorry, can't help.",
        "Unfortunately, I am unable to provide this.",
        "I apologize, but I cannot fulfill this request.",
        "I'm afraid I can't write that.",
        "As an AI language model, I cannot provide medical advice.",
        "I'm sorry, but as an AI language model I can't answer.",
        "I cannot comply.",
        "I won't help you with this.",
        "I'm unable to rewrite the prompt.",
        "I'm not able to help with that.",
        "\"I'm sorry, but I can't.\"",
        "Sorry - I can't help",
        "Sorry \u2014 I can't help with that.",
        "I regret that I cannot assist",
        "No, I can't help with that.",
        "Thank you for asking, but I can't help with that.",
        "I must decline to write this.",
        "I do not feel comfortable helping with that.",
        "I'm not comfortable writing this.",
        "Sorry, but I won't be able to help with that.",
        "I must respectfully decline.",
        "I cannot and will not help with that.",
        "I can't help with the question.",
        "I cannot provide instructions for that.",
        "I can't create harmful content.",
        "I'm sorry, but I can't provide a recipe for explosives.",
    ],
)
def test_what_opens_with_a_refusal_is_one(text):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't help falling in love with you, says the song.",
        "I'm sorry to hear that you can't sleep. Try to read a little.",
        "I'm sorry that I can't attend the meeting on Friday.",
        "A shop assistant says: I'm sorry, but I can't help you.",
        "I cannot tell a lie, said Washington.",
        'The model answers "I cannot assist with that" in two of ten cases.',
        "No one can help you here but a doctor.",
        "We can't have nice things is an idiom.",
        "",
        "i can not help you steal it , please ask the owner .",
        "Unable to support the weight, the bridge collapsed in 1907.",
        '"I won\'t," said Tom.',
        "I can't. That was all she wrote.",
        "We cannot process raw seafood at this plant.",
        "Not allowed: pets, smoking.",
        "I'm sorry, but I can't participate in the meeting on Friday.",
        "I can't complete my homework on time. Give me a study plan.",
        "I can't help with my son's homework. What can he do?",
        "I must decline the invitation to your wedding.",
        "I do not feel comfortable speaking in public. How do I begin?",
        "No, I can't see the moon.",
        "Thank you for asking, I am well.",
        "I can't write well in French. How do I learn it?",
        "Unfortunately, the bridge collapsed.",
        "I can't help with the dishes tonight. Who can?",
        "I cannot do this alone. How do I find friends?",
        "I cannot support your decision, wrote the minister.",
        "Sorry, I can't answer the phone.",
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text):
    assert not refuses(text)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("As an AI language model, I have no taste.", "as an ai language model"),
        ("It is red. But as an AI  Language model I don't see.", "as an ai language model"),
        ("I can\u2019t help with that.", "I can't help with"),
        ('"As an AI language model, I have no taste."', "as an ai language model"),
        ('The phrase "as an AI language model" is worn out.', None),
        ("The phrase “as an AI language model” is worn out.", None),
        ("Search for `as an AI language model` in the log.", None),
        ("It is red.", None),
        ('5" wide.\nAs an AI language model, I guess.\n7" long.', "as an ai language model"),
        ('"Red" is a word. As an AI language model, I like "blue"', "as an ai language model"),
        ('"Red" and "as an AI language model"', None),
    ],
)
def test_a_phrase_counts_where_it_is_said_and_not_where_it_is_quoted(text, phrase):
    assert phrase_in(text, ["as an ai language model", "I can't help with"]) == phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sure! Here is the rewritten prompt:\nName two fruits.", True),
        ("Sure, here's a harder version: Name two fruits.", True),
        ("Certainly! I can make it harder.", True),
        ("Here is the rewritten prompt: Name two fruits.", True),
        ("**Here's a more complex version of the question:**\n\nName two.", True),
        ("Here is a table of prices: sum up each column.", False),
        ("Sure enough, the sun rises. Why?", False),
        ("Here are two new friends. Who is older?", False),
        ("Name two fruits.", False),
        ("Sure! Here's one:\nName two fruits.", True),
        ("This is a harder version of the question: Name two.", True),
        ("Here is a more complex version of your prompt: Name two.", True),
        ("Okay, I'll rewrite it.", True),
        ("Sure! The rewritten prompt is: Name two.", True),
        ("Here is a more challenging version of the instruction that adds a constraint: Name two.", True),
        ("Here are new instructions for the oven: heat it. What is wrong?", False),
        ("This is a modified version of bubble sort: def f(x): pass. Explain its complexity.", False),
        ("Below is a new dataset of sales: 1,2,3. Compute the mean.", False),
        ("Here are improved figures for 2024: 5, 6. Which is larger?", False),
        ("Okay, I can see the moon tonight. Why is it red?", False),
        ("Okay, let me see the menu. What is cheap?", False),
        ("Sure, this is my car. What is it worth?", False),
    ],
)
def test_a_text_that_announces_itself_is_told_from_one_that_does_not(text, expected):
    assert prefaced(text) is expected
