"""Schemes by which a teacher writes instructions and answers, one module each."""
