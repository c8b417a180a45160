"""What the types of a block's values say of them, wherever the values stand."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from bezoar.blocks import Block, Existing, FilePath, Name, Reference, SourceName
from bezoar.recipe.marks import marked

ONE, OTHER = Reference(("ones",), "no such one"), Reference(("others",), "no such other")
One = Annotated[Name, ONE]


class Inner(Block):
    """A block in another."""

    one: One
    about: Annotated[str, Field(description="no name")] = ""


class Outer(Block):
    """Marked values in every form that blocks have."""

    plain: str
    one: One
    said: One = Field(description="marked, with more said of it")
    none: One | None
    perhaps: One | None
    perhaps_path: FilePath | None
    either: Annotated[str, Field(pattern=" ")] | One
    many: list[One] = Field(min_length=1)
    many_or_all: list[One] | None
    by_name: dict[str, One]
    nested: dict[str, list[One]]
    inner: Inner
    inners: list[Inner]
    inners_by_name: dict[str, Inner]
    perhaps_inner: Inner | None


OUTER: dict[str, Any] = {
    "plain": "plain",
    "one": "a",
    "said": "b",
    "none": None,
    "perhaps": "c",
    "perhaps_path": None,
    "either": "d",
    "many": ["e", "f"],
    "many_or_all": ["g"],
    "by_name": {"x": "h"},
    "nested": {"y": ["i", "j"]},
    "inner": {"one": "k"},
    "inners": [{"one": "l"}, {"one": "m"}],
    "inners_by_name": {"z": {"one": "n"}},
    "perhaps_inner": {"one": "o"},
}


def test_every_marked_value_is_found_with_its_key():
    found = list(marked(Outer(**OUTER), Reference))
    assert {mark for _, mark, _ in found} == {ONE}
    assert {key: value for key, _, value in found} == {
        ("one",): "a",
        ("said",): "b",
        ("perhaps",): "c",
        ("either",): "d",
        ("many", 0): "e",
        ("many", 1): "f",
        ("many_or_all", 0): "g",
        ("by_name", "x"): "h",
        ("nested", "y", 0): "i",
        ("nested", "y", 1): "j",
        ("inner", "one"): "k",
        ("inners", 0, "one"): "l",
        ("inners", 1, "one"): "m",
        ("inners_by_name", "z", "one"): "n",
        ("perhaps_inner", "one"): "o",
    }
    assert len(found) == 15  # none twice


def test_keys_stand_below_the_key_of_the_block():
    assert list(marked(Inner(one="a"), Reference, ("blocks", "x"))) == [(("blocks", "x", "one"), ONE, "a")]


def test_only_marks_of_the_class_are_found():
    path = FilePath.__metadata__[-1]
    assert list(marked(Outer(**OUTER | {"perhaps_path": "a.txt"}), Existing)) == [(("perhaps_path",), path, "a.txt")]
    assert list(marked(Inner(one="a"), Existing)) == []


@pytest.mark.parametrize("value", [None, [], {}])
def test_a_value_that_is_not_there_has_no_mark(value):
    class Empty(Block):
        """A block of which all may be absent."""

        one: One | list[One] | dict[str, One] | None

    assert list(marked(Empty(one=value), Reference)) == []


def test_a_value_may_have_two_marks():
    class Twice(Block):
        """A name in two roles."""

        both: Annotated[Name, ONE, OTHER]

    assert [(mark, value) for _, mark, value in marked(Twice(both="a"), Reference)] == [(ONE, "a"), (OTHER, "a")]


def test_the_mark_of_a_source_says_where_its_name_is():
    class Named(Block):
        """A block that names a source."""

        source: SourceName

    ((key, mark, value),) = marked(Named(source="hh"), Reference)
    assert (key, mark.sections, mark.what, value) == (("source",), ("sources",), "no such source", "hh")
