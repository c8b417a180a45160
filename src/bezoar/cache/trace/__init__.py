"""Traces: what a job was seen to use, and whether a job would use the same now (docs/contributing/cache.md)."""

from bezoar.cache.trace.log import attempts, variables
from bezoar.cache.trace.origin import builds, provenance
from bezoar.cache.trace.record import Distribution, Module, Trace
from bezoar.cache.trace.seen import Seen, read
from bezoar.cache.trace.verify import Change, Verifier

__all__ = [
    "Change",
    "Distribution",
    "Module",
    "Seen",
    "Trace",
    "Verifier",
    "attempts",
    "builds",
    "provenance",
    "read",
    "variables",
]
