"""The page docs/reference/cli.md: every command with its arguments, from the parsers. `make format` writes it.

It has its own form of a usage line, since argparse's differs between versions of Python.
"""

import argparse
from collections.abc import Iterator

from bezoar.cli import parser
from bezoar.text import show

HEAD = """\
# Commands

For everybody: the command `bezoar`, which is in `.venv/bin`. `bezoar COMMAND --help` prints the same. Shell completion:
`bezoar completion bash`, also for zsh and tcsh.

This page is written by `make format` from `src/bezoar/cli/`.
"""
Parsers = argparse._SubParsersAction


def page() -> str:
    """The text of the page."""
    found = list(_commands(parser()))
    rows = [f"| [`{one.prog}`](#{one.prog.replace(' ', '-')}) | {_cell(says)} |" for one, says in found]
    table = ["| command | does |", "|---|---|", *sorted(rows), ""]
    sections = [_section(one, says) for one, says in sorted(found, key=lambda pair: pair[0].prog)]
    return "\n".join([HEAD, *table, *sections])


def _commands(made: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The parsers of all commands that do something, with what each does."""
    for action in made._actions:
        if isinstance(action, Parsers):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for name, one in action.choices.items():
                below = list(_commands(one))
                yield from below or [(one, helps.get(name, ""))]


def _section(made: argparse.ArgumentParser, says: str) -> str:
    arguments = [one for one in made._actions if one.help != argparse.SUPPRESS and one.dest != "help"]
    words = [_usage(one) for one in sorted(arguments, key=lambda one: bool(one.option_strings))]
    usage = made.usage or " ".join([made.prog, *words])
    lines = [f"## {made.prog}", "", _sentence(made.description or says), "", "```text", usage, "```", ""]
    if arguments:
        lines += ["| argument | says |", "|---|---|"]
        lines += [f"| `{_name(one)}` | {_cell(one.help or _choices(one))} |" for one in arguments]
        lines += [""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _choices(one: argparse.Action) -> str:
    return "one of " + ", ".join(f"`{each}`" for each in one.choices or ())


def _value(one: argparse.Action) -> str:
    """What a user writes for an argument's value."""
    if isinstance(one.metavar, str):
        return one.metavar
    return "|".join(one.choices) if one.choices else one.dest.upper()


def _name(one: argparse.Action) -> str:
    names = ", ".join(one.option_strings)
    return (f"{names} {_value(one)}" if one.nargs != 0 else names) if names else _value(one)


def _usage(one: argparse.Action) -> str:
    value = "" if one.nargs == 0 else _value(one)
    many = {"+": f"{value} ...", "*": f"{value} ...", 1: value}.get(one.nargs or "", value)
    if one.option_strings:
        word = f"{one.option_strings[0]} {many}".strip()
        return word if one.required else f"[{word}]"
    return f"[{many}]" if one.nargs in ("*", "?") else many


if __name__ == "__main__":
    show(page(), end="")
