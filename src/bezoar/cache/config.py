"""DVC's configuration, read as DVC reads it, and checks of its committed part.

`.dvc/config` comes with a clone or a pull request. It may set the address of a remote, but nothing that makes this
machine run a command, read or write another folder, ask for a password or reveal a secret. Such options go into
`.dvc/config.local`; so does `cache.dir`, since builds trust what is in the cache.
"""

import os
import re
from typing import Any

from bezoar.cache import CacheError, git
from bezoar.errors import problem

COMMITTED, LOCAL = ".dvc/config", ".dvc/config.local"
NAMED = re.compile(r'^\s*(remote|machine|db)\s*"(.*)"\s*$')
SECRET = re.compile(  # options of remotes that must not be committed
    "password|passphrase|token|session_token|sas_token|access_key_id|secret_access_key|sse_customer_key|account_key|"
    "connection_string|client_secret|gdrive_client_secret|oss_key_id|oss_key_secret"
)
IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
SAFE = {  # options that a committed file may set, by section; DVC's schema (3.67) has more
    "core": "remote analytics autostage check_update checksum_jobs experiments hardlink_lock interactive no_scm",
    "cache": "protected shared slow_link_warning type verify",
    "exp": "auto_push",
    "feature": "machine",
    "parsing": "bool list",
    "plots": "auto_open html_template out_dir",
    "studio": "offline",
}
SAFE_OF_REMOTES = {  # by the kind of address; DVC itself refuses them for other kinds
    "any": "url checksum_jobs jobs no_traverse verify version_aware worktree",
    "a folder": "protected shared slow_link_warning type",
    "azure": "account_name allow_anonymous_login client_id connection_timeout exclude_environment_credential "
    "exclude_managed_identity_credential exclude_shared_token_cache_credential "
    "exclude_visual_studio_code_credential read_timeout tenant_id timeout",
    "gdrive": "gdrive_acknowledge_abuse gdrive_trash_only",
    "gs": "allow_anonymous_login projectname",
    "hdfs": "kerberos kerberos_principal replication use_https user",
    "http": "auth connect_timeout custom_auth_header method read_timeout ssl_verify user",
    "oss": "oss_endpoint",
    "s3": "acl allow_anonymous_login cache_regions connect_timeout endpointurl grant_full_control grant_read "
    "grant_read_acp grant_write_acp listobjects profile read_timeout region sse sse_customer_algorithm "
    "sse_kms_key_id ssl_verify use_ssl",
    "ssh": "allow_agent gss_auth max_sessions port timeout type user",
    "webdav": "custom_auth_header ssl_verify timeout user",
}
SAFE_OPTIONS = {name for names in SAFE_OF_REMOTES.values() for name in names.split()}


def settings() -> tuple[str, bool]:
    """Folder of the DVC cache, and whether a default remote is configured, by DVC's four configuration files.

    Raises:
        CacheError: One of them can't be read, or the committed one has a forbidden option.
    """
    folder, remote = ".dvc/cache", False
    for path, found in _files():
        if given := _value(found, "cache", "dir"):
            folder = os.path.relpath(os.path.join(os.path.dirname(path), os.path.expanduser(given)))
        remote = remote or bool(_value(found, "core", "remote"))
    return folder, remote


def shared_by_group(*, committed: bool = True) -> bool:
    """Whether a group works with this cache: `cache.shared` is `group`.

    Args:
        committed: Whether the committed file counts, too.

    Raises:
        CacheError: As in `settings`.
    """
    files = [found for path, found in _files() if committed or path != COMMITTED]
    given = [value for found in files if (value := _value(found, "cache", "shared"))]
    return bool(given) and given[-1].lower() == "group"


