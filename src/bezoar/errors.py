"""The errors that are shown without a traceback, and the form of every message."""

from bezoar.text import printable


class BezoarError(Exception):
    """An error that the user can fix; its text says what was found, what was expected, and what to do.

    Attributes:
        status: Exit status of the process that it ends.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status

    def __str__(self) -> str:
        return printable(str(self.args[0]))  # it may quote files and servers


class Stopped(BezoarError):
    """No more may be sent; responses so far are stored, and a later run continues from there."""


class InputError(BezoarError, ValueError):
    """A file, a flag or a value that doesn't fit. Code that validates may catch it as a ValueError."""


def unusable(error: OSError) -> str:
    """An error of the file system, in the form of every message."""
    return problem(
        f"{error.filename or 'a file'} can't be used",
        found=error.strerror or error,
        expected="a file or a directory that this user may read and write",
    )


def problem(what: str, *, found: object, expected: object, hint: str = "") -> str:
    """An error message in the usual form: what, found, expected, and perhaps a hint."""
    text = f"{what}\n  found:    {found}\n  expected: {expected}"
    return f"{text}\nhint: {hint}" if hint else text
