"""What an order costs does not grow: counted, not timed, so that it comes out the same on every machine.

Counted are the calls that one order makes on its way through machines, recorder and monitor, from its submission to
its outcome, functions of the interpreter's own included (so that a search through a queue would show), its transitions,
and the memory that is left behind. `hip3 bench` has the times.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from enum import Enum
from types import FrameType
from typing import Any, Final

import pytest
from msgspec.structs import replace

from adapters.journal import Changes
from adapters.journal.memory import KeptSteps
from adapters.monitor import Monitor
from adapters.recorder import Recorder
from machines import events as ev
from machines.batch import QueueLimits
from machines.catalogue import observing
from machines.clock import ManualClock
from machines.executor import ExecutorCore
from machines.intent import Filled, ItemResult, Order, Resting
from machines.post import PostRequest
from machines.register import REMEMBERED
from machines.reply import Accepted
from machines.settings import CoreSettings

ORDER: Final = Order(market="BTC", side="buy", size="0.01", price="50000", tif="Ioc")
FILLED: Final = Filled(1, "0.01", "50000")
SETTINGS: Final = replace(
    CoreSettings(), queues=QueueLimits(batch=1, new_order=20_000), messages_per_minute=1_000_000_000
)


class Forgetful(KeptSteps):
    """A journal that costs nothing: what one costs is the same whatever waits, and is measured elsewhere."""

    def append(self, steps: Any, changes: Changes) -> int:
        """Forget."""
        return 0


class Line:
    """A core with its recorder and its monitor, as the driver puts them together."""

    def __init__(self) -> None:
        """Be ready to trade, with one order waiting and one post in flight (from none to one is another row)."""
        self.clock = ManualClock()
        self.core = ExecutorCore(self.clock, SETTINGS, run_id=1)
        self.recorder = Recorder(self.core, Forgetful(0), self.clock)
        self.monitor = Monitor(self.core)
        for event in (ev.ConnectStarted(), ev.ConnectionOpened(), ev.MarketsLoaded()):
            self.step(event)
        self.step(ev.ServerTimeLearned(self.clock.now_ms()))
        self.answer(self.send(), ())
        self.submit(2)
        self.send()

    def step(self, event: ev.Event) -> list[ev.Effect]:
        """One step, with all that the driver does for one."""
        with self.recorder.watching():
            effects = list(self.core.handle(event))
        self.recorder.record(event, effects)
        self.monitor.note()
        return effects

    def conclude(self) -> None:
        """The end of a turn."""
        assert self.monitor.check() is None
        self.recorder.commit()

    def send(self) -> PostRequest:
        """The next post leaves."""
        (effect,) = self.step(ev.Tick())
        assert isinstance(effect, ev.Transmit)
        self.conclude()
        self.step(ev.PostWritten(effect.post.post_id, effect.post.nonce, 1))
        return effect.post

    def answer(self, post: PostRequest, results: tuple[ItemResult, ...]) -> None:
        """A post is answered."""
        self.step(ev.ReplyReceived(1, post.post_id, Accepted(results)))
        self.conclude()

    def submit(self, count: int = 1) -> None:
        """Orders are submitted."""
        for _ in range(count):
            self.step(ev.Submit(ORDER))
        self.conclude()

    def trade(self, count: int, result: ItemResult = FILLED) -> None:
        """Orders are submitted, sent and answered, one by one."""
        for _ in range(count):
            self.submit()
            self.answer(self.send(), (result,))


def calls_of_one_order(line: Line) -> Counter[str]:
    """What is called, and how often, while one more order is submitted, and the next one sent and answered."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, what: str, called: Any) -> None:
        if what == "call":
            calls[frame.f_code.co_qualname] += 1
        elif what == "c_call":
            calls[called.__qualname__] += 1

    sys.setprofile(note)
    try:
        line.trade(1)
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def usual() -> Counter[str]:
    """The calls of an order where next to nothing waits, is open, or happened before."""
    line = Line()
    line.submit(10)
    line.trade(10)
    calls = calls_of_one_order(line)
    assert 200 < calls.total() < 600
    return calls


def test_orders_that_wait_make_no_order_dearer(usual: Counter[str]) -> None:
    line = Line()
    line.submit(10_000)
    line.trade(10)
    assert calls_of_one_order(line) == usual


def test_posts_in_flight_make_no_order_dearer(usual: Counter[str]) -> None:
    line = Line()
    line.submit(70)
    for _ in range(60):
        line.send()
    line.trade(10)
    assert calls_of_one_order(line) == usual


def test_open_orders_make_no_order_dearer(usual: Counter[str]) -> None:
    line = Line()
    line.trade(5_000, Resting(7))
    line.submit(10)
    line.trade(10)
    assert calls_of_one_order(line) == usual


def test_history_makes_no_order_dearer(usual: Counter[str]) -> None:
    """But for one call: the oldest of the orders that are remembered is forgotten."""
    line = Line()
    line.submit(10)
    line.trade(2 * REMEMBERED)
    assert calls_of_one_order(line) - usual == Counter({"OrderedDict.popitem": 1})
    assert usual - calls_of_one_order(line) == Counter()


def test_an_order_takes_seven_transitions() -> None:
    line, moves = Line(), Counter[str]()

    def note(_: object, event: Enum, source: Enum, target: Enum) -> None:
        moves[type(event).__name__] += 1

    with observing(note):
        line.trade(1)
    assert moves == {"IntentEvent": 3, "PostEvent": 2, "InflightEvent": 2}


def test_history_leaves_memory() -> None:
    """Blocks of the allocator after so many orders, and after as many again; time passes, as it does."""

    def trade(count: int) -> int:
        for _ in range(count):
            line.trade(1)
            line.clock.advance(20)
        gc.collect()
        return sys.getallocatedblocks()

    line = Line()
    trade(2 * REMEMBERED)  # a minute and more: as much as is ever remembered
    before = trade(1_000)
    assert trade(REMEMBERED) - before < REMEMBERED // 100
