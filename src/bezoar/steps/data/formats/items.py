"""Evaluation items that a task of the harness reads: rows of any columns, as they are."""

from bezoar.steps.data.formats.common import Format

FORMAT = Format("items", lambda row: row)
