"""Convert rows of a public format to our own types; other rows are dropped with a reason."""

import datetime
import decimal
import math
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.formats import FORMATS, Normal
from bezoar.steps.data.json_rows import Malformed
from bezoar.steps.data.rows import DroppedRow, Unusable
from bezoar.steps.data.spool import Seen
from bezoar.text import replace_surrogates

FURTHER = "further instance"  # a seed task may have several; the first is taken
SURROGATES = "halves of surrogate pairs, now U+FFFD"
NO_NUMBERS = "numbers that are not finite, now null"


def normalised(
    rows: Iterable[tuple[str, Any]], name: str, replaced: Tally, limit: int | None = None
) -> Iterator[tuple[str, Normal | DroppedRow]]:
    """Convert rows of a format to our own types; rows that don't fit, and those with a known id, are dropped.

    Args:
        rows: The place (`path:line`) of each row, and the row.
        name: The format's name.
        replaced: Counts the values that no file can hold and that were replaced.
        limit: The number of converted rows after which no more are read.
    """
    kept, seen = 0, Seen()
    for place, found in rows:
        row: Any = None
        try:
            if isinstance(found, Malformed):
                row = replace_surrogates(found.text)[0]
                raise Unusable(found.reason)
            row, changes = _written(found)
            for what in changes:
                replaced.add(what, place)
            normal = _normal(row, name)
        except Unusable as reason:
            yield place, _dropped(str(reason), place, row)
            continue
        for one in FORMATS[name].further(row):
            yield place, _dropped(FURTHER, place, one)
        key = getattr(normal, "id", None)
        if key is not None and not seen.add(key):
            yield place, _dropped("duplicate", place, row)
            continue
        yield place, normal
        kept += 1
        if kept == limit:
            break


def _normal(row: Any, name: str) -> Normal:
    """Convert one row of a format.

    Raises:
        Unusable: It isn't a row of the format, or has nothing to learn from.
    """
    if not isinstance(row, dict):
        raise Unusable("not a row of columns")
    try:
        return FORMATS[name].convert(row)
    except KeyError as error:
        raise Unusable(f"no {error.args[0]}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if isinstance(reason := first.get("ctx", {}).get("error"), Unusable):
            raise reason from error
        place = ".".join(map(str, first["loc"]))
        raise Unusable(f"'{place}' does not fit") from error
    except (AttributeError, TypeError, IndexError) as error:
        raise Unusable("a column is of another type") from error


def _dropped(reason: str, place: str, row: Any) -> DroppedRow:
    return DroppedRow(reason=reason, detail=place, row=row if isinstance(row, dict) else {"value": row})


def _written(row: Any) -> tuple[Any, list[str]]:
    """A row that can be written, and the kinds of replaced values.

    Raises:
        Unusable: It can't be written.
    """
    try:
        return plain(row)
    except RecursionError as error:
        raise Unusable("nested too deeply") from error
    except TypeError as error:
        raise Unusable(str(error)) from error


def _plain_all(values: Iterable[Any]) -> tuple[list[Any], list[str]]:
    found = [plain(value) for value in values]
    return [value for value, _ in found], [what for _, changes in found for what in changes]


def plain(value: Any) -> tuple[Any, list[str]]:
    """A row with JSON's types only, and the kinds of replaced values.

    Tables have columns of dates, decimals and bytes; NaN and infinite numbers become null.

    Raises:
        TypeError: It has a value that JSON can't hold, such as a picture.
        RecursionError: It is nested too deeply.
    """
    match value:
        case str():
            text, halves = replace_surrogates(value)
            return text, [SURROGATES] * halves
        case float() if not math.isfinite(value):
            return None, [NO_NUMBERS]
        case dict():
            keys, ones = _plain_all(map(str, value)), _plain_all(value.values())
            return dict(zip(keys[0], ones[0], strict=True)), keys[1] + ones[1]
        case list() | tuple() | set():
            return _plain_all(value)
        case datetime.date() | datetime.time():  # a datetime is also a date
            return value.isoformat(), []
        case bytes():
            return value.decode("utf-8", errors="replace"), []
        case decimal.Decimal() | uuid.UUID() | datetime.timedelta():
            return str(value), []
        case None | int() | float():  # a bool is also an int
            return value, []
    raise TypeError(f"a value of type {type(value).__name__}")
