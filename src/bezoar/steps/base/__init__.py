"""Base models, each way to get one in a module of its own."""
