"""Schemes by which a teacher writes instructions and answers, each in a module of its own."""
