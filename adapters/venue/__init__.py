"""A local Hyperliquid venue: same paths and frames as the real one, on loopback."""
