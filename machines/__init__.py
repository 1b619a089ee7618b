"""Pure state machines: no I/O, no clock reads, no randomness."""
