"""The steps of post-training: each module has the block class and the function of a step."""
