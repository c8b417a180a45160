"""Which rules make a file, for rules with thousands of outputs.

Snakemake's own index compares each wanted file with every output of a rule: with 10,000 shards, 100 million times. This
one compares it with the outputs that have its beginning and its end.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from snakemake.common.prefix_lookup import PrefixLookup
from snakemake.output_index import OutputIndex


class Producers(OutputIndex):
    """Snakemake's index of outputs, with the outputs below a prefix by their constant end."""

    def __init__(self, rules: Any) -> None:
        by_ends: dict[str, dict[str, list[tuple[Any, Any]]]] = defaultdict(lambda: defaultdict(list))
        for rule in rules:
            for output in rule.products():
                by_ends[str(output.constant_prefix())][str(output.constant_suffix())].append((rule, output))
        entries = [(prefix, (sorted({*map(len, ends)}), ends)) for prefix, ends in by_ends.items()]
        self._lookup = PrefixLookup(entries=entries)

    def match(self, targetfile: str) -> set[Any]:
        """Rules with an output that begins and ends as the file does; `match_producers` compares it whole."""
        return {rule for rule, _ in self._outputs(targetfile)}

    def match_producers(self, targetfile: str) -> set[Any]:
        """Rules with an output that is the file."""
        try:
            return {rule for rule, output in self._outputs(targetfile) if output.match(targetfile)}
        except (re.error, ValueError):  # of a wildcard's constraint: Snakemake says in which rule
            return {rule for rule in self.match(targetfile) if rule.is_producer(targetfile)}

    def _outputs(self, targetfile: str) -> Iterator[tuple[Any, Any]]:
        for _, (lengths, ends) in self._lookup.match_iter(targetfile):
            for length in lengths:
                if length <= len(targetfile):
                    yield from ends.get(targetfile[len(targetfile) - length :], ())
