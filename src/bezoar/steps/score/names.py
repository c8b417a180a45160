"""The type of a value that names a block of scores."""

from typing import Annotated

from bezoar.blocks import Name, Reference

ScoresName = Annotated[Name, Reference(("scores",), "no such scores")]
