"""The index of outputs finds the rules that Snakemake's own index finds, without a look at every output."""

from dataclasses import dataclass, field
from itertools import product

import pytest
from snakemake.exceptions import IOFileException
from snakemake.io import IOFile
from snakemake.output_index import OutputIndex
from snakemake.pathvars import Pathvars
from snakemake.rules import Rule

from bezoar.cache.producers import Producers


@dataclass(eq=False)
class Made:
    """A rule with outputs."""

    name: str
    files: tuple[str, ...]
    snakefile: str = "Snakefile"
    lineno: int = 1
    pathvars: Pathvars = field(default_factory=Pathvars)
    outputs: list = field(init=False)

    def __post_init__(self):
        self.outputs = [IOFile(file, rule=self) for file in self.files]

    def products(self):
        return iter(self.outputs)

    is_producer = Rule.is_producer


RULES = [
    Made("seed", tuple(f"data/seed/{{scheme}}/{shard:04d}.jsonl" for shard in range(12))),
    Made("generate", ("data/{scheme}/{shard,[0-9]+}/rows.jsonl", "logs/{scheme}/{shard}.log")),
    Made("report", ("results/{eval}.json", "results/all.json")),
    Made("folder", ("data/{name}",)),
    Made("one", ("results/score.json", "{anything}.csv", "a")),
    Made("twice", ("{x}/{x}", "{x}ab")),
]
PARTS = ("data", "seed", "a", "0003", "0011.jsonl", "rows.jsonl", "results", "all.json", "score.json", "x.csv", "")


def names(rules):
    return sorted(rule.name for rule in rules)


def test_the_same_rules_are_found():
    ours, own = Producers(RULES), OutputIndex(RULES)
    found = set()
    for length in (1, 2, 3, 4):
        for parts in product(PARTS, repeat=length):
            file = "/".join(parts)
            assert names(ours.match_producers(file)) == names(own.match_producers(file)), file
            found |= {rule.name for rule in ours.match_producers(file)}
            assert ours.match(file) >= ours.match_producers(file)
    assert found == {rule.name for rule in RULES}


def test_a_file_is_compared_with_few_of_many_outputs(monkeypatch):
    shards = Made("seed", tuple(f"data/seed/{{scheme}}/{shard:05d}.jsonl" for shard in range(2000)))
    compared = []
    one = type(shards.outputs[0])
    match = one.match
    monkeypatch.setattr(one, "match", lambda self, target: compared.append(self) or match(self, target))
    assert names(Producers([shards]).match_producers("data/seed/evol/01234.jsonl")) == ["seed"]
    assert len(compared) == 1


def test_a_broken_constraint_is_said_as_snakemake_says_it():
    with pytest.raises(IOFileException, match="in wildcard statement"):
        Producers([Made("broken", ("data/{scheme,[a}.jsonl",))]).match_producers("data/evol.jsonl")
