"""Whether a tokenizer splits text as the SentencePiece model beside it, which transformers converts."""

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from bezoar.errors import InputError, problem
from bezoar.logs import logger
from bezoar.steps.chat import FAULTS

TEXTS = (
    "Hello world",
    "  two  blanks and\ttabs ",
    "line\n\nbreaks\n",
    "def f(x):\n    return x + 1",
    "1,504 + 0.05. And so  on.  Twice",
    "naïve 東京 🙂 ² ﬁ",
    "### Response:\n",
    " ",
)


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Compare a converted tokenizer with its SentencePiece model, if there is one.

    open_llama's authors warn that the automatic conversion made other tokens than those of training. A
    `tokenizer.model` in another format, such as Llama 3's of tiktoken, is ignored.

    Raises:
        ValueError: The two split a probe differently.
    """
    original = folder / "tokenizer.model"
    if not original.exists():
        return
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_file=str(original))
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        logger.warning(f"{original} isn't a SentencePiece model, so the tokenizer isn't compared with it: {reason}")
        return
    for text in probes(tokenizer):
        expected, found = processor.encode(text), tokenizer(text, add_special_tokens=False).input_ids
        if expected != found:
            raise InputError(
                problem(
                    f"{folder}: the converted tokenizer splits text differently from its SentencePiece model",
                    found=f"{found} for {text!r}",
                    expected=expected,
                )
            )


def probes(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts between the special tokens of what a model reads: rendered conversations, or bare texts.

    None starts with a space: at the start of a text, transformers adds no further space to one, and SentencePiece does.
    After a special token, whether a space is added is a choice of each model's authors and no matter of conversion.
    """
    special = sorted((one.content for one in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
    apart = re.compile("|".join(map(re.escape, special)) or r"(?!)")
    parts = (part.lstrip(" ") for text in _rendered(tokenizer) for part in apart.split(text))
    return list(dict.fromkeys(filter(None, parts)))


def _rendered(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Conversations in the tokenizer's chat template; bare texts if it has none, or refuses them all."""
    texts: list[str] = []
    for messages in _conversations() if tokenizer.chat_template else ():
        try:
            texts.append(str(tokenizer.apply_chat_template(messages, tokenize=False)))
        except (TemplateError, *FAULTS):  # many templates refuse a system message
            continue
    return texts or list(TEXTS)


def _conversations() -> Iterator[list[dict[str, str]]]:
    """One turn of each text, with each of them and without one as system message, and one dialogue of all texts."""
    for text in TEXTS:
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        yield turns
        yield from ([{"role": "system", "content": system}, *turns] for system in TEXTS)
    roles = cycle(("user", "assistant"))
    yield [{"role": role, "content": text} for role, text in zip(roles, TEXTS, strict=False)]
