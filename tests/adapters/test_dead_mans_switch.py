"""The dead-man's switch on a real socket: set ahead of time, refused for too little volume, striking when it is due."""

from __future__ import annotations

import logging

import pytest

from adapters.hyperliquid.records import OrderUpdate
from machines import events as ev
from tests.adapters.live import live, outcomes, resting_order, until

AHEAD_MS = 20_000


async def test_the_switch_is_set_once_ready_and_cancels_what_rests_when_nobody_puts_it_off() -> None:
    async with live(tick_ms=0, schedule_cancel_ms=AHEAD_MS, ready=False) as world:
        account = world.venue.core.accounts.open(world.config.account)
        account.traded = 2_000_000 * 100_000_000
        await world.ready()
        await until(lambda: account.cancel_at is not None)
        ahead = (account.cancel_at or 0) - world.venue.core.now_ms()
        assert AHEAD_MS - 2_000 < ahead <= AHEAD_MS + 100
        ticket = world.executor.submit(resting_order())
        await outcomes([ticket])
        world.set_faults(clock_offset_ms=AHEAD_MS + 1_000)  # as if the time had passed
        await until(lambda: any(isinstance(e, OrderUpdate) and e.status == "scheduledCancel" for e in world.seen))
        assert account.open_orders == {}


async def test_a_switch_that_the_venue_does_not_set_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """protocol.md §6: it needs $1M traded."""
    caplog.set_level(logging.ERROR, logger="hip3")
    async with live(tick_ms=0, schedule_cancel_ms=AHEAD_MS) as world:
        await until(lambda: any(isinstance(event, ev.SwitchRefused) for event in world.seen))
        assert "dead_mans_switch_refused" in caplog.text
        await outcomes([world.executor.submit(resting_order())])  # it is no reason to stop
