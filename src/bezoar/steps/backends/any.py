"""Every backend; a new one is added here."""

from typing import Annotated

from pydantic import Field

from bezoar.requests.anthropic import AnthropicBackend
from bezoar.requests.openai import OpenAiBackend
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.backends.verifier import VerifierBackend

AnyBackend = Annotated[LocalBackend | OpenAiBackend | AnthropicBackend | VerifierBackend, Field(discriminator="kind")]
