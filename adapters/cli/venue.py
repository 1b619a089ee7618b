"""`hip3 venue`: the local venue as a process."""

from __future__ import annotations


def command() -> None:
    """Run a local Hyperliquid venue on loopback."""
