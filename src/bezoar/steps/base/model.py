"""The base class of base models."""

from typing import ClassVar

from bezoar.blocks import NamedBlock


class ModelBlock(NamedBlock):
    """The base class of base models."""

    section: ClassVar[str] = "models"
    rules: ClassVar[tuple[str, ...]] = ("base",)

    def files(self) -> list[str]:
        """Its input files and folders."""
        return []

    def sources(self) -> list[str]:
        """Its input sources."""
        return []
