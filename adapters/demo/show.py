"""One demo from start to end: venue process, throwaway key, executor, scenes, comparison."""

from __future__ import annotations

import asyncio
import os
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console

from adapters.audit import contradictions
from adapters.config import Config, JournalTerms, KeySource, Queues
from adapters.demo.books import Books
from adapters.demo.scenario import Scenario
from adapters.demo.venue_process import VenueProcess, VenueState
from adapters.demo.view import View, summary
from adapters.executor import Executor
from adapters.hyperliquid.info import InfoClient
from adapters.hyperliquid.signing import Signer
from adapters.venue.truth import TruthRecord, fate_by_cloid
from machines.intent import Outcome, Unknown
from machines.post import PostState

KEY_VARIABLE: Final = "HIP3_DEMO_KEY"
SETTLE_S: Final = 1.0
"""How long the streams get to tell of the last orders before the books are compared."""
_OUTCOMES_SHOWN: Final = 5
"""Every type of outcome but unknown: the demo shows each at least once, and leaves nothing unknown."""

Check = tuple[str, str, bool]


async def show(console: Console, seed: int, journal: Path) -> bool:
    """Run the demo.

    Args:
        console: Where it is shown.
        seed: Of the venue's market makers and faults; printed, so that a run can be repeated.
        journal: Where the run is recorded.

    Returns:
        Whether everything agreed.

    Raises:
        JournalError: The journal can't be used.
    """
    key = "0x" + secrets.token_hex(32)
    account = Signer(key).address
    os.environ[KEY_VARIABLE] = key
    books = Books()
    with View(console) as view:
        view.say(f"A local venue in a process of its own (seed {seed}), and an executor with a throwaway key", "scene")
        async with VenueProcess("--seed", str(seed), "--account", account) as venue:
            config = Config(
                network="local",
                account=account,
                key=KeySource(env=KEY_VARIABLE),
                ws_url=venue.ws_url,
                http_url=venue.url,
                queues=Queues(new_order=200),
                journal=JournalTerms(file=str(journal)),
            )
            view.say(f"   venue {venue.ws_url}, account {account}")
            async with Executor.open(config) as executor, aiohttp.ClientSession() as session:
                view.watch(executor)
                reading = asyncio.create_task(_keep_books(executor, books))
                await Scenario(executor, InfoClient(venue.url, session), venue, view, books).play()
                await asyncio.sleep(SETTLE_S)
                checks = _compare(executor, books, await venue.truth(), await venue.state(account))
                reading.cancel()
    console.print(summary(executor, checks))
    return all(agrees for _, _, agrees in checks)


async def _keep_books(executor: Executor, books: Books) -> None:
    async for event in executor.events():
        books.note(event)


def _compare(executor: Executor, books: Books, truth: list[TruthRecord], venue: VenueState) -> list[Check]:
    core, monitor = executor.core, executor.driver.monitor
    accepted, over = core.intents.accepted, core.intents.ended
    fates = fate_by_cloid(truth)
    wrong = list(contradictions(books.ended, fates))
    held = books.held()
    ended: dict[type[Outcome], int] = dict(executor.outcomes)
    return [
        ("invariants checked, violated", f"{monitor.checks:,}, {monitor.violated}", monitor.violated == 0),
        ("intents accepted, ended", f"{accepted}, {over}", accepted == over > 0),
        ("owners told", f"{len(books.ended)}", len(books.ended) == over),
        ("posts in flight", f"{core.inflight.count}", core.inflight.count == 0),
        ("kinds of outcome seen", f"{len(ended)} of {_OUTCOMES_SHOWN}", len(ended) == _OUTCOMES_SHOWN),
        ("left unknown", f"{ended.get(Unknown, 0)}", Unknown not in ended),
        ("posts lost with the connection", f"{executor.endings[PostState.DISCONNECTED]}", _lost_two(executor)),
        ("outcomes against the venue's truth", f"{len(wrong)} contradict it{_first(wrong)}", not wrong),
        ("positions, books and venue", f"{_listed(held)} and {_listed(venue.positions)}", held == venue.positions),
        (
            "open orders, books and venue",
            f"{len(books.open_oids)} and {len(venue.open_oids)}",
            books.open_oids == venue.open_oids,
        ),
    ]


def _lost_two(executor: Executor) -> bool:
    return executor.endings[PostState.DISCONNECTED] == 2


def _first(wrong: list[str]) -> str:
    return f": {wrong[0]}" if wrong else ""


def _listed(positions: dict[str, Decimal]) -> str:
    return ", ".join(f"{market} {size}" for market, size in sorted(positions.items())) or "none"
