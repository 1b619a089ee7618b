"""Many intents, a venue that misbehaves: each ends, none unknown, and not one outcome is untrue."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from adapters.audit import contradictions
from adapters.executor import Executor
from adapters.venue.truth import fate_by_cloid
from machines.intent import Unknown
from tests.e2e.workload import Workload, venue_and_config

SEED = 20_261_122
POSTS_ANSWERED_BADLY: dict[str, Any] = {
    "drop_reply": 0.02,
    "duplicate_reply": 0.02,
    "reply_delay_ms": 2_000,
    "close_every_ms": 3_000,
}
STREAM_UNRELIABLE_TOO = {**POSTS_ANSWERED_BADLY, "drop_update": 0.5, "update_delay_ms": 1_500, "lookup_lag_ms": 500}


@pytest.mark.parametrize(
    ("intents", "faults", "look_ups"), [(5_000, POSTS_ANSWERED_BADLY, 1), (1_000, STREAM_UNRELIABLE_TOO, 50)]
)
async def test_intents_over_a_faulty_venue_each_end_truthfully(
    intents: int, faults: dict[str, Any], look_ups: int
) -> None:
    """X1, X2, X4, X7, D3, P3: every ticket ends, nothing stays unknown, inflight returns to 0, no outcome is untrue."""
    options = ("--seed", str(SEED), "--address-budget", "1000000", "--faults", json.dumps(faults))
    settings = {"tick_ms": 10, "post_timeout_ms": 3_000, "quarantine_ms": 3_000, "drain_ms": 5_000}
    async with venue_and_config(*options, **settings) as (venue, config):
        async with Executor.open(config) as executor:
            workload = await Workload.around_the_market(executor, venue.url, SEED)
            await workload.run(intents)
            # An order may end by the stream before its post is answered.
            async with asyncio.timeout(10):
                while executor.core.inflight.count:  # noqa: ASYNC110 - no event of its own
                    await asyncio.sleep(0.05)
            assert executor.core.session.epoch > 1, "the venue never closed the connection"
            assert executor.strays > 0, "the venue never repeated or delayed a reply past its post's end"
        monitor = executor.driver.monitor
        fates = fate_by_cloid(await venue.truth())
    looked_up = sum(intent.settled_by == "the venue's record" for intent in workload.ended)
    print({kind.__name__: count for kind, count in executor.outcomes.items()}, workload.admissions, executor.endings)
    assert monitor.violated == 0, monitor.first
    assert monitor.checks > intents
    assert len(workload.ended) == len(workload.tickets) == intents
    assert all(ticket.outcome is not None for ticket in workload.tickets)
    assert executor.outcomes[Unknown] == 0
    assert looked_up >= look_ups
    assert list(contradictions(workload.ended, fates)) == []
