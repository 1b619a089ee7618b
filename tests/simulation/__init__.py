"""The simulator: that it passes, that it is deterministic, and that it finds what is wrong."""
