"""Lines of artifacts, of which a few keys are needed; files may come from a folder, a commit or the cache."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bezoar.errors import InputError, problem

Read = Callable[[str], bytes | None]  # the content of a path of the project; None if there is none


class Line(BaseModel):
    """The keys of a line that are needed."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


Kind = TypeVar("Kind", bound=BaseModel)


def lines(kind: type[Kind], path: str, read: Read) -> list[Kind] | None:
    """The lines of a file; None without the file.

    Raises:
        InputError: A line is of another form.
    """
    found = read(path)
    if found is None:
        return None
    made = []
    for number, line in enumerate(found.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            made.append(kind.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{path}:{number}: {'.'.join(map(str, first['loc'])) or 'the line'} doesn't fit"
            raise InputError(problem(what, found=first["msg"], expected=", ".join(kind.model_fields))) from error
    return made
