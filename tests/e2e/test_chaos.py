"""Everything at once, in an order drawn from a seed: trading, flattening, halting, and a wire that may break any time.

The venue runs in the same process, so that a reset of the wire can hit any step: between a submit and its tick, in
the write itself, before the reply is read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from adapters.ticket import Ticket
from machines import events as ev
from machines.intent import Cancel, Filled, Modify, Order, Unknown
from machines.post import PostState
from tests.adapters.live import Live, crossing_order, live, outcomes, until

STEPS = 1_000
BREAKS = 12
"""Resets of the wire; the venue takes 30 connections a minute (protocol.md §3)."""


class Chaos:
    """Draws and does one thing after another."""

    def __init__(self, world: Live, seed: int) -> None:
        self.tickets: list[Ticket] = []
        self._world = world
        self._random = random.Random(seed)
        self._breaks = 0
        self._flattening: set[asyncio.Task[list[Ticket]]] = set()

    async def run(self) -> None:
        """All steps; in the end every ticket has ended."""
        rare: list[Callable[[], Awaitable[None] | None]] = [self._flatten, self._break, self._hold, self._halt]
        for _ in range(STEPS):
            if self._random.random() < 0.08:
                done = self._random.choice(rare)()
                if done is not None:
                    await done
            else:
                self._submit()
            await asyncio.sleep(self._random.choice((0, 0, 0, 0.001, 0.01)))
        for ended in await asyncio.gather(*self._flattening, return_exceptions=True):
            self.tickets += ended if isinstance(ended, list) else []
        await outcomes(self.tickets)

    def _submit(self) -> None:
        request: Order | Cancel | Modify
        draw = self._random.random()
        if draw < 0.4 and self.tickets:
            target = self._random.choice(self.tickets[-20:]).cloid
            request = Cancel(market="BTC", cloid=target)
            if draw < 0.05:
                request = Modify(cloid=target, order=self._order())
        else:
            request = self._order()
        ticket = self._world.executor.submit(request)
        if ticket.admission.accepted and ticket.cloid is not None:
            self.tickets.append(ticket)

    def _order(self) -> Order:
        kind = self._random.choice(("rest", "rest", "trade", "close"))
        if kind == "rest":
            price = str(50_000 + self._random.randrange(1_000))
            return Order(market="BTC", side="buy", size="0.001", price=price, tif=self._random.choice(("Gtc", "Alo")))
        side, price = self._random.choice((("buy", "101000"), ("sell", "99000")))
        return Order(
            market="BTC",
            side="buy" if side == "buy" else "sell",
            size="0.001",
            price=price,
            tif="Ioc",
            reduce_only=kind == "close",
        )

    def _flatten(self) -> None:
        self._flattening.add(asyncio.create_task(self._world.executor.flatten()))

    def _break(self) -> None:
        if self._breaks < BREAKS:
            self._breaks += 1
            self._submit()
            self._world.wire.reset()

    async def _hold(self) -> None:
        flow = self._random.choice((self._world.wire.answers, self._world.wire.requests))
        flow.clear()
        for _ in range(10):
            self._submit()
            await asyncio.sleep(0.002)
        if self._random.random() < 0.2:
            self._break()
        flow.set()

    async def _halt(self) -> None:
        self._world.executor.halt("chaos")
        self._submit()
        await asyncio.sleep(0.005)
        self._world.executor.reset("chaos")


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_every_intent_ends_truthfully(seed: int) -> None:
    """X1, P1 to P7, D1 to D3, X9; `live` checks invariants, inflight and the venue's truth in the end."""
    async with live(tick_ms=0, post_timeout_ms=3_000, rejections_to_halt=10**6) as world:
        chaos = Chaos(world, seed)
        await chaos.run()
        executor = world.executor
        await world.ready()
        await until(lambda: executor.core.idle)
        assert executor.core.session.epoch >= 3
        assert executor.endings[PostState.DISCONNECTED] > 0
        assert executor.outcomes[Unknown] == 0
        assert any(isinstance(event, ev.IntentUnknown) for event in world.seen), "nothing was ambiguous"
        assert len(executor.outcomes) == 5
        # And it trades as if nothing had been.
        assert isinstance(await executor.submit(crossing_order()), Filled)
        await outcomes(await executor.flatten())
        assert world.positions == {}
