"""Scores of two revisions, recipes, folders or checkpoints, and whether they differ beyond chance."""
