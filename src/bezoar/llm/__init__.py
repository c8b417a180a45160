"""Requests to models over a network: none is ever paid twice, lost, or sent without being allowed to cost its price.

requests -> calls -> store (answered before?) -> budget -> gate -> provider -> store, ledger -> completions
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.llm.provider import Provider
    from bezoar.params.data import AnthropicBackend, OpenAiBackend

EXIT_BUDGET = 75  # a ceiling was reached; EX_TEMPFAIL of sysexits.h: raise it, or start again, and the work goes on
EXIT_FATAL = 77  # a key was refused; EX_NOPERM


class Stopped(Exception):
    """No more may be sent; what was answered is stored, and a later run takes up from there.

    Attributes:
        status: Exit status of the job.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def provider_of(block: "OpenAiBackend | AnthropicBackend") -> "Provider":
    """The provider that a block names; each brings its maker's package, which takes a second to import."""
    if block.kind == "openai":
        from bezoar.llm.openai import OpenAi

        return OpenAi(block)
    from bezoar.llm.anthropic import Anthropic

    return Anthropic(block)
