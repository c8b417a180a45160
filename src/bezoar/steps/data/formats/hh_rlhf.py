"""Anthropic's HH-RLHF."""

from typing import Any

from bezoar.steps.data.formats.common import Format, check_pair
from bezoar.steps.data.rows import PreferenceRow, Unusable, dialogue, row_id

HUMAN = "\n\nHuman: "
ASSISTANT = "\n\nAssistant: "


def convert(row: dict[str, Any]) -> PreferenceRow:
    """HH-RLHF: two transcripts that share everything up to their last assistant turn."""
    prompt, chosen = _last_turn(row["chosen"])
    other, rejected = _last_turn(row["rejected"])
    if prompt != other:
        raise Unusable("prompts differ")
    check_pair(chosen, rejected)
    exchanges = [exchange.split(ASSISTANT) for exchange in prompt.split(HUMAN)[1:]]
    if [len(exchange) for exchange in exchanges] != [2] * (len(exchanges) - 1) + [1]:
        raise Unusable("speakers do not alternate")
    turns = [turn for exchange in exchanges for turn in exchange]
    if not all(turns):
        raise Unusable("empty turn")
    name = row_id("hh_rlhf", prompt, chosen, rejected)
    return PreferenceRow(id=name, messages=dialogue(*turns), chosen=chosen, rejected=rejected)


def is_transcript(value: Any) -> bool:
    """Whether a value is a text that starts with a human turn."""
    return isinstance(value, str) and value.lstrip().startswith(HUMAN.strip())


def _last_turn(transcript: str) -> tuple[str, str]:
    """Everything before the last assistant turn, and that turn; line ends may be those of Windows."""
    transcript = transcript.replace("\r\n", "\n")
    if not transcript.startswith(HUMAN):
        raise Unusable("does not start with a human turn")
    prompt, marker, response = transcript.rpartition(ASSISTANT.rstrip(" "))
    if not marker:
        raise Unusable("no assistant turn")
    if HUMAN.rstrip(" ") in response:
        raise Unusable("ends with a human turn")
    return prompt, response.strip()


FORMAT = Format(
    "hh_rlhf",
    convert,
    ("chosen", "rejected"),
    ("prompt_completion", "preference"),
    fits=lambda row: is_transcript(row["chosen"]) and is_transcript(row["rejected"]),
    values="transcripts of Human and Assistant",
)
