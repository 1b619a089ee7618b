"""Kill tests: whatever is killed at whatever moment, nothing is lost, nothing runs twice, nothing untrue is told."""

from __future__ import annotations

from pathlib import Path

from adapters.trace import trace_of
from adapters.verification.tlc import find_tlc
from adapters.verification.trace_tla import check_trace
from tests.e2e.kill.campaign import Plan, campaign

READ_BY_TLC = 2
"""Runs of the campaign that TLC reads; all of them are replayed."""


async def test_x1_x2_an_executor_killed_at_random_moments_loses_nothing_and_tells_nothing_untrue(
    tmp_path: Path,
) -> None:
    """A small campaign; `make kill` runs one with 200 kills, 50 cuts and 10 000 intents."""
    report = await campaign(Plan(kills=15, cuts=5, intents=500, seed=20_261_122), tmp_path)
    print(report.line())
    assert report.faults == []
    assert (report.kills >= 15, report.cuts >= 5, report.intents >= 500) == (True, True, True)
    assert report.settled_later > 0
    with trace_of(tmp_path / "executor.journal") as runs:
        last = [list(steps) for _, steps in runs][-READ_BY_TLC:]
    assert [check_trace(find_tlc(), steps) for steps in last] == [None] * READ_BY_TLC
