"""A campaign: many lives of one executor against one venue, each ended by SIGKILL, and the verdict over all of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from io import FileIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec

from adapters.audit import contradictions
from adapters.config import Config, JournalTerms
from adapters.executor import Executor
from adapters.hyperliquid.info import InfoClient
from adapters.journal import IntentRow, Retention, verify
from adapters.journal.schema import run_and_seq
from adapters.outcomes import OUTCOME_NAMES, describe, outcome_from
from adapters.recorder import intent_of
from adapters.replay import replay
from adapters.trace import trace_of
from adapters.venue.truth import Fate, fate_by_cloid
from tests.e2e.kill.life import Told, live
from tests.e2e.kill.relay import Relay, fork_server
from tests.e2e.workload import venue_and_config

LIMITS = '{"connections_per_minute": 100000, "weight_per_minute": 1000000, "open_orders": 5000}'
"""A restart a second would meet the venue's limits on connections and questions; the one on posts stays."""
PAUSE_S = 0.008
"""Between two submits of a life; about 100 a second."""
SETTLED_S = 120.0
"""The last life may take so long to settle everything."""


@dataclass(slots=True)
class Plan:
    """What is done to it.

    Attributes:
        kills: How often the executor is killed.
        cuts: How often the wire is cut.
        intents: The least number of intents; more lives are lived until there are as many.
        seed: Of the workload and of every random moment.
    """

    kills: int
    cuts: int
    intents: int
    seed: int


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        intents: Intents in the journal.
        outcomes: How they ended, by name.
        kills: Executors killed.
        starting: Of these, before they were ready.
        cuts: Times that the wire was cut.
        settled_later: Intents that a later run found the fate of.
        faults: Whatever is wrong, a sentence each; none is what it is all about.
    """

    intents: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    starting: int = 0
    cuts: int = 0
    settled_later: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The figures in a line."""
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return (
            f"{self.kills} kills ({self.starting} before ready), {self.cuts} cuts, {self.intents} intents, "
            f"{self.settled_later} settled by a later run: {outcomes}; {len(self.faults)} faults"
        )


async def campaign(plan: Plan, folder: Path) -> Report:
    """Run `plan` with its files in `folder`."""
    report = Report()
    journal, told = folder / "executor.journal", folder / "told.ndjson"
    options = ("--seed", str(plan.seed), "--address-budget", "100000000", "--limits", LIMITS)
    terms = JournalTerms(file=str(journal), keep=Retention(runs=1_000_000))
    settings = {"tick_ms": 10, "post_timeout_ms": 3_000, "quarantine_ms": 5_000, "journal": terms}
    async with venue_and_config(*options, **settings) as (venue, config):
        context = fork_server()
        relay = Relay(context, urlsplit(venue.url).port or 0)
        try:
            wired = msgspec.structs.replace(config, ws_url=f"ws://127.0.0.1:{relay.port}/ws")
            await asyncio.to_thread(_lives, plan, report, relay, wired, await _mids(venue.url), told)
        finally:
            relay.close()
        await _last_life(config, report)
        fates = fate_by_cloid(await venue.truth())
    _judge(report, journal, told, fates)
    return report


