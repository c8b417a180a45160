"""What every base model says of itself."""

from typing import ClassVar

from bezoar.blocks import NamedBlock


class ModelBlock(NamedBlock):
    """What all base models share."""

    section: ClassVar[str] = "models"
    rules: ClassVar[tuple[str, ...]] = ("base",)

    def files(self) -> list[str]:
        """Local files and folders that it is made from."""
        return []

    def sources(self) -> list[str]:
        """Sources that it is made from."""
        return []
