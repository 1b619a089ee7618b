"""The Hyperliquid protocol: wire types, signing, markets, frames (protocol.md)."""
