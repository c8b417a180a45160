"""Evaluations of checkpoints, and what a judge's verdict is worth."""
