"""The Hypothesis invariant suite: random runs of the real machines against plain models of what must be true."""