class _Ears:
    """Hears what the lives tell their owner, as it is written."""

    def __init__(self, file: FileIO) -> None:
        self.accepted = 0
        self.ready = False
        self._file = file
        self._rest = b""

    def listen(self) -> None:
        """Take in what is new; the end of it may be half a line."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            said = msgspec.json.decode(line, type=Told)
            self.accepted += said.what == "accepted"
            self.ready |= said.what == "ready"


def _lives(plan: Plan, report: Report, relay: Relay, config: Config, mids: dict[str, Decimal], told: Path) -> None:
    """Live and kill until the plan is fulfilled."""
    draw = random.Random(plan.seed)
    context = fork_server()
    told.touch()
    with FileIO(told) as file:
        ears = _Ears(file)
        while report.kills < plan.kills or relay.cuts < plan.cuts or ears.accepted < plan.intents:
            seed = draw.getrandbits(32)
            process = context.Process(target=live, args=(config, mids, seed, PAUSE_S, str(told)), daemon=True)
            process.start()
            fault = _one_life(process, draw, ears, relay)
            if fault is not None:
                report.faults.append(f"{fault}, seed {seed}")
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            report.kills += 1
            report.starting += not ears.ready
    report.cuts = relay.cuts


def _one_life(process: BaseProcess, draw: random.Random, ears: _Ears, relay: Relay) -> str | None:
    """Let a life go on for a random time, and cut its wire now and then; says what was wrong with it.

    A third of the lives end at any moment from their start, the others some time after they were ready.
    """
    begun = time.monotonic()
    end = begun + draw.uniform(0.01, 0.8) if draw.random() < 1 / 3 else None
    after_ready = draw.uniform(0.0, 1.5)
    cut = begun + draw.uniform(0.1, 2.0) if draw.random() < 0.4 else None
    ears.ready = False
    while end is None or time.monotonic() < end:
        time.sleep(0.002)
        ears.listen()
        if ears.ready and end is None:
            end = time.monotonic() + after_ready
        if cut is not None and time.monotonic() > cut:
            cut = None
            relay.cut()
        if not process.is_alive():
            return f"the executor ended by itself, with code {process.exitcode}"
        if time.monotonic() > begun + SETTLED_S:
            return f"not ready within {SETTLED_S} s"
    return None


async def _last_life(config: Config, report: Report) -> None:
    """Recover once more, undisturbed, and wait until everything is settled."""
    executor = Executor(config, config.key.load())
    executor.start()
    try:
        await executor.wait_ready(SETTLED_S)
        async with asyncio.timeout(SETTLED_S):
            while not executor.core.idle or executor.core.inflight.quarantined:  # noqa: ASYNC110 - no event of its own
                await asyncio.sleep(0.05)
    except TimeoutError:
        report.faults.append(f"the last life did not settle everything within {SETTLED_S} s")
    closed = await executor.close()
    if not closed.clean:
        report.faults.append(f"the last life left {closed}")
    if executor.driver.monitor.violated:
        report.faults.append(f"the last life violated {executor.driver.monitor.first[0]}")


async def _mids(url: str) -> dict[str, Decimal]:
    async with aiohttp.ClientSession() as session:
        info = InfoClient(url, session)
        return {**await info.all_mids(), **await info.all_mids("xyz")}


def _judge(report: Report, journal: Path, told: Path, fates: dict[str, Fate]) -> None:
    """Compare what owners were told, what the journal holds, and what the venue did."""
    rows = {row.seq: row for row in _rows(journal, report)}
    ended = [intent_of(row) for row in rows.values()]
    report.intents = len(rows)
    report.outcomes.update("none" if i.outcome is None else OUTCOME_NAMES[type(i.outcome)] for i in ended)
    faults = report.faults
    faults += [f"intent {i.seq} ({i.cloid}) has no outcome" for i in ended if i.outcome is None]
    faults += contradictions([intent for intent in ended if intent.outcome is not None], fates)
    crowded = "too many pending"  # the venue's word for more than its limit in flight (finding X3)
    faults += [f"intent {i.seq}: {i.outcome}" for i in ended if crowded in getattr(i.outcome, "reason", "")]
    known = {row.cloid for row in rows.values()}
    faults += [f"the venue placed {cloid}, which the journal lost" for cloid in fates if cloid not in known]
    accepted: set[int] = set()
    for line in told.read_bytes().splitlines():
        said = msgspec.json.decode(line, type=Told)
        if said.what.startswith("violated"):
            faults.append(said.what)
        elif said.what == "accepted":
            accepted.add(said.seq)
            if said.seq not in rows:
                faults.append(f"intent {said.seq} was accepted, and the journal lost it")
        elif said.what == "ended":
            row = rows.get(said.seq)
            if row is None or row.outcome is None or describe(outcome_from(row.outcome)) != said.outcome:
                faults.append(f"intent {said.seq} was told {said.outcome}, the journal says {row and row.outcome}")
    faults += [f"journal: {finding}" for finding in verify(journal).findings]
    with trace_of(journal) as runs:
        for run, steps in runs:
            faults += [f"run {run}: {divergence}" for divergence in replay(steps) if divergence is not None]


def _rows(journal: Path, report: Report) -> Iterator[IntentRow]:
    """All intents; those that a later run ended are counted."""
    with closing(sqlite3.connect(journal)) as db:
        for body, run, step in db.execute("SELECT body, run, step FROM intents ORDER BY seq"):
            report.settled_later += run_and_seq(step)[0] > run
            yield msgspec.json.decode(body, type=IntentRow)
