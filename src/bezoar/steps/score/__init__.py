"""Scores of a scheme's rows: how good an answer is, and how often it beats the others to its prompt."""
