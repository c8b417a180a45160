"""The steps of post-training: each module holds a block class of params.yaml, its function, and what others need to know of both."""
