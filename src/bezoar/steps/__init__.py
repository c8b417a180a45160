"""The steps of post-training: a module holds the block class of params.yaml and the function that works by it."""
