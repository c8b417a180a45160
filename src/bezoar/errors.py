"""The tree of errors that are told without a traceback, and the one form in which they are told."""


class BezoarError(Exception):
    """Something that the user can mend; its text says what was found, what was expected, and how to go on."""


class Stopped(BezoarError):
    """No more may be sent; what was answered is stored, and a later run takes up from there.

    Attributes:
        status: Exit status of the job.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def problem(what: str, *, found: object, expected: object, hint: str = "") -> str:
    """What is wrong, in the form of every message: what, found, expected, and perhaps a hint."""
    text = f"{what}\n  found:    {found}\n  expected: {expected}"
    return f"{text}\nhint: {hint}" if hint else text
