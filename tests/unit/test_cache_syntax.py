"""Code means the same under every minor version of Python, so that none of them builds again what another has built."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.cache import code, meanings, syntax
from bezoar.cache.syntax import meaning_of

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("python_3_11.txt").read_text(encoding="utf-8")  # a snippet after each empty line
OTHERS = [name for name in ("3.11", "3.12", "3.13", "3.14") if name != meanings.VERSION]
PROGRAM = """
import json, runpy, sys
meaning_of = runpy.run_path(sys.argv[1])["meaning_of"]
texts = json.load(sys.stdin)
meanings = {name: meaning_of(text.encode()) for name, text in texts.items()}
json.dump({"meanings": meanings, "library": sorted(sys.stdlib_module_names)}, sys.stdout)
"""
# Not of a module's tree; older than 3.11, kept by name only; newer than 3.11.
NO_NODES = frozenset("Expression Interactive FunctionType TypeIgnore".split())
OLD_NODES = frozenset("AugLoad AugStore Bytes Ellipsis ExtSlice Index NameConstant Num Param Str Suite".split())
NEW_NODES = frozenset("Interpolation ParamSpec TemplateStr TypeAlias TypeVar TypeVarTuple".split())


def snippets():
    return {text: text for text in CORPUS.split("\n\n")}


def texts():
    """All that interpreters have to agree on: snippets, and our own code by path."""
    paths = [path for folder in ("src", "scripts") for path in (ROOT / folder).rglob("*.py")]
    return snippets() | {str(path): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module", params=OTHERS)
def other(request):
    """What another interpreter says of the texts; it needs none of our packages."""
    name = f"python{request.param}"
    environment = {**os.environ, "PYENV_VERSION": request.param}  # pyenv has names that run only if they are asked for
    try:
        subprocess.run([name, "--version"], env=environment, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no {name} here")
    command = [name, "-I", "-c", PROGRAM, syntax.__file__]
    done = subprocess.run(
        command, env=environment, check=True, input=json.dumps(texts()).encode(), stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def concrete(base):
    """Names of all classes of nodes that have no subclasses."""
    below = base.__subclasses__()
    return {base.__name__} if not below else {name for one in below for name in concrete(one)}


@pytest.mark.filterwarnings("ignore::Warning")  # some snippets are there for what Python says of them
def test_the_snippets_have_every_node_of_python_3_11():
    used = {type(node).__name__ for text in snippets() for node in ast.walk(ast.parse(text))}
    assert used >= concrete(ast.AST) - NO_NODES - OLD_NODES - NEW_NODES


def test_the_meaning_of_the_snippets_stays():
    # If it has to change, everything is built again everywhere: then write the new digest here.
    digests = [meaning_of(text.encode())[0] for text in snippets()]
    assert hashlib.sha256("".join(digests).encode()).hexdigest()[:16] == "8b29534ff4ba9454"


def test_another_python_finds_the_same_meaning_of_snippets_and_of_our_code(other):
    here = {name: list(meaning_of(text.encode())) for name, text in texts().items()}
    assert {name: found for name, found in other["meanings"].items() if found != here[name]} == {}
    assert other["meanings"].keys() == here.keys()


def test_another_python_finds_the_same_standard_library(other):
    there, here = ({name for name in names if name[0] != "_"} for names in (other["library"], sys.stdlib_module_names))
    assert there | code.REMOVED == here | code.REMOVED


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("x = 1", "x = True"),
        ("x = 1", "x = '1'"),
        ("x = None", "x = 'None'"),
        ("x = 'a'", "x = b'a'"),
        ("x = 0.0", "x = -0.0"),
        ("x = ''", "x = f''"),
        ("x = f'a'", "x = 'a'"),
        ("x = f'{a}'", "x = f'{a!s}'"),
        ("x = f'{a}'", "x = f'{a:}'"),
        ("x = f'{a}{b}'", "x = f'{a}{{b}}'"),
        ("f(a, b)", "f((a, b))"),
        ("f(*a)", "f(**a)"),
        ("a if b else c", "c if b else a"),
        ("x = [a, [b]]", "x = [[a], b]"),
        ("x = {**a, b: c}", "x = {b: c, **a}"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("def f(*, a): pass", "def f(a): pass"),
        ("def f(a=1, b=2): pass", "def f(b=2, a=1): pass"),
        ("for x in y: pass\nelse: a", "for x in y: a"),
        ("try: a\nfinally: b", "try: a\nexcept: b"),
        ("try: a\nexcept A: b", "try: a\nexcept* A: b"),
        ("global a\na = 1", "a = 1"),
        ("async def f(): pass", "def f(): pass"),
        ("def f():\n  1\n  'a'", "def f():\n  'a'\n  1"),
    ],
)
def test_what_differs_in_meaning_differs_in_its_digest(one, another):
    assert meaning_of(one.encode())[0] != meaning_of(another.encode())[0]


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("x = 'a'", "x = u'a'"),
        ("x = f'{a}b'", "x = f'{a}' u'b'"),
        ("x = f'{a}'", "x = '' f'{a}'"),
        ("x = 16", "x = 0x10"),
        ("x = 1000.0", "x = 1e3"),
        ("x = 'é'", "x = '\\xe9'"),
        ("def f(): 'doc'; return 1", "def f(): return 1"),
        ("x = y  # type: int", "x = y"),
        ("x = (y)", "x = y"),
    ],
)
def test_what_is_spelt_in_another_way_means_the_same(one, another):
    assert meaning_of(one.encode()) == meaning_of(another.encode())


def test_code_may_be_deep_and_its_numbers_long():
    chain, number = " + ".join(["a"] * 2000), "0x" + "f" * 10_000
    assert len(meaning_of(f"x = {chain}, {number}".encode())[0]) == syntax.LENGTH


@pytest.mark.filterwarnings("error")
def test_a_warning_of_python_about_code_is_left_to_the_run_of_that_code():
    assert meaning_of(b"x = '\\d'") == meaning_of(b"x = '\\\\d'")


def test_names_that_are_imported_are_in_order():
    text = b"import b.c, a\nfrom . import d\nfrom ..e import f as g\ndef h(): from i import *"
    assert meaning_of(text)[1] == [".", "..e", "..e.f", ".d", "a", "b.c", "i", "i.*"]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("print(1)", ""),
        ("__doc__ = 'text'", ""),
        ("f.__doc__ = 'text'", ""),
        ("backend.json_schema", ""),  # a field, not a call
        ("Flags(__doc__)", "own"),
        ("print(f.__doc__)", "all"),
        ("getattr(f, '__doc__')", "all"),
        ("from inspect import getdoc as doc", "all"),
        ("Model.model_json_schema()", "all"),
        ("TypeAdapter(int).json_schema()", "all"),
        ("print(__doc__, f.__doc__)", "all"),
        ("inspect.getsource(f)", "source"),
        ("import linecache", "source"),
        ("getsource(f), f.__doc__", "source"),
    ],
)
def test_a_module_says_which_docstrings_it_reads(text, reads):
    assert meaning_of(text.encode())[2] == reads


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("'a'\nprint(1)", "'b'\nprint(1)", True),
        ("'a'\nprint(__doc__)", "'b'\nprint(__doc__)", False),
        ("class A:\n 'a'\n x = __doc__", "class A:\n 'b'\n x = __doc__", False),
        ("'a'\ndef f():\n 'a'\nprint(__doc__)", "'a'\ndef f():\n 'b'\nprint(__doc__)", True),
    ],
)
def test_a_docstring_counts_for_the_module_that_reads_it(one, another, same):
    assert (meaning_of(one.encode())[0] == meaning_of(another.encode())[0]) is same


def test_docstrings_count_where_they_are_asked_for():
    one, another = b"def f():\n 'a'", b"def f():\n 'b'"
    assert meaning_of(one)[0] == meaning_of(another)[0]
    assert meaning_of(one, docstrings=True)[0] != meaning_of(another, docstrings=True)[0]
