"""Where the time goes: the parts, and that all of it is counted."""

from __future__ import annotations

import coincurve
import pytest
import websockets

from adapters import driver, executor
from adapters.bench import profiling
from adapters.bench.errors import NotProfiled
from adapters.bench.profiling import OTHERS, part_of, profiled, shares
from adapters.hyperliquid import markets, signing
from adapters.journal import sqlite
from machines import post


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (signing, "signing"),
        (coincurve, "signing"),
        (post, "machines"),
        (sqlite, "journal"),
        (markets, "checks of requests, wire format"),
        (websockets, "WebSocket"),
        (driver, "driver, tickets, clock"),
        (executor, "driver, tickets, clock"),
        (profiling, "who asks"),
        (pytest, OTHERS),
    ],
)
def test_each_file_belongs_to_a_part(module: object, part: str) -> None:
    assert part_of(str(module.__file__)) == part  # type: ignore[attr-defined]


def test_what_is_not_python_counts_for_who_calls_it() -> None:
    ours, builtin = (str(post.__file__), 1, "f"), ("~", 0, "len")
    stats = {
        ours: (1, 1, 0.25, 1.0, {}),
        builtin: (2, 2, 0.75, 0.75, {ours: (1, 1, 0.5, 0.5), ("elsewhere.py", 1, "g"): (1, 1, 0.25, 0.25)}),
    }
    assert shares(stats) == {"machines": 0.75, OTHERS: 0.25}


async def test_a_scenario_is_profiled() -> None:
    found = await profiled("flight", 0.3)
    assert sum(found.values()) == pytest.approx(1)
    assert {"signing", "machines", "invariants", "recorder", "journal", "WebSocket"} <= found.keys()


@pytest.mark.parametrize("name", ["million", "nothing"])
async def test_what_can_not_be_profiled_is_refused(name: str) -> None:
    with pytest.raises(NotProfiled, match=f"'{name}' is not profiled; choose one of one, flight, posts"):
        await profiled(name, 0.1)
