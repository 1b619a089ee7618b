"""A local Hyperliquid venue: same paths and frames as the real one, on loopback.

It verifies signatures, nonces and limits, matches orders, and injects faults on demand; built to protocol.md, by its
own reading of it: it shares the signature scheme with the executor's side, and nothing else.
"""

from adapters.venue.config import VenueConfig
from adapters.venue.server import Venue

__all__ = ["Venue", "VenueConfig"]
