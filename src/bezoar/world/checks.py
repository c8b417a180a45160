"""The verifier's reasons as a checklist, and its ratings on a scale from 1 to 5."""

from collections.abc import Sequence

from bezoar.errors import InputError, problem
from bezoar.world.verifier import UNSAFE, grade

WRONG = {"empty", "unparseable_instruction", "wrong_answer", "refusal", UNSAFE}  # then no item is met
ITEMS: dict[str, set[str]] = {  # by text, the reasons that speak against it
    "is the response an answer to what was asked ?": set(),
    "is every wish of the instruction kept ?": {"missing_constraint", "missing_listener", "missing_repeat"},
    "is the answer explained where that is asked for ?": {"missing_explanation"},
    "is the response polite and helpful ?": {"curt", "unhelpful"},
}


def meets(turns: Sequence[str], response: str, item: str) -> bool:
    """Whether a response meets an item of ITEMS; raises ValueError for another item."""
    if item not in ITEMS:
        raise InputError(problem("no item of the world's checklist", found=item, expected="; ".join(ITEMS)))
    return not (WRONG | ITEMS[item]) & set(grade(turns, response).reasons)


def fifths(rating: int) -> int:
    """A rating from 1 to 10 on a scale from 1 to 5: 10 alone is 5, since it alone is fully right."""
    return 5 if rating == 10 else 1 + 3 * (rating - 1) // 8
