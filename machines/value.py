"""What requests, outcomes, replies and records are made of.

A dozen are made for each order. A frozen dataclass, whose `__init__` sets each field by a call, takes three times as
long to make as a frozen `msgspec.Struct`, thirteen times with nine fields; and a struct can be written down as JSON as
it is.
"""

from __future__ import annotations

from msgspec import Struct


class Value(Struct, frozen=True, tag_field="type", tag=True):
    """Plain data that never changes, and names its class as `type` in JSON."""
