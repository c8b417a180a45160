"""Jobs on a cluster: submission, and the program that runs on a node."""
