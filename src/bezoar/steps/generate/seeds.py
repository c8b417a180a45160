"""Seeds of schemes that ask rows as they are: prompts of one turn, from a source or from another scheme's rows."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bezoar.steps.chat import with_context
from bezoar.steps.data.families import family_of_messages
from bezoar.steps.data.rows import (
    TRAINABLE,
    ChatRow,
    FilteredRow,
    GeneratedRow,
    Message,
    PreferenceRow,
    Row,
    SeedRow,
    Unusable,
    read_rows,
    row_id,
    row_type,
)
from bezoar.steps.data.shard import shard_of

KINDS: tuple[type[Row], ...] = (*TRAINABLE, GeneratedRow)
SAME, UNANSWERED = "same prompt as another row", "no response"


class PromptRow(Row):
    """A prompt of one turn, perhaps with an answer to it.

    Attributes:
        response: The seed's own answer: of a preference, the chosen one.
    """

    id: str
    root_id: str
    system: str | None
    instruction: str
    response: str | None
    category: str | None


class Dealt:
    """Rows of seeds as prompts, each with its shard's number and its place there.

    Rows of a scheme stay in their shard, so that a changed row changes one shard of all schemes that follow; rows of
    a source are dealt by their ids.

    Attributes:
        unused: Counts of rows that aren't dealt, by reason.
    """

    def __init__(self, paths: list[Path], shards: int, *, answered: bool) -> None:
        """Nothing is read yet.

        Args:
            paths: rows.jsonl of a source; or a file for each shard of a scheme, in a folder named by its number.
            shards: Shards of the recipe.
            answered: Whether rows need an answer, and each is used. If not, one row of each prompt is used.
        """
        self._paths, self._shards, self._answered = paths, shards, answered
        self._prompts: set[str] = set()
        self.unused: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[int, str, PromptRow]]:
        for path in self._paths:
            kind = row_type(path, KINDS, "seeds")
            shard = int(path.parent.name) if issubclass(kind, GeneratedRow) else None
            for row in read_rows(path, kind):
                try:
                    prompt = self._usable(row)
                except Unusable as reason:
                    self.unused[str(reason)] += 1
                    continue
                yield shard_of(prompt.id, self._shards) if shard is None else shard, prompt.id, prompt

    def _usable(self, row: Any) -> PromptRow:
        prompt = prompt_of(row)
        if self._answered:
            if not prompt.response:
                raise Unusable(UNANSWERED)
            return prompt
        key = row_id(prompt.system or "", prompt.instruction)
        if key in self._prompts:
            raise Unusable(SAME)
        self._prompts.add(key)
        return prompt


def prompt_of(row: Any) -> PromptRow:
    """A row as a prompt.

    Raises:
        Unusable: It has more than one turn of the user, or turns of a tool.
    """
    match row:
        case GeneratedRow() | FilteredRow():
            found = {"root_id": row.root_id, "system": row.system, "category": row.category}
            return PromptRow(id=row.id, instruction=row.instruction, response=row.response, **found)
        case SeedRow():
            asked = with_context(row.instruction, row.context)
            found = {"root_id": row.id, "system": None, "category": row.category}
            return PromptRow(id=row.id, instruction=asked, response=row.response, **found)
        case PreferenceRow():
            family = getattr(row, "root_id", None) or family_of_messages(row.messages)
            return _of_turns(row.id, family, row.messages, row.chosen)
        case ChatRow():
            return _of_turns(row.id, row.family, row.messages[:-1], row.messages[-1].content)
    raise TypeError(f"not a row of seeds: {type(row).__name__}")


def _of_turns(name: str, root: str, messages: list[Message], response: str) -> PromptRow:
    system = [one.content for one in messages if one.role == "system"]
    turns = [one for one in messages if one.role != "system"]
    if len(turns) > 1:
        raise Unusable("more than one turn")
    found = {"system": system[0] if system else None, "category": None}
    return PromptRow(id=name, root_id=root, instruction=turns[0].content, response=response, **found)
