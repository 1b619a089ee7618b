"""What happens when …: short stories, run on the real core by a clock turned by hand, told as by `hip3 trace show`.

Nothing here is drawn: each plot says what the strategy, the wire and the venue do; the rest is what the machines do. A
test asserts on the core what each answer states.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from adapters.diagram.stage import Stage
from adapters.story import Story, tell
from machines import events as ev
from machines.executor import BACK_OFF_MS
from machines.intent import Cancel, Canceled, Filled, Order, Resting
from machines.post import QUARANTINE_MS, TIMEOUT_MS
from machines.reply import GatewayError, Refused
from machines.settings import CoreSettings
from machines.settlement import OrderRecord

_MARKET: Final = "xyz:TSLA"
_CLOID: Final = f"0x{1:032x}"
_FILLED: Final = Filled(oid=7, size="2", average_price="400")
_SPENT: Final = Refused("Invalid nonce: duplicate nonce")


def seconds(ms: int) -> str:
    """A time for a reader: `5 s`."""
    return f"{ms / 1_000:g} s"


def _buy(**changes: Any) -> Order:
    return Order(**{"market": _MARKET, "side": "buy", "size": "2", "price": "400", **changes})


def _reduce(**changes: Any) -> Order:
    return _buy(side="sell", price="395", reduce_only=True, **changes)


def _fills(stage: Stage) -> None:
    stage.submit(_buy(tif="Ioc"))
    stage.accept(stage.send(), _FILLED)


def _unanswered(stage: Stage) -> None:
    stage.submit(_buy())
    stage.send()
    stage.wait()
    stage.accept(stage.send())
    stage.wait()


def _ran(stage: Stage) -> None:
    stage.submit(_reduce())
    stage.send()
    stage.drop()
    stage.connect()
    stage.answer(stage.send(), _SPENT)
    stage.look_up(OrderRecord(7, "filled", "2"))


def _never_ran(stage: Stage) -> None:
    stage.submit(_reduce())
    stage.send()
    stage.submit(_buy())
    stage.submit(_reduce())
    stage.drop()
    stage.connect()
    stage.accept(stage.send())
    stage.accept(stage.send(), _FILLED, Filled(oid=9, size="2", average_price="400"))
    stage.accept(stage.send(), Resting(8))


def _still_queued(stage: Stage) -> None:
    stage.submit(_buy())
    stage.submit(_reduce())
    stage.drop()
    stage.connect(synced=False)
    stage.accept(stage.send(), _FILLED)
    stage.tick()
    stage.sync()
    stage.accept(stage.send(), Resting(8))


def _cancel_lost(stage: Stage) -> None:
    stage.submit(_buy(cloid=_CLOID))
    stage.accept(stage.send(), Resting(8))
    stage.submit(Cancel(market=_MARKET, cloid=_CLOID))
    stage.send()
    stage.drop()
    stage.connect()
    stage.accept(stage.send(), Canceled())


def _turned_away(stage: Stage) -> None:
    for request in (_buy(), _reduce()):
        stage.submit(request)
        stage.answer(stage.send(), GatewayError("429 Too Many Requests"))
        stage.pass_time(BACK_OFF_MS)
    stage.accept(stage.send(), _FILLED)


def _error_unclear(stage: Stage) -> None:
    stage.submit(_buy())
    stage.answer(stage.send(), GatewayError("502 Bad Gateway"))
    stage.pass_time(BACK_OFF_MS)
    stage.answer(stage.send(), _SPENT)
    stage.look_up(OrderRecord(8, "open", "0"))


def _limit(stage: Stage) -> None:
    stage.submit(_reduce())
    first = stage.send()
    stage.submit(_reduce())
    stage.send()
    stage.submit(_buy())
    stage.tick()
    stage.submit(_reduce())
    stage.send()
    stage.submit(Cancel(market=_MARKET, oid=8))
    stage.submit(_buy())
    stage.tick()
    stage.accept(first, _FILLED)
    stage.send()


def _halted(stage: Stage) -> None:
    for request in (_buy(), _reduce(), Cancel(market=_MARKET, oid=8)):
        stage.submit(request)
    stage.handle(ev.StopTripped("the operator said so"))
    stage.submit(_buy())
    stage.accept(stage.send(), Canceled())
    stage.accept(stage.send(), _FILLED)


@dataclass(frozen=True, slots=True)
class Plot:
    """What the surroundings do, and what comes of it.

    Attributes:
        title: The end of the question "What happens when …".
        answer: The answer in a sentence.
        play: What the surroundings do.
        settings: Limits of the core, where they matter.
    """

    title: str
    answer: str
    play: Callable[[Stage], None]
    settings: CoreSettings | None = None


PLOTS: Final = (
    Plot(
        "an order is placed and fills",
        "Its post takes an inflight slot as its frame is handed over; the reply ends the post, gives the slot back, "
        "and gives the order its one outcome, filled.",
        _fills,
    ),
    Plot(
        "the socket drops while a reduce-only order is still queued",
        "It keeps its place, and is sent as soon as a connection is open; new orders wait until the session is ready. "
        "Had the executor been shutting down, it would end as not executed instead. It had no slot.",
        _still_queued,
    ),
    Plot(
        "the socket drops while a reduce-only order is in flight, and the order never ran",
        "The post ends disconnected with its slot in quarantine, and the order is unknown until its fence is accepted "
        "on the next connection, which proves that it never ran; then it goes back to its place in its queue, before "
        "later ones, and is sent again before any new order. If its owner asked to cancel it meanwhile, it ends as not "
        "executed. The fence does not free the slot: only the end of the quarantine does.",
        _never_ran,
    ),
    Plot(
        "the socket drops while a reduce-only order is in flight, and the order ran",
        "The post ends disconnected with its slot in quarantine, and the order is unknown, neither rejected nor sent "
        "again; on the next connection its fence finds the nonce spent, and the venue's record shows that it filled. "
        "None of this frees the slot: only the end of the quarantine does.",
        _ran,
    ),
    Plot(
        "a post is not answered in time, and never ran",
        f"After {seconds(TIMEOUT_MS)} the post ends timed out; its slot stays in quarantine for another "
        f"{seconds(QUARANTINE_MS)}, because the venue may still count the post. A fence is accepted, which proves that "
        "the post never ran: its new order ends as not executed, and is not sent again by itself. The slot stays in "
        "quarantine for its time all the same.",
        _unanswered,
    ),
    Plot(
        "a cancel is lost with the connection",
        "It goes back to its queue at once and is sent again on the next connection, without a fence, because to "
        "cancel twice does no harm.",
        _cancel_lost,
    ),
    Plot(
        "the venue answers with an error that proves that nothing ran",
        "The post ends failed and gives its slot back; a new order ends as not executed, a reduce-only order goes back "
        "to its place and is sent again after a pause.",
        _turned_away,
    ),
    Plot(
        "the venue answers with an error that proves nothing",
        "The post ends failed and gives its slot back, but the order is unknown until fence and look-up tell: here it "
        "rests on the book.",
        _error_unclear,
    ),
    Plot(
        "the inflight limit is reached and a slot comes back",
        "From the high watermark on, here two posts, a new order is accepted but held, while cancels and reduce-only "
        "orders are sent. At the limit, here three, nothing is sent: a cancel waits, and a new order is refused. The "
        "reply to one post releases its slot, and the cancel takes it.",
        _limit,
        CoreSettings(inflight_limit=3, high_watermark=2),
    ),
    Plot(
        "the hard stop trips while orders are queued",
        "Queued new orders end as not executed and further ones are refused, while cancels and reduce-only orders are "
        "still sent.",
        _halted,
    ),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plot as it was played.

    Attributes:
        title: The end of the question "What happens when …".
        answer: The answer in a sentence.
        story: What was said and moved; `story.lines` are its interactions.
    """

    title: str
    answer: str
    story: Story

    @property
    def anchor(self) -> str:
        """Its id on the page: `story-a-cancel-is-lost-with-the-connection`."""
        return f"story-{re.sub('[^a-z]+', '-', self.title.lower())}"


def scenarios() -> tuple[Scenario, ...]:
    """All plots, played now."""
    return tuple(map(_played, PLOTS))


def _played(plot: Plot) -> Scenario:
    stage = Stage(plot.settings)
    plot.play(stage)
    return Scenario(plot.title, plot.answer, tell([(1, stage.steps)], None, plot.title))
