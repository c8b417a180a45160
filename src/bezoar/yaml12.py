"""YAML 1.2 as DVC reads it: one loader for params.yaml and DVC's files, so that all tools read the same values.

`0o10` is 8, `0x10` is 16, `1_000` is 1000, `1e-05` is a number; `010` is 10, `no` and `1:30` are texts. PyYAML's own
loader reads YAML 1.1. Compared with DVC's loader, value by value, in tests/unit/test_yaml12.py.
"""

import re
from typing import Any, ClassVar

import yaml

SCALARS = {  # as in ruamel.yaml's resolver for 1.2: the pattern, and the first characters of such values
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": ("[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", "-+0123456789"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
DEEPEST = 100  # nested blocks
MOST = 1_000_000  # values; those that an alias repeats count again
SHOWN = 200  # characters of Python's message about a value
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # of constructors
BASES = {"0b": 2, "0o": 8, "0x": 16}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML 1.2; PyYAML's own loader reads 1.1."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in SCALARS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.depth = 0

    def descend_resolver(self, node: Any, index: Any) -> None:
        """Called for each value before it is read; libyaml's own recursion ends in a crash."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} blocks within blocks", node.start_mark)

    def ascend_resolver(self) -> None:
        """Called for each value once it is read."""
        self.depth -= 1

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """An int, in base 2, 8, 10 or 16."""
        text = self.construct_scalar(node).replace("_", "")
        digits = text.lstrip("+-")
        base = BASES.get(digits[:2], 10)
        return self._number(node, lambda: int(digits if base == 10 else digits[2:], base), text.startswith("-"))

    def number(self, node: yaml.ScalarNode) -> float:
        """A float."""
        text = self.construct_scalar(node).replace("_", "").lower()
        digits = text.lstrip("+-")
        return self._number(node, lambda: float(digits.replace(".inf", "inf").replace(".nan", "nan")), text[0] == "-")

    def _number(self, node: yaml.ScalarNode, read: Any, negative: bool) -> Any:
        try:
            return -read() if negative else read()
        except ValueError as error:  # such as `0x_`, or thousands of digits
            raise yaml.constructor.ConstructorError(None, None, f"no number: {error}", node.start_mark) from error


for _kind, (_pattern, _first) in SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.whole_number)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.number)


def load(text: str) -> Any:
    """The content of a text.

    Raises:
        yaml.YAMLError: It isn't YAML, or has an impossible value, such as the 31st of February.
    """
    try:
        if "*" in text:
            check_size(yaml.compose(text, Loader))
        return yaml.load(text, Loader)
    except UNREADABLE as error:
        said = " ".join(str(error).split())[:SHOWN]
        raise yaml.constructor.ConstructorError(None, None, f"a value that can't be read: {said}") from error


def check_size(node: yaml.Node | None) -> None:
    """Refuse a few bytes that expand to millions of values.

    Raises:
        yaml.YAMLError: It does.
    """
    if node and _size(node, {}) > MOST:
        raise yaml.composer.ComposerError(None, None, "aliases that repeat a million values", node.start_mark)


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values in a node, counting repetitions by aliases; a node that contains itself counts once."""
    if id(node) not in sizes:
        sizes[id(node)] = 0
        inner = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else []
        nodes = [one for pair in inner for one in pair] if isinstance(node, yaml.MappingNode) else inner
        sizes[id(node)] = 1 + sum(_size(one, sizes) for one in nodes)
    return sizes[id(node)]
