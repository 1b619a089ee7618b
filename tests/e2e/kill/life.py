"""One life of the executor: it recovers, trades as fast as it may, and says what it told its owner, until killed.

What it says goes to a file, a line at a time and unbuffered, so that a line is there exactly if its owner was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from adapters.config import Config
from adapters.executor import Executor
from adapters.journal import Changes, Step
from adapters.outcomes import describe
from machines import events as ev
from machines.intent import Intent
from tests.e2e.workload import Workload


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an owner was told of an intent.

    Attributes:
        seq: Its number; 0 for what is said of the whole life.
        what: `accepted`, `ended`, or of the life: `ready`, `violated`.
        cloid: Its cloid.
        outcome: How it ended.
    """

    seq: int
    what: str
    cloid: str | None = None
    outcome: dict[str, Any] | None = None


def live(config: Config, mids: dict[str, Decimal], seed: int, pause_s: float, told: str) -> None:
    """Trade until killed; the entry point of the process."""
    logging.disable(logging.CRITICAL)
    asyncio.run(_live(config, mids, seed, pause_s, told))


async def _live(config: Config, mids: dict[str, Decimal], seed: int, pause_s: float, told: str) -> None:
    file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(line: Told) -> None:
        os.write(file, msgspec.json.encode(line) + b"\n")

    executor = Executor(config, config.key.load())
    told_before, append_before = executor.on_effect, executor.journal.append
    accepted: list[Told] = []  # and not recorded yet: a submit of this process itself is written down a little later

    def append(steps: Sequence[Step], changes: Changes) -> int:
        last = append_before(steps, changes)
        for line in accepted:
            say(line)
        accepted.clear()
        return last

    def on_effect(effect: ev.Effect) -> None:
        told_before(effect)
        match effect:
            case ev.Admitted(admission, Intent() as intent) if admission.accepted:
                accepted.append(Told(intent.seq, "accepted", intent.cloid))
            case ev.IntentEnded(intent) if intent.outcome is not None:
                say(Told(intent.seq, "ended", intent.cloid, describe(intent.outcome)))

    executor.on_effect = on_effect  # type: ignore[method-assign]
    executor.journal.append = append  # type: ignore[method-assign]
    executor.start()
    workload = Workload(executor, mids, seed)
    with contextlib.suppress(asyncio.CancelledError):
        await executor.wait_ready()
        say(Told(0, "ready"))
        while not executor.driver.monitor.violated:
            workload.submit()
            await asyncio.sleep(pause_s)
        say(Told(0, f"violated: {executor.driver.monitor.first[0]}"))
