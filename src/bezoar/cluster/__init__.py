"""Jobs on a cluster: those that are submitted, and what runs on a node."""
