"""params.yaml is read as DVC reads it, value by value."""

import math
import random

import pytest
import yaml
from dvc.utils.serialize import parse_yaml

from bezoar import yaml12
from bezoar.cache import dvc

READ = {
    "0o10": 8,
    "010": 10,
    "0x1F": 31,
    "0b101": 5,
    "1_000": 1000,
    "-0x10": -16,
    "+12": 12,
    "1e3": 1000.0,
    "1e-05": 0.00001,
    "1_0.5": 10.5,
    ".5": 0.5,
    "-.5e+3": -500.0,
    "12.": 12.0,
    "-.inf": -math.inf,
    "yes": "yes",
    "no": "no",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "TRUE": True,
    "false": False,
    "tRUE": "tRUE",
    "1:30": "1:30",
    "0o8": "0o8",
    "1e": "1e",
    "~": None,
    "NULL": None,
    "_1": "_1",
}


def by_dvc(text):
    return parse_yaml(text, "params.yaml")


@pytest.mark.parametrize("text", READ)
def test_a_scalar_is_read_as_dvc_reads_it(text):
    (found,) = yaml12.load(f"- {text}")
    (other,) = by_dvc(f"- {text}")  # between brackets DVC's own refuses `1:30`
    assert (type(found), found) == (type(other), other) == (type(READ[text]), READ[text])


def test_scalars_of_any_characters_are_read_as_dvc_reads_them():
    generator = random.Random(12)
    words = ["".join(generator.choices("0123456789_+-.eEoxbBaFinINtTrRuUnNyYsSl~", k=length)) for length in range(2, 8)]
    words += ["".join(generator.choices("019_+-.eoxb", k=generator.randint(1, 6))) for _ in range(3000)]
    for word in dict.fromkeys(words):
        try:
            other = by_dvc(f"a: {word}")
        except Exception:  # DVC has no word for what isn't a number but looks like one: it fails in its own ways
            with pytest.raises(yaml.YAMLError):
                yaml12.load(f"a: {word}")
            continue
        found = yaml12.load(f"a: {word}")
        assert repr(found) == repr(other), word


@pytest.mark.parametrize("text", ["0x_", "+_", "0b_", "9" * 5000, "[" * 100_000, "\x07"])
def test_what_is_no_value_is_an_error_of_yaml_and_no_other(text):
    with pytest.raises(yaml.YAMLError):
        yaml12.load(f"a: {text}" if "[" not in text else text)


def test_aliases_that_multiply_are_refused_at_once():
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    with pytest.raises(yaml.YAMLError, match="a million values"):
        yaml12.load(f"a0: &a0 [1]\n{levels}")
    assert yaml12.load("a: &a [1, 2]\nb: *a") == {"a": [1, 2], "b": [1, 2]}


def test_what_is_written_is_read_as_it_was():
    values = [*READ, *READ.values(), 1e22, "a: b", "#"]
    assert yaml12.load(yaml.dump(values, Dumper=dvc.Dumper)) == values
    assert by_dvc(yaml.dump({"a": values}, Dumper=dvc.Dumper))["a"] == values


@pytest.mark.parametrize(
    "text",
    ["2026-02-31", "!!float ''", "!!bool x", "!!timestamp x", "2026-01-01T25:00:00Z", "\ud800", "!!binary ü"],
)
def test_a_value_that_can_not_be_made_is_no_yaml(text):
    with pytest.raises(yaml.YAMLError):
        yaml12.load(text)
