"""Training methods, each in a module of its own, and the merge of an adapter with its base weights."""
