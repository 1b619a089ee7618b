"""The executor as a client of the benchmark, through the interface that strategies use, in full or with parts off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from adapters.bench.errors import RunFailed
from adapters.bench.messages import Burst, Job
from adapters.bench.variants import Variant
from adapters.config import Config, JournalTerms, KeySource, Queues
from adapters.executor import Executor
from adapters.hyperliquid.signing import Signer
from adapters.journal import Changes, Recovered, Step
from adapters.monitor import Monitor
from machines.intent import Cancel, Canceled, Filled, Order, Priority
from spec.invariants import Violation


class NoJournal:
    """A journal that keeps nothing; what a restart would need is lost."""

    def __init__(self) -> None:
        """Nothing was given to it."""
        self._steps = 0

    @property
    def recovered(self) -> Recovered:
        """Nothing is left of earlier runs."""
        return Recovered(
            run=1,
            last_nonce=0,
            last_post_id=0,
            last_intent_seq=0,
            last_signer=None,
            clean=True,
            torn_frames=0,
            intents=(),
            posts=(),
        )

    def append(self, steps: Sequence[Step], changes: Changes) -> int:
        """Forget."""
        self._steps += len(steps)
        return self._steps - 1

    def settle(self) -> None:
        """There is nothing to settle."""

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """Nothing is known of any order."""
        return None

    def maintain(self) -> None:
        """There is nothing to keep small."""

    def close(self, clean: bool) -> None:
        """There is nothing to end."""


class NoMonitor(Monitor):
    """A monitor that looks at nothing."""

    def note(self) -> None:
        """Note nothing."""

    def check(self) -> Violation | None:
        """Look away."""
        return None


@dataclass(frozen=True, slots=True)
class Told:
    """What a client says of a burst.

    Attributes:
        called_ns: When its first cancel was submitted, ns of the monotonic clock.
        answered_ns: When its last cancel was answered.
        sent: Posts of the burst that the client had sent when the cancels were submitted.
    """

    called_ns: int
    answered_ns: int
    sent: int


class Trader:
    """A running executor, and what is asked of it."""

    def __init__(self, executor: Executor) -> None:
        """Trade with it."""
        self.executor = executor

    @classmethod
    @asynccontextmanager
    async def open(cls, job: Job, variant: Variant, key: bytes) -> AsyncIterator[Self]:
        """An executor for a job, for as long as the context lasts.

        Raises:
            RunFailed: A part was on or off against the plan, or an invariant was violated.
        """
        signer, path = Signer(key), Path(job.folder) / "bench.journal"
        journal = None if variant.journal else NoJournal()
        executor = Executor(_config(job, signer, path), signer, journal=journal)
        if not variant.monitor:
            executor.driver.monitor = NoMonitor(executor.core)
        executor.start()
        try:
            await executor.wait_ready(30.0)
            yield cls(executor)
            monitor = executor.driver.monitor
            if (monitor.checks > 0, path.exists()) != (variant.monitor, variant.journal):
                raise RunFailed(f"{variant.name}: the monitor or the journal was on or off against the plan")
            if monitor.violated:
                raise RunFailed(f"{variant.name}: an invariant was violated: {monitor.first[0]}")
        finally:
            await executor.close()

    async def place(self, count: int) -> Sequence[int]:
        """Submit orders that trade at once, one by one, and wait for all of them; their oids."""
        tickets = [self.executor.submit(_order()) for _ in range(count)]
        oids = []
        for ticket in tickets:
            outcome = await ticket
            if not isinstance(outcome, Filled):
                raise RunFailed(f"an order ended as {outcome}")
            oids.append(outcome.oid)
        return oids

    async def burst(self, load: Burst) -> Told:
        """Submit the orders of a burst, then its cancels when few enough of them wait, and see all of them end."""
        executor, core = self.executor, self.executor.core
        before = self._sent
        orders = [executor.submit(_order()) for _ in range(load.orders)]
        while core.scheduler.queued(Priority.NEW_ORDER) > load.waiting:  # noqa: ASYNC110 - nothing tells of a post sent
            await asyncio.sleep(0)
        sent = self._sent - before
        called = time.perf_counter_ns()
        cancels = [executor.submit(Cancel(market="BTC", oid=oid)) for oid in range(1, load.cancels + 1)]
        for ticket in cancels:
            outcome = await ticket
            if not isinstance(outcome, Canceled):
                raise RunFailed(f"a cancel ended as {outcome}")
        answered = time.perf_counter_ns()
        for ticket in orders:
            await ticket
        return Told(called, answered, sent)

    @property
    def _sent(self) -> int:
        """Posts that were handed to the socket so far."""
        return sum(self.executor.endings.values()) + len(self.executor.core.posts)


def _order() -> Order:
    return Order(market="BTC", side="buy", size="0.01", price="50000", tif="Ioc")


def _config(job: Job, signer: Signer, journal: Path) -> Config:
    """The settings of the benchmark: without the limit on messages, which would be all that is measured."""
    return Config(
        network="local",
        account=signer.address,
        key=KeySource(env="UNUSED"),  # the signer is given
        ws_url=job.ws_url,
        http_url=job.http_url,
        tick_ms=job.load.tick_ms,
        messages_per_minute=10**9,
        queues=Queues(batch=job.load.per_call, new_order=20_000, cancel=2_000),
        journal=JournalTerms(file=str(journal)),
    )
