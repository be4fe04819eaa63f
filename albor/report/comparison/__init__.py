"""Several training runs side by side: which is better, by how much, and what differs."""
