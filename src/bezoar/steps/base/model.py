"""The base class of base models."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import FilePath, Licence, NamedBlock


class ModelBlock(NamedBlock):
    """The base class of base models."""

    section: ClassVar[str] = "models"
    rules: ClassVar[tuple[str, ...]] = ("base",)

    chat_template: Literal["tokenizer"] | Annotated[FilePath, Field(pattern=r"\.jinja$")] = Field(
        "tokenizer",
        description="Layout of dialogues in training and in every answer: `tokenizer` for the one that comes with the "
        "model, or a file PATH.jinja, such as recipes/templates/openbezoar.jinja.",
    )

    licence: Licence | None = Field(
        None,
        description="Licence of its weights, as of a source; null takes that of the texts that it is pretrained on.",
    )

    @property
    def folder(self) -> str:
        """Where its weights and tokenizer are."""
        return f"data/base/{self.name}"

    def downloads(self) -> bool:
        """Whether it comes over a network."""
        return False

    def files(self) -> list[str]:
        """Its input files and folders."""
        return []

    def templates(self) -> list[str]:
        """The file of its chat template, if it doesn't come with the model."""
        return [] if self.chat_template == "tokenizer" else [self.chat_template]

    def sources(self) -> list[str]:
        """Its input sources."""
        return []

    def lacks_template(self) -> bool:
        """Whether it certainly comes without a chat template."""
        return False

    def lacks_weights(self) -> bool:
        """Whether it certainly comes without weights that can be read."""
        return False
