"""Models that write and judge: each has a block class and a class that answers requests."""
