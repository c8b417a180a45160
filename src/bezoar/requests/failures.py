"""The kinds of failures of a request, and the reaction to each."""

import email.utils
import math
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bezoar.requests.calls import decoded
from bezoar.text import printable, replace_surrogates

Kind = Literal["fatal", "forbidden", "stop", "terminal", "rate", "transient"]
OUT_OF_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_error", "enforced_spend_limit_reached"}
EMPTY_ACCOUNT = "credit balance is too low"  # Anthropic's message; its error type is that of any invalid request
GATEWAY = (408, 502, 504)  # from a gateway; the server behind it may have done the work
DETAIL = 500  # characters of a server's message that are kept
MOST_WORDS = 100_000  # characters that are searched for a key before the message is shortened
HTTP_ERROR = re.compile(r"[45]\d\d", re.ASCII)
NEVER_CONNECTED = (ConnectionRefusedError, socket.gaierror)


@dataclass
class Failure(Exception):
    """A request without an answer.

    Attributes:
        kind: `fatal` (a refused key: the whole run stops), `forbidden` (this request or the key: another call tells
            which), `stop` (no money, or no such model: this job stops), `terminal` (this request alone, for good),
            `rate` (sent too fast) or `transient` (worth another try).
        detail: What happened, for people.
        status: HTTP status; None if no whole response came.
        retry_after: Seconds that the server asks to wait.
        perhaps_billed: Whether the server may have done the work nevertheless.
    """

    kind: Kind
    detail: str
    status: int | None = None
    retry_after: float | None = None
    perhaps_billed: bool = False

    def __post_init__(self) -> None:
        self.detail, _ = replace_surrogates(self.detail)

    def __str__(self) -> str:
        return f"{f'HTTP {self.status}: ' if self.status else ''}{printable(self.detail, lines=False)}"


def of_status(status: int, headers: Mapping[str, str], text: str) -> Failure:
    """The failure that a status other than 200 means."""
    wait = retry_after(headers)
    said, codes = _words(text)
    if status == 401:
        return Failure("fatal", said, status)
    if status in (402, 404) or codes & OUT_OF_MONEY or EMPTY_ACCOUNT in said or 300 <= status < 400:
        return Failure("stop", said, status)
    if status == 403:
        return Failure("forbidden", said, status)
    if status == 429:
        return Failure("rate", said, status, wait)
    if status in (408, 409) or status >= 500:
        return Failure("transient", said, status, wait, perhaps_billed=status in GATEWAY)
    return Failure("terminal", said, status)


def of_answer(what: str, text: str) -> Failure:
    """A response with status 200 that isn't an answer; it may have been billed."""
    return Failure("transient", f"{what}: {text[:MOST_WORDS]!r}", 200, perhaps_billed=True)


def of_error(code: Any, text: str) -> Failure:
    """A response with status 200 that reports an error; gateways send it when their own server fails.

    Args:
        code: The status in it; anything else counts as a failure of the server.
        text: The response.
    """
    status = int(code) if HTTP_ERROR.fullmatch(str(code)) else None
    failure = of_status(status or 500, {}, text)
    failure.status = 200
    failure.perhaps_billed = failure.kind == "transient"
    failure.detail = f"an error {status or 'without a status'}: {failure.detail}"
    return failure


def of_size(most: int) -> Failure:
    """A response that is longer than any answer; it wasn't read, and may have been billed."""
    return Failure("transient", f"a response of more than {most:,} bytes", perhaps_billed=True)


def of_connection(error: Exception) -> Failure:
    """No complete response: the connection failed, or it took too long."""
    words = str(error.__cause__ or error) or type(error).__name__  # the SDKs say the same of every cause
    return Failure("transient", f"no response: {words}", perhaps_billed=not _never_connected(error))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a date, RFC 9110)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _words(text: str) -> tuple[str, set[str]]:
    """A server's message, in either provider's form of an error, and its error codes."""
    try:
        error: Any = decoded(text)["error"]
        if not isinstance(error, dict):
            return str(error), set()
        codes = [error.get("code"), error.get("type"), (error.get("details") or {}).get("error_code")]
        return str(error.get("message", text[:MOST_WORDS])), {code for code in codes if isinstance(code, str)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:MOST_WORDS], set()


def _never_connected(error: BaseException | None) -> bool:
    """Whether an error means that no connection was made."""
    while error and not isinstance(error, NEVER_CONNECTED):
        error = error.__cause__
    return error is not None
