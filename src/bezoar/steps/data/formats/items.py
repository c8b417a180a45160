"""Evaluation items for tasks of the harness: rows with any columns, unchanged."""

from bezoar.steps.data.formats.common import Format

FORMAT = Format("items", lambda row: row)
