"""Selections: the rows of a scheme or a source that are best by some measure."""
