"""A committed .dvc/config may set the address of a remote, but no option that only the machine's owner may set."""

from pathlib import Path

import pytest
from dvc.config_schema import REMOTE_SCHEMAS, SCHEMA
from voluptuous import Marker

from bezoar.cache import CacheError, config
from bezoar.cache.config import SAFE, SAFE_OF_REMOTES, SAFE_OPTIONS, settings, shared_by_group

URLS = {
    "": "/srv/x",
    "azure": "azure://c/p",
    "gdrive": "gdrive://id",
    "gs": "gs://b/p",
    "hdfs": "hdfs://h/p",
    "oss": "oss://b/p",
    "s3": "s3://b/p",
    "ssh": "ssh://h/p",
    "http": "https://h/p",
    "webdav": "webdavs://h/p",
    "webhdfs": "webhdfs://h/p",
}
COMMANDS_FILES_AND_SECRETS = [
    "configpath",
    "credentialpath",
    "keyfile",
    "password",
    "passphrase",
    "ask_password",
    "ask_passphrase",
    "token",
    "bearer_token_command",
    "cert_path",
    "key_path",
    "kerb_ticket",
    "proxy_to",
    "data_proxy_target",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "sse_customer_key",
    "connection_string",
    "sas_token",
    "account_key",
    "client_secret",
    "oss_key_id",
    "oss_key_secret",
    "gdrive_client_id",
    "gdrive_client_secret",
    "gdrive_user_credentials_file",
    "gdrive_service_account_json_file_path",
    "gdrive_service_account_user_email",
    "gdrive_use_service_account",
    "credential_process",
    "proxycommand",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder as the current one, and no configuration of this machine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    Path(".dvc").mkdir()
    return tmp_path


def commit(text):
    Path(".dvc/config").write_text(text)


def named(option):
    return option.schema if isinstance(option, Marker) else option


@pytest.mark.parametrize("option", COMMANDS_FILES_AND_SECRETS)
def test_a_remote_with_a_command_a_file_or_a_secret_is_refused_without_its_value(option):
    commit(f"['remote \"r\"']\n    url = s3://b\n    {option} = TopSecret\n")
    with pytest.raises(CacheError, match=rf"^\.dvc/config(.|\n)*{option}(.|\n)*hint: ") as caught:
        settings()
    assert "TopSecret" not in str(caught.value)


def test_every_option_of_every_kind_of_remote_is_either_known_to_be_safe_or_refused():
    known = {str(named(option)) for schema in REMOTE_SCHEMAS.values() for option in schema} - {str(str)}
    refused = {option for option in known if not isinstance(option, type)} - SAFE_OPTIONS
    assert refused - {"<class 'str'>"} <= set(COMMANDS_FILES_AND_SECRETS)


def test_no_safe_option_is_one_that_dvc_does_not_have():
    known = {named(option) for schema in REMOTE_SCHEMAS.values() for option in schema}
    assert known >= SAFE_OPTIONS
    for section, options in SAFE.items():
        schema = SCHEMA[section]
        assert {named(one) for one in getattr(schema, "schema", schema)} >= set(options.split()), section


@pytest.mark.parametrize("kind", [kind for kind in SAFE_OF_REMOTES if kind in URLS])
def test_the_safe_options_of_a_kind_pass(kind):
    options = "".join(f"    {option} = 1\n" for option in SAFE_OF_REMOTES[kind].split())
    commit(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {URLS[kind]}\n    jobs = 2\n{options}")
    assert settings() == (".dvc/cache", True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[core]\n    site_cache_dir = /tmp/x\n", "core.site_cache_dir"),
        ("[cache]\n    dir = ..\n", "cache.dir"),
        ("[cache]\n    shared = group\n    DIR = /home/me\n", "cache.dir"),
        ("[hydra]\n    config_module = os\n", "hydra.config_module"),
        ("[hydra]\n    plugins_path = plugins\n", "hydra.plugins_path"),
        ("[studio]\n    token = t\n", "studio.token"),
        ("[studio]\n    url = http://x\n", "studio.url"),
        ("['machine \"m\"']\n    startup_script = x.sh\n", "startup_script"),
        ("['db \"d\"']\n    url = sqlite://x\n", "url"),
        ("[exp]\n    git_remote = ext::sh\n", "exp.git_remote"),
    ],
)
def test_other_sections_may_not_name_code_files_or_secrets(text, found):
    commit(text)
    with pytest.raises(CacheError, match=f"only the owner of a machine should\n  found:    .*{found}\n"):
        settings()


@pytest.mark.parametrize(
    "text",
    [
        "['remote \"r\"']\n    url = s3://b\n        configpath = x\n",  # to Python's configparser, a longer url
        "['remote \"r\"']\n    url = s3://b\n    'configpath' = x\n",
        "['remote \"r\"']\n    url = s3://b\n    ConfigPath = x\n",
        "# a comment\x0b['remote \"r\"']\n    configpath = x\n['remote \"s\"']\n    configpath = x\n",
        "[remote]\n[[r]]\n    url = s3://b\n    configpath = x\n",
        "['  remote \"r\"  ']\n    configpath = x\n",
        '[remote "r"]\n    configpath = x\n',
    ],
)
def test_an_option_is_found_wherever_dvc_would_find_it(text):
    commit(text)
    with pytest.raises(CacheError, match=r"(?i)configpath|can't be read"):
        settings()


def test_what_is_refused_in_the_committed_file_may_stand_in_the_local_one():
    commit("[core]\n    remote = r\n['remote \"r\"']\n    url = s3://b\n")
    Path(".dvc/config.local").write_text("['remote \"r\"']\n    configpath = x\n    access_key_id = a\n")
    assert settings() == (".dvc/cache", True)


def test_a_local_configuration_that_git_holds_is_refused(folder, monkeypatch):
    Path(".dvc/config.local").write_text("['remote \"r\"']\n    configpath = x\n")

    monkeypatch.setattr(config.git, "tracked", lambda path: {path: "100644"})
    with pytest.raises(CacheError, match=r"config\.local is tracked by git"):
        settings()


@pytest.mark.parametrize(
    ("text", "shared"), [("[cache]\n    shared = group\n", True), ("[cache]\n    type = copy\n", False)]
)
def test_a_group_shares_a_cache_if_dvc_says_so(text, shared):
    commit(text)
    assert shared_by_group() is shared


def test_a_committed_file_may_not_send_googles_token_elsewhere():
    commit("['remote \"r\"']\n    url = gs://b\n    endpointurl = https://elsewhere\n")
    with pytest.raises(CacheError, match="remote r: endpointurl"):
        settings()
