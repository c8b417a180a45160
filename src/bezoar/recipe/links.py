"""What each block of a recipe is built from: other blocks that it names, or that go with it."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from bezoar.blocks import Reference
from bezoar.problems import KeyPath
from bezoar.recipe.marks import marked
from bezoar.recipe.recipe import SECTIONS, Recipe
from bezoar.recipe.unrolled import Block
from bezoar.steps.data.mix import Part

# By kind of a part, the sections that may have it.
PARTS = {"scheme": ("filters", "schemes"), "selected": ("selections",)}


class Links:
    """The blocks of a recipe and what they are built from. Names that refer to nothing are left out.

    Attributes:
        values: All values of the recipe, as plain maps and lists.
        named: By block, the keys in it that name another block, with that block.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.values: dict[str, Any] = recipe.resolved()
        self.named: dict[Block, list[tuple[KeyPath, Block]]] = defaultdict(list)
        for key, block in _named(recipe):
            self.named[str(key[0]), str(key[1])].append((key[2:], block))
        self._digests: dict[Block, str] = {}

    def needs(self, block: Block) -> list[Block]:
        """The blocks that a block is directly built from."""
        named = [other for one in self.together(block) for _, other in self.named.get(one, [])]
        return list(dict.fromkeys([*named, *self._implied(block)]))

    def together(self, block: Block) -> list[Block]:
        """A block, and the one that has its name and goes with it: a scheme and its filter."""
        section, name = block
        other = ("filters" if section == "schemes" else "schemes", name)
        return [block, other] if section in ("schemes", "filters") and self._is_pair(name) else [block]

    def upstream(self, blocks: list[Block]) -> list[Block]:
        """Blocks and all that they are built from, directly or not."""
        found: dict[Block, None] = {}
        waiting = list(blocks)
        while waiting:
            block = waiting.pop()
            if block not in found:
                found[block] = None
                waiting += [*self.together(block), *self.needs(block)]
        return list(found)

    def digest(self, block: Block) -> str:
        """Of a block's values and of all that it is built from."""
        if block not in self._digests:
            self._digests[block] = ""  # of a cycle, which the recipe's checks tell
            own = [[one, self.values[one[0]][one[1]]] for one in sorted(self.together(block))]
            needed = sorted((one, self.digest(one)) for one in self.needs(block))
            self._digests[block] = hashlib.sha256(json.dumps([own, needed], sort_keys=True).encode()).hexdigest()
        return self._digests[block]

    def _is_pair(self, name: str) -> bool:
        filters = self._recipe.filters
        return name in self._recipe.schemes and name in filters and filters[name].decides

    def _implied(self, block: Block) -> list[Block]:
        """Mixes that a mix has to leave rows of out: those that are trained on before it."""
        return [("mixes", one) for one in self._earlier.get(block[1], [])] if block[0] == "mixes" else []

    @cached_property
    def _earlier(self) -> dict[str, list[str]]:
        known = self._recipe.mixes
        return {name: [one for one in self._recipe.earlier_mixes(name) if one in known] for name in known}


def _named(recipe: Recipe) -> Iterator[tuple[KeyPath, Block]]:
    """Every name of another block, with its key."""
    for key, mark, name in marked(recipe, Reference):
        yield from ((key, (section, name)) for section in mark.sections if name in getattr(recipe, section))
    for key, part in _parts(recipe):
        kinds = PARTS.get(str(part.kind), (f"{part.kind}s", str(part.kind)))
        sections = [one for one in kinds if one in SECTIONS and part.name in getattr(recipe, one)]
        yield from ((key, (section, part.name)) for section in sections[:1])


def _parts(recipe: Recipe) -> Iterator[tuple[KeyPath, Part]]:
    """The rows that mixes and selections are made from, each with its key."""
    for name, mix in recipe.mixes.items():
        yield from ((("mixes", name, "parts", place, "name"), part) for place, part in enumerate(mix.parts))
    for name, selection in recipe.selections.items():
        yield ("selections", name, "of"), selection.part
