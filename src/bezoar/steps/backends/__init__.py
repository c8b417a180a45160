"""Models that write and judge, each a block class and what answers its requests."""
