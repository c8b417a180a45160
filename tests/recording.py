"""A recording of a terminal as SVG, for the README: `make pictures`, after a build. It runs the commands it shows."""

import argparse
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from collections.abc import Iterable
from pathlib import Path

WIDTH = 88
COMMANDS = ("bezoar plan results/mtbench.json -S stages.dpo_hh.beta=0.2", "snakemake")
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # of a server elsewhere


def said(command: str) -> str:
    """What a command writes on a terminal of WIDTH columns.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (100, WIDTH))
    wanted = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    places = os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()])
    variables = {**wanted, "TERM": "xterm-256color", "PATH": places}
    started = subprocess.Popen(shlex.split(command), stdin=side, stdout=side, stderr=side, env=variables)
    os.close(side)
    found = b"".join(iter(lambda: _read(main), b""))
    os.close(main)
    if started.wait():
        raise subprocess.CalledProcessError(started.returncode, command, found)
    return found.decode(errors="replace").replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has ended
        return b""


def drawn(commands: Iterable[str], title: str) -> str:
    """The SVG of a terminal in which these commands ran one after the other."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    for place, command in enumerate(commands):
        if place:
            console.print()
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(said(command).rstrip()))
    return FONTS.sub("", console.export_svg(title=title)).replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write terminal.svg to")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "terminal.svg").write_text(drawn(COMMANDS, "bezoar"), encoding="utf-8")
