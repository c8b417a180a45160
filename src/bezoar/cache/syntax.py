"""The meaning of a module's text, and its imports: equal under every minor version of Python that can parse it.

`ast.dump` isn't. Python 3.12 adds the field `type_params` to functions and classes, and the `u` of u"text" and empty or
divided texts to f-strings; 3.13 leaves out empty fields, and makes a plain text of some format specifications.
"""

import ast
import hashlib
import warnings
from collections.abc import Iterator

LENGTH = 32  # hexadecimal digits of a digest
# Fields about spelling (u"text"), or that follow from the place (a name is loaded or stored).
SPELLING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


# How code gets at its docstrings or its text, so that they are part of its meaning.
OWN, ALL, SOURCE = "own", "all", "source"
DOCSTRINGS = frozenset(
    """__doc__ getdoc pydoc doctest docstring_parser get_json_schema model_json_schema models_json_schema
    schema_json""".split()
)
SOURCES = frozenset("findsource getcomments getsource getsourcelines linecache".split())


def meaning_of(text: bytes, *, docstrings: bool = False) -> tuple[str, list[str], str]:
    """A digest of a module's syntax tree, the names that it imports, sorted, and the docstrings that it reads.

    The last is `own`, `all` that it can find, even the `source`, or empty for none. Docstrings aren't in the digest,
    unless they are asked for; those of the module and its classes are if the module reads any.

    Raises:
        SyntaxError: This Python can't parse the text.
        ValueError: It has a null byte or an invalid escape.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of "\d", which warns when the module runs
        tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    names = sorted({name for node in nodes for name in _imported(node)})
    reads = _reads(nodes)
    kept = (ast.AST,) if docstrings else (ast.Module, ast.ClassDef) if reads else ()
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not isinstance(node, kept):
                node.body = node.body[_starts_with_docstring(node.body) :]
        elif isinstance(node, ast.JoinedStr):
            node.values = _pieces(node.values)
        elif isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.Constant):
            node.format_spec = ast.JoinedStr(_pieces([node.format_spec]))
    digest = hashlib.sha256("\n".join(_words(tree)).encode()).hexdigest()[:LENGTH]
    return digest, names, reads


def _reads(nodes: list[ast.AST]) -> str:
    """Which docstrings a module reads, by the names that it uses; `__doc__` alone is its own."""
    used = {name for node in nodes for name in _used(node)}
    if used & SOURCES:
        return SOURCE
    return ALL if used & DOCSTRINGS else OWN if "own __doc__" in used else ""


def _used(node: ast.AST) -> Iterator[str]:
    """Names that a node reads or imports."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield "own __doc__" if node.id == "__doc__" else node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "json_schema":
        yield "model_json_schema"  # TypeAdapter's; the name alone is also a common field
    elif (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value == "__doc__"
    ):  # getattr(function, "__doc__")
        yield "__doc__"
    else:
        for name in _imported(node):
            yield from name.split(".")


def _imported(node: ast.AST) -> Iterator[str]:
    """Names that a statement imports: the module, and names in it, which may be modules, too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield module
        yield from (f"{module}{'' if module.endswith('.') else '.'}{alias.name}" for alias in node.names)


def _starts_with_docstring(body: list[ast.stmt]) -> bool:
    value = body[0].value if body and isinstance(body[0], ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _pieces(values: list[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string, with adjacent texts joined and empty ones removed."""
    pieces: list[ast.expr] = []
    for one in values:
        last = pieces[-1] if pieces else None
        if not isinstance(one, ast.Constant):
            pieces.append(one)
        elif isinstance(last, ast.Constant):
            pieces[-1] = ast.Constant(f"{last.value!s}{one.value!s}")
        elif one.value:
            pieces.append(one)
    return pieces


def _words(tree: ast.AST) -> Iterator[str]:
    """A tree in prefix notation: classes, names of fields with content, values. Not recursive: it may be deep."""
    todo: list[ast.AST | str] = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
            continue
        inside: list[ast.AST | str] = [f"{type(one).__name__}("]
        for name, value in sorted(ast.iter_fields(one)):
            if name in SPELLING or value is None or value == []:
                continue
            inside.append(f"{name}=")
            inside += ["[", *map(_word, value), "]"] if isinstance(value, list) else [_word(value)]
        todo += reversed([*inside, ")"])


def _word(value: object) -> ast.AST | str:
    """A node unchanged; another value in ASCII, since `repr` depends on the version of Unicode."""
    if isinstance(value, ast.AST):
        return value
    return hex(value) if type(value) is int else ascii(value)  # an int may have too many digits for decimals
