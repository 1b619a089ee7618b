"""The tests of the command line start `hip3 run`, which wants a stamp."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _stamped(verified: None) -> None:
    """There is one."""
