"""Links of pages lead somewhere, on the site and in a repository's web view; their commands exist."""

import re
import shlex
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import guide
import pytest
import yaml
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser

from bezoar import cli as commands
from bezoar.cli import reference as cli
from bezoar.recipe import reference as params

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+?)#*$", re.MULTILINE)
NAMED = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.(?:md|svg)(?! of )")  # not of another repository
TEXTS = (".py", ".smk", ".yaml", ".yml", ".toml", ".md", ".txt", ".json", ".jinja", "Makefile", "Snakefile")


def tracked() -> list[Path]:
    """The files of the repository, also those that git doesn't know yet, but not ignored ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in (ROOT / name for name in names) if path.is_file()]


FILES = tracked()
PAGES = [path for path in FILES if path.suffix == ".md"]


def prose(path: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path, web: bool) -> set[str]:
    """Names of a page's headings: as a repository's web view makes them, or as the site does (Python-Markdown)."""
    found = set()
    for heading in HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip()
        if web:
            found.add(re.sub(r"[^\w\s-]", "", text.lower()).replace(" ", "-"))
        else:
            ascii_ = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
            found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_).strip().lower()))
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links of a page's text that lead nowhere, each with the reason."""
    found = []
    for link in (one or other for one, other in LINK.findall(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists():
            found.append(f"{link}: no such file")
        elif DOCS in page.parents and DOCS not in place.parents:
            found.append(f"{link}: leads out of docs/, which the site doesn't have; write it as code")
        elif anchor and anchor not in anchors(place, web=True) & anchors(place, web=False):
            found.append(f"{link}: no such heading, or one with two names; give it a simpler one")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken(page, prose(page)) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("gone.md", "no such file"),
        ("index.md#gone", "no such heading"),
        ("../README.md", "leads out of docs/"),
        ("appendix/scale.md#100000-rows-3-schemes", "one with two names"),  # a web view writes rows--3
    ],
)
def test_a_broken_link_is_found(link: str, why: str) -> None:
    [found] = broken(DOCS / "index.md", f"See [this]({link}).")
    assert why in found
    assert broken(DOCS / "index.md", "See [this](appendix/scale.md#units).") == []


def test_the_first_page_lists_all_how_tos() -> None:
    linked = {one.partition("#")[0] for one, _ in LINK.findall((DOCS / "index.md").read_text(encoding="utf-8"))}
    pages = {str(page.relative_to(DOCS)) for page in (DOCS / "how-to").glob("*.md")}
    assert pages - linked == set()


def test_files_of_docs_that_other_files_name_exist() -> None:
    texts = [path for path in FILES if path.name.endswith(TEXTS)]
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert gone == []


# --- Commands ---------------------------------------------------------------------------------------------------------

CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEPARATOR = re.compile(r"&&|\|\||[;|()]")
VARIABLE = re.compile(r"[A-Z_]+=")


def calls(text: str) -> Iterator[list[str]]:
    """The words of each program call in the commands of a page's text."""
    for command in (one.text for block in CONSOLE.findall(text) for one in guide.commands(block)):
        quoted = {f"Q{number}Q": part for number, part in enumerate(re.findall(r"'[^']*'|\"[^\"]*\"", command))}
        for name, part in quoted.items():
            command = command.replace(part, name, 1)
        for call in SEPARATOR.split(command):
            words = [word for word in shlex.split(call) if not VARIABLE.match(word)]
            yield [quoted.get(word, word) for word in words]


def make_targets() -> set[str]:
    rules = re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {name for rule in rules for name in rule.split()}


