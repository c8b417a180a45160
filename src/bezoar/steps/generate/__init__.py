"""Schemes for a teacher to write instructions and answers, one module each."""
