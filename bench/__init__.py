"""Measurements: each script times albor beside a peer in the same run."""
