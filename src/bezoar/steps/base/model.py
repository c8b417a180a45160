"""The base class of base models."""

from typing import ClassVar

from bezoar.blocks import NamedBlock


class ModelBlock(NamedBlock):
    """The base class of base models."""

    section: ClassVar[str] = "models"
    rules: ClassVar[tuple[str, ...]] = ("base",)

    def downloads(self) -> bool:
        """Whether it comes over a network."""
        return False

    def files(self) -> list[str]:
        """Its input files and folders."""
        return []

    def sources(self) -> list[str]:
        """Its input sources."""
        return []
