"""Which code a job of the small graph loads and what that means, read from the files as Python searches them."""

import ast
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

KINDS = ("source", "shard", "generate", "mix", "train", "score")  # the Snakefile's rules in order, however named
CONSTANT = re.compile(r"^([A-Z_]+) = (.+)$", re.MULTILINE)
IMPORT = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)  # not those inside functions, which no one calls
RULE = re.compile(r"^rule (\w+):\n((?:[ \n].*\n|\n)+)", re.MULTILINE)


class Rule(NamedTuple):
    """A rule as the Snakefile has it.

    Attributes:
        name: Its name.
        script: The path of its script.
        flags: Python's flags in its command.
        text: All of it.
    """

    name: str
    script: str
    flags: str
    text: str


class Used(NamedTuple):
    """The code of a job.

    Attributes:
        meanings: By label: its folder and its name.
        versions: Of distributions.
        constants: By name, of all modules.
        about: The docstring of the module that `PLUGIN` names.
        hidden: Modules of the standard library that scripts/ hides and that it doesn't import.
    """

    meanings: dict[str, str]
    versions: dict[str, str]
    constants: dict[str, Any]
    about: str
    hidden: list[str]


class Code:
    """All code of a folder, and of the environment's folders.

    Args:
        root: The repository's folder.
        environment: Variables; PYTHONPATH has the environment's folders.

    Attributes:
        furnished: Whether it is the furnished graph (fuzzed.py).
        rules: By kind.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.search = [root / "scripts", *map(Path, environment.get("PYTHONPATH", "").split(":")), root / "src"]
        self._used: dict[str, Used] = {}
        flags = root / "more/flags.smk"
        self.furnished = flags.exists()
        given = constants(flags.read_text())["FLAGS"] if self.furnished else ""
        found = RULE.findall((root / "Snakefile").read_text())[1:]  # without `all`
        self.rules = {kind: self._rule(*one, given) for kind, one in zip(KINDS, found, strict=True)}

    def _rule(self, name: str, text: str, flags: str) -> Rule:
        script = re.search(r'script="(.+)"', text)
        flag = re.search(r'flag="(.*)"', text)
        assert script
        return Rule(name, script[1], flags if "{FLAGS}" in text else flag[1] if flag else "", text)

    def used(self, kind: str) -> Used:
        """What the jobs of a rule load."""
        if kind not in self._used:
            self._used[kind] = self._load(self.root / self.rules[kind].script)
        return self._used[kind]

    def _load(self, script: Path) -> Used:
        found: dict[Path, None] = {}
        todo, plugin = [script], None
        while todo:
            path = todo.pop()
            if path not in found:
                found[path] = None
                text = path.read_text()
                names = IMPORT.findall(text)
                if name := constants(text).get("PLUGIN"):
                    plugin = self.find(name)
                    todo.append(plugin or path)
                todo += [one for name in names if (one := self.find(name))]
        return self._of(list(found), plugin)

    def find(self, name: str) -> Path | None:
        """The file that is imported under a name; None for one of the standard library, and of others' packages."""
        paths = (folder / f"{name}.py" for folder in self.search)
        return next((path for path in paths if path.exists()), None)

    def _of(self, files: list[Path], plugin: Path | None) -> Used:
        texts = {path: path.read_text() for path in files}
        documented = any(".__doc__" in text for text in texts.values())
        own = [path for path in files if path.parent.name != "site-packages"]
        known = {name: value for text in texts.values() for name, value in constants(text).items()}
        names = {path.stem for path in (self.root / "scripts").glob("*.py") if path not in texts}
        return Used(
            {f"{path.parent.name}/{path.name}": meaning(texts[path], documented=documented) for path in own},
            {path.stem: release(version(path)) for path in files if path not in own},
            known,
            ast.get_docstring(ast.parse(texts[plugin]), clean=False) or "" if plugin else "",
            sorted(names & sys.stdlib_module_names),
        )


def constants(text: str) -> dict[str, Any]:
    """The constants of a module."""
    return {name: yaml.safe_load(value) for name, value in CONSTANT.findall(text)}


def meaning(text: str, *, documented: bool) -> str:
    """The code of a module without comments and layout, and without docstrings unless they count."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and not documented and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def version(module: Path) -> str:
    """The version of the distribution with a module."""
    record = next(module.parent.glob(f"{module.stem}-*.dist-info"))
    return record.name.removeprefix(f"{module.stem}-").removesuffix(".dist-info")


def release(version: str) -> str:
    """A version as far as it counts: builds of one release are alike, commits aren't."""
    return version if ".dev" in version else version.partition("+")[0]