def unknown(words: list[str]) -> str:
    """What is wrong with a call of bezoar, dvc or make; empty if nothing is, or if it is of another program."""
    program, arguments = words[0], words[1:]
    if program == "make":
        return " ".join(one for one in arguments if "=" not in one and one not in make_targets())
    parsers: dict[str, Callable[[], object]] = {
        "bezoar": lambda: commands.parser().parse_args(arguments),
        "dvc": lambda: get_main_parser().parse_args(arguments),
    }
    try:
        parsers.get(program, lambda: None)()
    except (SystemExit, DvcParserError):
        return f"refused: {' '.join(words)}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_pages_have_the_arguments_that_they_show(page: Path) -> None:
    found = [unknown(words) for words in calls(page.read_text(encoding="utf-8")) if words]
    assert [one for one in found if one] == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("bezoar plan --none", "refused: bezoar plan --none"),
        ("true && X=1 bezoar pla", "refused: bezoar pla"),
        ("dvc repro --none", "refused: dvc repro --none"),
        ("make test-none check", "test-none"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, why: str) -> None:
    text = f"```console\n$ bezoar plan\n$ {command}  # a comment\nwhat it shows\n```\n"
    assert [unknown(words) for words in calls(text) if unknown(words)] == [why]


# --- The site ---------------------------------------------------------------------------------------------------------


def test_generated_pages_are_what_the_code_says() -> None:
    cure = "hint: run `make format` and commit the result"
    generated = {"cli.md": cli.page()} | {f"params/{name}": text for name, text in params.pages().items()}
    for name, text in generated.items():
        assert (DOCS / "reference" / name).read_text(encoding="utf-8") == text, f"docs/reference/{name}\n{cure}"
    assert {path.name for path in (DOCS / "reference/params").iterdir()} == params.pages().keys(), cure


def pages(entries: list) -> list[str]:
    """The pages of a navigation, in order."""
    found = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages(value) if isinstance(value, list) else [value]
    return found


def test_the_navigation_has_each_page_once() -> None:
    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in PAGES if DOCS in path.parents)


def test_each_page_begins_with_its_title_and_has_no_other() -> None:
    for page in PAGES:
        if DOCS in page.parents:
            text = FENCE.sub("", page.read_text(encoding="utf-8"))
            assert text.startswith("# "), page
            assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, page


def test_the_tutorial_explains_each_job_of_its_plan() -> None:
    text = (DOCS / "tutorial/index.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([a-z, ]+) \| (\d+) \|", text, re.MULTILINE)
    [(planned, _)] = set(re.findall(r"^(\d+) to run, (0) up to date$", text, re.MULTILINE))
    assert sum(int(jobs) for _, jobs in table) == int(planned)
    smk = "".join(
        path.read_text() for folder in ("rules", "src/bezoar/template/rules") for path in (ROOT / folder).glob("*.smk")
    )
    assert {rule for names, _ in table for rule in names.split(", ")} <= set(
        re.findall(r"^rule (\w+):", smk, re.MULTILINE)
    )


# --- Workflows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").iterdir()), ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    steps = [(job, step["run"]) for job in jobs.values() for step in job["steps"] if "run" in step]
    named = set()
    for job, text in steps:
        for target in job.get("strategy", {}).get("matrix", {}).get("target", [""]):
            words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "=", text.replace("${{ matrix.target }}", target)))
            named |= {one for one in words[1:] if words[0] == "make" and "=" not in one}
    assert named
    assert named <= make_targets()


def marked(target: str) -> set[str]:
    """The markers of the tests that a target of make runs."""
    text = (ROOT / "Makefile").read_text()
    chosen = re.search(rf"^{target}:.*\n\t\$\(BIN\)/pytest -m (?:'([\w ]+)'|(\w+))", text, re.MULTILINE)
    assert chosen, target
    return set(re.findall(r"(?<!not )\b(?!(?:and|or|not)\b)\w+", chosen[1] or chosen[2]))


def test_the_long_workflow_runs_each_test_once() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/long.yml").read_text())["jobs"]["test-long"]
    run = [one for target in job["strategy"]["matrix"]["target"] for one in marked(target)]
    assert sorted(run) == sorted(marked("test-long") - {"gpu"})  # no runner has one


def test_a_change_has_to_pass_what_ci_runs() -> None:
    text = (ROOT / ".github/workflows/check.yml").read_text()
    called = re.findall(r"^make ([\w-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert called
    assert all(f"run: make {one}\n" in text for one in called)
