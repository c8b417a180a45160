"""The chat template of a base model, as a file of its directory: every later checkpoint inherits it."""

import json
from pathlib import Path
from typing import Any

from bezoar.logs import logger
from bezoar.steps import chat

FILE = "chat_template.jinja"  # transformers, vLLM and others read it; it has precedence over tokenizer_config.json
STARTS = ("", "{{- bos_token -}}", "{{- bos_token + ' ' -}}")  # SentencePiece adds a blank to the start of a text


def put(folder: Path, template: Path | None) -> None:
    """Write a model directory's chat template: one from a file, or the tokenizer's own.

    A template from a file needs no start token: where the tokenizer puts one before every text and the template
    doesn't, it is written in front, since text of a chat template is tokenised without it.

    Args:
        folder: The model directory.
        template: The file; None keeps the tokenizer's own template.

    Raises:
        InputError: There is no template, or it can't render a user turn.
    """
    from bezoar.steps.models import load_tokenizer

    tokenizer = load_tokenizer(folder)
    if template is None:
        chat.check_template(tokenizer)
        text = tokenizer.get_chat_template()
    else:
        text = tokenizer.chat_template = template.read_text(encoding="utf-8")
        tokenizer.name_or_path = str(template)  # for messages
        if start := _missing_start(tokenizer):
            text = start + text
            logger.info(f"chat template {template}: with {tokenizer.bos_token} in front, as the tokenizer has it")
    (folder / FILE).unlink(missing_ok=True)  # it may be a link to the original
    (folder / FILE).write_text(text, encoding="utf-8")
    _forget_others(folder / "tokenizer_config.json")


def is_in(folder: Path) -> bool:
    """Whether a model directory has a chat template."""
    config = folder / "tokenizer_config.json"
    try:
        found = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    except ValueError:  # loading the tokenizer will say what is wrong with it
        return True
    return (folder / FILE).exists() or bool(isinstance(found, dict) and found.get("chat_template"))


def _missing_start(tokenizer: Any) -> str:
    """What to write in front of the tokenizer's template, so that a text has the tokens that it has by itself."""
    text, asked = tokenizer.chat_template, [chat.Turn(role="user", content="a")]
    alone = tokenizer(chat.render(tokenizer, asked, prompt=True)).input_ids
    if tokenizer.bos_token_id is None or chat.ids(tokenizer, asked, prompt=True)[:1] == [tokenizer.bos_token_id]:
        return ""
    for start in STARTS:
        tokenizer.chat_template = start + text
        written = chat.ids(tokenizer, asked, prompt=True)
        if written == alone[: len(written)]:
            return start
    return STARTS[1] if alone[:1] == [tokenizer.bos_token_id] else ""


def _forget_others(path: Path) -> None:
    """Remove the template in tokenizer_config.json: some programs would prefer it."""
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if config.pop("chat_template", None) is not None:
        path.unlink()
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
