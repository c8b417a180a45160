"""Jobs on a cluster: what is known of those under way, and what runs on a node."""
