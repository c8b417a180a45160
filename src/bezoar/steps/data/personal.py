"""Personal data in texts: addresses of e-mail and IP, telephone numbers, card and bank account numbers."""

import ipaddress
import re
from collections.abc import Iterator
from string import ascii_uppercase, digits

Span = tuple[int, int, str]

EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b")
IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){3,7})(?![\w:]|\.\d)")
CARD = re.compile(r"(?<![\w.-])[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}(?![\w-]|\.\d)")
ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
NUMBER = re.compile(r"(?:\d[^\w\n]{0,2}){7}")
VALUES = {letter: str(value) for value, letter in enumerate(digits + ascii_uppercase)}


def redacted(text: str, region: str | None, found: set[str]) -> str:
    """A text with personal data replaced by its kind; the kinds are added to `found`, as `personal: KIND`.

    Args:
        text: The text.
        region: Country of telephone numbers without a country code; None for those with one only.
        found: Takes the kinds.
    """
    end, parts = 0, []
    for first, last, kind in sorted(_spans(text, region)):
        if first < end:
            continue  # a part of what was found before
        found.add(f"personal: {kind}")
        parts += [text[end:first], f"[{kind}]"]
        end = last
    return "".join([*parts, text[end:]])


def _spans(text: str, region: str | None) -> Iterator[Span]:
    if "@" in text:
        yield from ((*one.span(), "e-mail") for one in EMAIL.finditer(text))
    if not any(map(str.isdigit, text)):
        return
    yield from ((*one.span(), "IP address") for one in IP.finditer(text) if _is_public(one[0]))
    yield from ((*one.span(), "card number") for one in CARD.finditer(text) if _is_card(one[0]))
    yield from ((*one.span(), "bank account") for one in ACCOUNT.finditer(text) if _is_account(one[0]))
    if NUMBER.search(text) and (region or "+" in text):
        yield from _phones(text, region)


def _is_public(text: str) -> bool:
    """Whether a text is an address of the open internet: 10.0.0.1 is nobody's, and 1.2.3.4 may be a version."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _is_card(text: str) -> bool:
    """Luhn's check of a card number of 13 to 19 digits."""
    numbers = [int(one) for one in text if one.isdigit()]
    if not 13 <= len(numbers) <= 19:
        return False
    doubled = [sum(divmod(2 * one, 10)) for one in numbers[-2::-2]]
    return (sum(numbers[::-2]) + sum(doubled)) % 10 == 0


def _is_account(text: str) -> bool:
    """The check of an IBAN (ISO 13616): the remainder by 97."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(VALUES[one] for one in plain[4:] + plain[:4])) % 97 == 1


def _phones(text: str, region: str | None) -> Iterator[Span]:
    import phonenumbers  # slow to import, and few mixes ask for it

    for one in phonenumbers.PhoneNumberMatcher(text, region):
        yield one.start, one.end, "telephone"