def _files() -> list[tuple[str, dict[str, Any]]]:
    """The configuration files that exist, from the system's to the one of this clone, by section."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    found = []
    for path in ("/etc/xdg/dvc/config", f"{home}/dvc/config", COMMITTED, LOCAL):
        if os.path.exists(path):
            parsed = _parsed(path)
            if path == COMMITTED:
                check_committed(parsed)
            elif path == LOCAL:
                _check_untracked()
            found.append((path, parsed))
    return found


def _parsed(path: str) -> dict[str, Any]:
    """A file's sections, each with its options; remotes by `remote "name"`."""
    from configobj import ConfigObj, ConfigObjError  # DVC's own parser: another one could see other options

    try:
        with open(path, encoding="utf-8") as file:
            read = _lower(ConfigObj(file).dict())
    except (ConfigObjError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise CacheError(
            problem(f"{path} can't be read", found=error, expected="what `dvc config` writes", hint="correct it")
        ) from error
    for section, options in read.items():
        if not isinstance(options, dict):
            raise CacheError(
                problem(
                    f"{path} can't be read",
                    found=f"{section} outside of a section",
                    expected="what `dvc config` writes",
                    hint="correct it",
                )
            )
    return read


def _lower(data: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): _lower(value) if isinstance(value, dict) else value for name, value in data.items()}


def _value(found: dict[str, Any], section: str, option: str) -> str:
    value = found.get(section, {}).get(option)
    return value if isinstance(value, str) else ""


def check_committed(found: dict[str, Any]) -> None:
    """Refuse secrets and forbidden options in a committed configuration.

    Raises:
        CacheError: There is one; the message doesn't show its value.
    """
    for section, options in found.items():
        named = NAMED.match(section)
        remotes = {named[2]: options} if named and named[1] == "remote" else options if section == "remote" else {}
        for name, one in remotes.items():
            for option, value in one.items() if isinstance(one, dict) else [(name, one)]:
                _check_option(name, option, value, one)
        if not remotes:
            for option in options:
                if option not in SAFE.get(section, "").split():
                    raise _unsafe(
                        f"{section}.{option}",
                        f"{section}.{option}",
                        f"config --unset {section}.{option}",
                        "config --local",
                    )


def _check_option(name: str, option: str, value: Any, around: Any) -> None:
    """Check an option of a remote; `around` has the remote's other options."""
    in_url = isinstance(value, str) and IN_URL.search(value)
    if in_url or SECRET.fullmatch(option):
        away = f"{name} url URL` without it" if in_url else f"--unset {name} {option}`"
        own = "password" if in_url else option
        raise CacheError(
            problem(
                f"{COMMITTED} has a secret of remote {name}, and git would publish it",
                found=f"a value for {option}{' with a password in it' if in_url else ''}",
                expected=f"credentials in {LOCAL} or in the environment",
                hint=f"`dvc remote modify {away}, then `dvc remote modify --local {name} {own} VALUE`; if it was "
                "committed, revoke it where it was issued",
            )
        )
    kind = str(around.get("url", "")).partition("://")[0] if isinstance(around, dict) else ""
    sends_token = (
        option == "endpointurl" and kind != "s3"
    )  # Google's clients send it to that address; those of S3 only sign with it
    if option not in SAFE_OPTIONS or isinstance(value, dict) or sends_token:
        away = f"remote modify --unset {name} {option}"
        raise _unsafe(f"remote {name}: {option}", option, away, f"remote modify --local {name}")


def _unsafe(found: str, option: str, away: str, local: str) -> CacheError:
    return CacheError(
        problem(
            f"{COMMITTED}, which comes with a clone, sets what only the owner of a machine should",
            found=found,
            expected="no options with commands, paths of this machine or secrets",
            hint=f"`dvc {away}`; if you trust it, `dvc {local}` with {option} sets it in {LOCAL}",
        )
    )


def _check_untracked() -> None:
    """Refuse a local configuration that git tracks: clones would contain it, and it isn't checked.

    Raises:
        CacheError: Git tracks it, or doesn't answer.
    """
    if git.tracked(LOCAL):
        raise CacheError(
            problem(
                f"{LOCAL} is tracked by git",
                found="a file that comes with every clone",
                expected="an untracked file of this machine",
                hint=f"look at it, then `git rm --cached {LOCAL}`",
            )
        )
