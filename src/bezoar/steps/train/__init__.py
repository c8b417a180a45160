"""Training methods, one module each, and merging an adapter into its base weights."""
