"""Evaluations of checkpoints, and checks of the judge."""
