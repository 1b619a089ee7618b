"""Issue A's proof on the wire: many intents, a venue that misbehaves, and not one outcome that is not true."""

from __future__ import annotations

import json

from adapters.audit import contradictions
from adapters.executor import Executor
from adapters.venue.truth import fate_by_cloid
from machines.intent import Unknown
from tests.e2e.workload import Workload, venue_and_config

INTENTS = 5_000
SEED = 20_261_122
FAULTS = {"drop_reply": 0.02, "duplicate_reply": 0.02, "reply_delay_ms": 2_000, "close_every_ms": 3_000}


async def test_5000_intents_over_a_faulty_venue_each_end_truthfully() -> None:
    """X1, X4, D3, P3: every ticket ends, no invariant is violated, inflight returns to 0, no outcome is untrue."""
    limits = '{"weight_per_minute": 100000}'  # 1 200 look-ups at 10 a second would take minutes
    options = ("--seed", str(SEED), "--address-budget", "1000000", "--limits", limits, "--faults", json.dumps(FAULTS))
    async with venue_and_config(*options, post_timeout_ms=3_000, drain_ms=5_000) as (venue, config):
        async with Executor.open(config) as executor:
            workload = await Workload.around_the_market(executor, venue.url, SEED)
            await workload.run(INTENTS)
            assert executor.core.inflight.count == 0
            assert executor.core.session.epoch > 1, "the venue never closed the connection"
            assert executor.strays > 0, "the venue never repeated or delayed a reply past its post's end"
        monitor = executor.driver.monitor
        fates = fate_by_cloid(await venue.truth())
    print({kind.__name__: count for kind, count in executor.outcomes.items()}, workload.admissions, executor.endings)
    assert monitor.violated == 0, monitor.first
    assert monitor.checks > INTENTS
    assert len(workload.ended) == len(workload.tickets) == INTENTS
    assert all(ticket.outcome is not None for ticket in workload.tickets)
    assert executor.outcomes[Unknown] > 0
    assert list(contradictions(workload.ended, fates)) == []
