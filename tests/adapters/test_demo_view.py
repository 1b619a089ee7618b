"""What the demo shows on a terminal, and that its comparison notices a difference."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from rich.console import Console

from adapters.demo import view as module
from adapters.demo.books import Books
from adapters.demo.show import _compare
from adapters.demo.venue_process import VenueFailed, VenueProcess, VenueState
from adapters.demo.view import View, summary
from machines.intent import Filled
from tests.adapters.live import crossing_order, live, resting_order, until


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, color_system=None), out


async def test_on_a_terminal_the_gauges_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READING_S", 0.2)
    screen, out = console(terminal=True)
    async with live(tick_ms=0) as world:
        with View(screen) as view:
            await view.pause()
            assert "starting the venue" in out.getvalue()
            view.watch(world.executor)
            view.say("scene", "scene")
            assert isinstance(await world.executor.submit(crossing_order()), Filled)
            await view.pause()
    text = out.getvalue()
    for part in ("scene", "inflight", "0/100", "cancel", "reduce-only", "new-order", "session", "ready", "hard stop"):
        assert part in text
    assert "intents filled" in text
    assert "invariant checks" in text


async def test_elsewhere_there_are_plain_lines_and_no_pauses() -> None:
    page, out = console(terminal=False)
    with View(page) as view:
        view.say("a line that is far too long for a page of this width " * 5)
        await view.pause()
    assert out.getvalue().count("\n") == 1


async def test_the_comparison_notices_every_difference() -> None:
    async with live(tick_ms=0) as world:
        executor, books = world.executor, Books()
        await executor.submit(resting_order())
        await executor.submit(crossing_order())
        await until(lambda: world.positions == {"BTC": "0.01"})
        await until(lambda: len(world.ended) == 2)
        for event in world.seen:
            books.note(event)
        truth = world.venue.core.truth.since(0)
        oids = frozenset(order["oid"] for order in world.venue.core.state(world.config.account)["open_orders"])
        good = VenueState({"BTC": Decimal("0.01")}, oids)
        verdicts = {what: agrees for what, _, agrees in _compare(executor, books, truth, good)}
        # One order rested and one filled; so the run had not every kind of outcome, and lost no connection.
        assert [what for what, agrees in verdicts.items() if not agrees] == [
            "kinds of outcome seen",
            "posts lost with the connection",
        ]
        wrong = VenueState({"BTC": Decimal("0.02")}, frozenset())
        books.ended.clear()
        executor.driver.monitor.violated += 1
        checks = _compare(executor, books, [], wrong)
        books.note(world.seen[0])
        executor.driver.monitor.violated -= 1
        disagreeing = {what for what, _, agrees in checks if not agrees}
        assert disagreeing >= {
            "invariants checked, violated",
            "owners told",
            "positions, books and venue",
            "open orders, books and venue",
        }
        page, out = console(terminal=False)
        page.print(summary(executor, checks))
        assert out.getvalue().count("DISAGREES") == len(disagreeing)
        lying = Books()
        lying.ended = world.ended
        found = {what: said for what, said, agrees in _compare(executor, lying, [], wrong) if not agrees}
        assert found["outcomes against the venue's truth"].startswith("2 contradict it: intent 1 (0x")


async def test_a_venue_that_does_not_start_or_does_not_run_says_so() -> None:
    with pytest.raises(VenueFailed, match="the venue did not start: it said b''"):
        async with VenueProcess("--account", "nonsense"):
            pytest.fail("that is no account")
    with pytest.raises(VenueFailed, match="the venue is not running"):
        await VenueProcess().set_faults()


async def test_a_venue_process_answers_its_operator() -> None:
    account = "0x" + "11" * 20
    async with VenueProcess("--account", account) as venue:
        assert await venue.truth() == []
        assert await venue.state(account) == VenueState({}, frozenset())
        with pytest.raises(VenueFailed, match="/local/faults answered 400"):
            await venue.set_faults(gremlins=1.0)
