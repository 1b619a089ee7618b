"""Which review findings each event of a machine answers (findings.md), for who reviews a change of a table.

An invariant serves an event if it covers one of the event's findings (spec/invariants.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from spec.invariants import INVARIANTS, Invariant

FINDINGS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "intent": {
        "enqueue": ("B3", "B4"),
        "cancel": ("P7", "X4"),
        "post": ("B1", "B5", "P1"),
        "drop": ("B4", "P7", "D2"),
        "rest": ("X4", "X7"),
        "fill": ("X4", "X7"),
        "reject": ("X4", "X7", "X8"),
        "return_": ("P7", "X1", "X2"),
        "abandon": ("P7", "X2"),
        "lose": ("X1",),
        "wait": ("X2",),
    },
    "post": {
        "send": ("P1", "B1", "B6", "B7", "I1", "N1", "N2", "X6"),
        "refuse": ("P5", "P7"),
        "ack": ("P2", "P3", "P4", "X4"),
        "fail": ("P2", "P3", "P4", "X5"),
        "time_out": ("P2", "P3", "P5", "P6", "X1"),
        "disconnect": ("P2", "P3", "P5", "D1", "D2", "X1"),
    },
    "inflight": {
        "acquire": ("B2", "B4", "B6", "I1", "I2", "P1"),
        "release": ("D3", "I1", "I2", "P2", "P3"),
        "quarantine": ("D1", "I1", "I2", "P3", "X3"),
        "clear": ("D3", "I1", "X3"),
    },
    "settlement": {
        "fence": ("X2",),
        "fence_lost": ("X2",),
        "fence_won": ("X2",),
        "spend": ("X2", "X7"),
        "find": ("X2", "X7"),
        "miss": ("X2",),
        "answer": ("P2", "X2", "X3"),
        "refuse": ("P2", "X2", "X3"),
    },
    "session": {
        "connect": ("D3",),
        "open": ("D3", "P4"),
        "synced": ("B4", "N4", "N5"),
        "lose": ("D1", "D3", "P5"),
        "drain": ("B4", "D2"),
        "close": ("D2",),
    },
    "hard_stop": {
        "trip": ("B3", "B4", "N5", "X8"),
        "reset": ("B4",),
    },
}
"""By machine and event. Settlement's rules stand in the rows' own reasons."""


def invariants_of(findings: Iterable[str]) -> tuple[Invariant, ...]:
    """The invariants that cover one of `findings`, in the catalogue's order."""
    wanted = set(findings)
    return tuple(invariant for invariant in INVARIANTS if not wanted.isdisjoint(invariant.findings))
