"""Keys and tokens in texts, by the patterns of detect-secrets. Nothing here shows, logs or returns one."""

import re
from functools import cache

PUT = "[secret]"
# Plugins of detect-secrets that go by a token's own form. Those that go by the words around it (keyword, basic_auth,
# artifactory, softlayer, cloudant, ibm_*), by entropy or by IP addresses alarm on ordinary code and prose.
PLUGINS = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
# Forms that its release 1.5.0 doesn't know, as their owners document them.
FURTHER = {
    "Anthropic API Key": r"sk-ant-[a-z0-9]{3,8}-[\w-]{80,120}",
    "GitHub Token": r"github_pat_\w{82}",
    "Google API Key": r"AIza[\w-]{35}",
    "Hugging Face Token": r"hf_[A-Za-z]{34}",
}
TOKEN = r"(?<![A-Za-z0-9])eyJ[\w=-]+\.eyJ[\w=-]+\.[\w=-]+"  # its plugin for JSON web tokens stops before the signature
BLOCK = (
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s)+(?:[\w-]+: .*\s+)*[\w+/=\s\\]{64,}"
    r"(?:-----END [A-Z0-9 ]+-----)?"
)
# Every pattern needs one of these in a word of 20 characters or more: most texts are done with after a look at that.
LONG = 20
HINTS = re.compile(
    r"A3T|AKIA|ASIA|ABIA|ACCA|AC[a-z0-9]{32}|SK[a-z0-9]{32}|AccountKey=|AIza|GR1348941|SG\.|T3BlbkFJ|[MNO][\w-]{23,25}\.|"
    r"\d{8}:|_authToken|eyJ|gh[pousr]_|github_pat_|gl[a-z]{2,6}-|hf_|hooks\.slack\.com|k_live_|pypi-|sk-ant-|sq0csp-|-us\d|"
    r"[xX][oO][xX][abposrABPOSR]-"
)
KEY_OF_AWS = re.compile(r"[0-9a-zA-Z/+]{40}")  # found by the words before it
VARIED = 8  # a token has as many different characters; a placeholder such as ghp_xxxx has fewer


def redacted(text: str, found: set[str]) -> str:
    """A text without its secrets; their kinds are added to `found`, as `secret: KIND`."""
    if not _may_have(text):
        return text
    for kind, pattern in patterns():

        def put(match: re.Match[str], kind: str = kind) -> str:
            if not _is_secret(match):
                return match[0]
            found.add(f"secret: {kind}")
            return PUT

        text = pattern.sub(put, text)
    return text


def _may_have(text: str) -> bool:
    """Whether a text can have a secret at all."""
    words = "\n".join(word for word in text.split() if len(word) >= LONG)
    if not words:
        return False
    keyed = "PRIVATE KEY" in text or ("aws" in text.lower() and KEY_OF_AWS.search(words))
    return bool(keyed or HINTS.search(words))


def _is_secret(match: re.Match[str]) -> bool:
    """Whether a match is no placeholder, no documented example and no part of a longer word."""
    text, (first, last) = match.string, match.span()
    inside = (first and _in_word(text[first - 1]) and _in_word(match[0][0])) or _in_word(text[last : last + 1])
    return not inside and len(set(match[0])) >= VARIED and "EXAMPLE" not in match[0].upper()


def _in_word(letter: str) -> bool:
    """Whether a letter next to a token makes both one word; in Chinese or Japanese, text follows without a space."""
    return letter.isascii() and letter.isalnum()


@cache
def patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Each pattern with the kind of secret that it finds; made once. Letters are those of ASCII, as in tokens."""
    from importlib import import_module  # detect-secrets imports `requests`, which takes a tenth of a second

    known = [getattr(import_module(f"detect_secrets.plugins.{name}"), plugin) for name, plugin in PLUGINS.items()]
    own = {"Private Key": BLOCK, "JSON Web Token": TOKEN, **FURTHER}
    found = [(str(one.secret_type), form.pattern, form.flags) for one in known for form in one.denylist]
    every = [*((kind, form, 0) for kind, form in own.items()), *found]
    return tuple((kind, re.compile(form, flags & ~re.UNICODE | re.ASCII)) for kind, form, flags in every)
