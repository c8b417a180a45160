"""The student's prompt, and dialogues of several turns in it."""

from collections.abc import Sequence

from bezoar.errors import InputError, problem

HUMAN = "\n\nHuman: "
ASSISTANT = "\n\nAssistant: "
MARKERS = ("### System:\n", "### Instruction:\n", "### Response:\n")


def student_prompt(instruction: str, system: str) -> str:
    """The text after which a student writes its response; the same bytes in training and in every evaluation.

    The prompt has no space after the last marker and no end-of-text token. Training targets are the response plus one
    end-of-text token.

    Source: model cards of SurgeGlobal/OpenBezoar-SFT, -HH-RLHF-SFT and -HH-RLHF-DPO (the same layout on all three).
    """
    blocks = (system, instruction, "")
    return "\n\n".join(marker + block for marker, block in zip(MARKERS, blocks, strict=True))


def dialogue(turns: Sequence[str]) -> str:
    """User and assistant turns in alternation, user first, as one instruction.

    A single turn stays as it is. Several have HH-RLHF's transcript layout without its leading blank line and end with
    a user turn: `Human: ...`, blank line, `Assistant: ...`, blank line, `Human: ...`.

    Raises:
        ValueError: The number of turns is even, so that the last turn isn't the user's.
    """
    if len(turns) % 2 == 0:
        raise InputError(
            problem("a dialogue ends with a user turn", found=f"{len(turns)} turns", expected="an odd number")
        )
    if len(turns) == 1:
        return turns[0]
    speakers = (HUMAN, ASSISTANT)
    return "".join(speakers[number % 2] + turn for number, turn in enumerate(turns)).removeprefix("\n\n")


def with_context(instruction: str, context: str | None) -> str:
    """An instruction and its context, with a blank line between them (the layout is our choice)."""
    return f"{instruction}\n\n{context}" if context else instruction
