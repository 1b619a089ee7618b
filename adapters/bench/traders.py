"""The executor as a client of the benchmark, in full or with parts off, and how the others are opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from adapters.bench.errors import RunFailed
from adapters.bench.floor import Floor
from adapters.bench.messages import Job
from adapters.bench.variants import VARIANTS, Variant
from adapters.config import Config, JournalTerms, KeySource, Queues
from adapters.executor import Executor
from adapters.hyperliquid.signing import Signer
from adapters.journal import Changes, Journal, Recovered, Step
from adapters.monitor import Monitor
from machines.intent import Filled, Order
from machines.snapshot import Snapshot
from spec.invariants import Violation

_KEY: Final = (1).to_bytes(32, "big")
"""The venue knows no keys; the same one every time signs the same bytes."""


class Client(Protocol):
    """What is asked of every client."""

    async def place(self, count: int) -> Sequence[int]:
        """Place orders that trade at once, together, and wait for all of them; their oids."""
        ...


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

    def append(self, steps: Sequence[Step], _: Changes) -> int:
        """Forget."""
        self._steps += len(steps)
        return self._steps - 1

    def outcome_of(self, _: str) -> dict[str, Any] | None:
        """Nothing is known of any order."""
        return None

    def maintain(self) -> None:
        """There is nothing to keep small."""

    def close(self, _: bool) -> None:
        """There is nothing to end."""


class NoMonitor(Monitor):
    """A monitor that looks at nothing."""

    def check(self, _: Snapshot) -> Violation | None:
        """Look away."""
        return None


class Trader:
    """The executor, through the interface that strategies use."""

    def __init__(self, executor: Executor) -> None:
        """Trade with a running executor."""
        self.executor = executor

    async def place(self, count: int) -> Sequence[int]:
        """Submit orders one by one, and wait for all of their outcomes; their oids."""
        tickets = [self.executor.submit(_order()) for _ in range(count)]
        oids = []
        for ticket in tickets:
            outcome = await ticket
            if not isinstance(outcome, Filled):
                raise RunFailed(f"an order ended as {outcome}")
            oids.append(outcome.oid)
        return oids


def _order() -> Order:
    return Order(market="BTC", side="buy", size="0.01", price="50000", tif="Ioc")


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Client]:
    """The client of a job, ready to trade."""
    variant = VARIANTS[job.variant]
    match variant.kind:
        case "executor":
            async with _running(job, variant) as executor:
                yield Trader(executor)
        case "floor":
            floor = await Floor.open(job.ws_url, Signer(_KEY))
            yield floor
            await floor.close()
        case "sdk":
            from adapters.bench.sdk import Sdk  # here, so that the others are not measured with its modules

            sdk = Sdk(job.http_url, _KEY)
            yield sdk
            await sdk.close()


@asynccontextmanager
async def _running(job: Job, variant: Variant) -> AsyncIterator[Executor]:
    """An executor for a job; it is made sure that the parts that are off were off, and the others on.

    Raises:
        RunFailed: They were not.
    """
    signer, path = Signer(_KEY), Path(job.folder) / "bench.journal"
    journal: Journal | None = None if variant.journal else NoJournal()
    executor = Executor(_config(job, signer, path), signer, journal=journal)
    if not variant.monitor:
        executor.driver.monitor = NoMonitor()
    executor.start()
    try:
        await executor.wait_ready(30.0)
        yield executor
        if (executor.driver.monitor.checks > 0, path.exists()) != (variant.monitor, variant.journal):
            raise RunFailed(f"{variant.name}: the monitor or the journal was on or off against the plan")
        if executor.driver.monitor.violated:
            raise RunFailed(f"{variant.name}: an invariant was violated: {executor.driver.monitor.first[0]}")
    finally:
        await executor.close()


def _config(job: Job, signer: Signer, journal: Path) -> Config:
    """The settings of the benchmark: the venue's limits are lifted, for it allows 2 000 messages a minute."""
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
