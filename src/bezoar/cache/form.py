"""What a job runs: its expanded command, its inputs under their roles, and the software that its rule names.

Uses these internals of Snakemake: `_format_wildcards` of a job, `_process_prefix` of its shell.
"""

import functools
import os
import re
import shlex
from collections import ChainMap
from collections.abc import Iterator
from typing import Any

from snakemake.shell import shell
from snakemake.utils import QuotedFormatter, SequenceFormatter

from bezoar import installed
from bezoar.cache import CacheError
from bezoar.cache.hashing import digest_of, md5_of
from bezoar.errors import problem

QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|\{[^{}]*\}", re.DOTALL)
SYNTAX = re.compile(r"\d*[<>]|[|&;`\n]|\$[({\w]")
NAME_IN_PATH = re.compile(r"[^/.\s]+")


def form_of(job: Any, inner: list[str]) -> str:
    """Digest of what a job runs, with the names of its inner wildcards in place of their values.

    Args:
        job: The job.
        inner: Names of the wildcards that split its block's work, such as `shard`.
    """
    own = {job.wildcards_dict[name]: f"{{{name}}}" for name in inner}
    form = {
        "command": [installed.name_of(word) if word.startswith("/") else word for word in expanded(job)],
        "inputs": [[role, paths] for role, paths in _roles(job)],
        "outputs": list(map(str, job.output)),
        "software": _software(job),
    }
    return digest_of(_renamed(form, own) if own else form)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """A value with parts of paths renamed: `data/seed/words/{shard}.jsonl` for the job of a shard.

    It can be undone by the outputs, so jobs of one shard with different forms stay different.
    """
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return NAME_IN_PATH.sub(lambda found: names.get(found[0], found[0]), value)


def _software(job: Any) -> dict[str, str]:
    """What a rule says of the environment that its command runs in; none of it by default."""
    conda = conda_file(job)
    spec = conda or getattr(job.conda_env_spec, "name", "") or getattr(job.conda_env_spec, "path", "")
    content = f" {_content(conda, os.stat(conda).st_ctime_ns)}" if os.path.isfile(conda) else ""
    found = {
        "prefix": shell._process_prefix or "",
        "container": str(job.container_img_url or ""),
        "modules": " ".join(job.env_modules.names) if job.env_modules else "",
        "conda": f"{spec}{content}",
    }
    return {name: text for name, text in found.items() if text}


def conda_file(job: Any) -> str:
    """The path or address of the file that describes the conda environment of a job's rule; empty for none."""
    file = getattr(job.conda_env_spec, "file", None)
    path = str(file.get_path_or_uri(secret_free=True)) if file else ""
    return os.path.relpath(path) if os.path.isfile(path) else path


@functools.cache
def _content(path: str, time: int) -> str:
    return md5_of(path)  # once for all jobs of a run


def _roles(job: Any) -> Iterator[tuple[str, list[str]]]:
    """The inputs of a job but the script, by name, or by position for those without a name."""
    names = [name for name in job.input.keys() if name != "script"]  # noqa: SIM118 - not a dict
    named = set()
    for name in names:
        found = job.input.get(name)
        paths = [found] if isinstance(found, str) else list(found)
        named.update(paths)
        yield name, [str(path) for path in paths]
    yield "", [str(path) for path in job.input if path not in named and path != job.input.script]


def command_of(job: Any) -> list[str]:
    """The words after `--` in a job's shell line."""
    return _after_mark(job, shlex.split(job.shellcmd.replace("\\\n", " ")))  # a shell joins continued lines


class _Apart:
    """Stands for a value that no result depends on; its attributes, too."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> "_Apart":
        return _Apart(f"{self.name}.{name}")

    def __getitem__(self, key: Any) -> "_Apart":
        return _Apart(f"{self.name}[{key}]")

    def __format__(self, spec: str) -> str:
        return f"{{{self.name}}}"


APART = {name: _Apart(name) for name in ("threads", "resources", "log", "jobid", "bench_iteration")}


def expanded(job: Any) -> list[str]:
    """A job's command as words, as it runs, but for threads, resources and logs."""
    formatter = SequenceFormatter(separator=" ", element_formatter=QuotedFormatter())
    known = {
        "input": job.input,
        "output": job.output,
        "params": job.params,
        "wildcards": job._format_wildcards,
        "name": job.name,
        "rule": job.rule.name,
        "rulename": job.rule.name,
        **APART,
    }
    text = formatter.vformat(job.rule.shellcmd, (), ChainMap(known, job.rule.workflow.globals))
    return _after_mark(job, shlex.split(text.replace("\\\n", " ")))


def _after_mark(job: Any, words: list[str]) -> list[str]:
    """The words after `--` of a shell line.

    Raises:
        CacheError: It doesn't name the rule's first output before it.
    """
    first, mark = str(job.output[0]), words.index("--") if "--" in words else len(words)
    if words[2:3] != [first] or not words[mark + 1 :]:
        raise CacheError(
            problem(
                f"rule {job.rule.name} names another output than the cache does",
                found=" ".join(words[:mark]),
                expected=f"bezoar exec {first} -- COMMAND",
                hint="name the rule's first output after `bezoar exec`",
            )
        )
    return words[mark + 1 :]


def shell_syntax(command: str) -> str:
    """The first part of a rule's command with a meaning for the shell: a redirect, a pipe, a list.

    Quoted text is a word, and so are Snakemake's `{placeholders}`.
    """
    text = re.sub(r"\\\n", " ", command).strip()
    found = SYNTAX.search(QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text))
    return text[found.start() :].strip().split("\n")[0][:60] if found else ""
