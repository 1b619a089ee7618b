"""A core that is ready to trade, and its surroundings for a plot to play: the strategy, the clock, the wire, the venue.

The steps are recorded as those of a live executor are, in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.journal import Step
from adapters.journal.memory import KeptSteps
from adapters.recorder import Recorder
from machines import events as ev
from machines.clock import ManualClock
from machines.executor import ExecutorCore
from machines.intent import Intent, ItemResult, Request
from machines.post import PostRequest
from machines.reply import Accepted, PostReply
from machines.settings import CoreSettings
from machines.settlement import OrderRecord

_DELAY_MS: Final = 3
"""What a message takes on its way."""
_TICK_MS: Final = 100


class PlotBroken(Exception):
    """The machines do not do what a plot builds on; the message says what it expected."""


class Stage:
    """A core that is ready to trade, and its surroundings, played by a plot.

    Attributes:
        core: The machines.
        intents: What the strategy submitted and the core accepted, in order.
        sent: The posts that were written, in order.
    """

    def __init__(self, settings: CoreSettings | None = None) -> None:
        self._clock = ManualClock()
        self.core = ExecutorCore(self._clock, settings, run_id=0xABC)
        self.intents: list[Intent] = []
        self.sent: list[PostRequest] = []
        self._journal = KeptSteps()
        self._recorder = Recorder(self.core, self._journal, self._clock)
        self.connect()
        self.handle(ev.MarketsLoaded())
        self.answer(self.send(), Accepted(()))
        self._begun = len(self._journal.steps)

    @property
    def steps(self) -> Sequence[Step]:
        """What happened since it was ready."""
        return list(self._journal.steps)[self._begun :]

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        """Something happens."""
        with self._recorder.watching():
            effects = list(self.core.handle(event))
        self._recorder.record(event, effects)
        self._recorder.commit()
        return effects

    def submit(self, request: Request) -> None:
        """The strategy wants something."""
        for effect in self.handle(ev.Submit(request)):
            if isinstance(effect, ev.Admitted) and effect.intent is not None:
                self.intents.append(effect.intent)

    def tick(self) -> PostRequest | None:
        """It is time to send; the post that is in hand then, if any."""
        self.pass_time(_TICK_MS)
        self.handle(ev.Tick())
        return self.core.posts.in_hand

    def due(self) -> PostRequest:
        """It is time to send; the post that must be in hand then.

        Raises:
            PlotBroken: There is none.
        """
        post = self.tick()
        if post is None:
            raise PlotBroken("a post was expected to be due, and none is")
        return post

    def send(self) -> PostRequest:
        """It is time to send, and the post that must be due is written.

        Raises:
            PlotBroken: There is none.
        """
        post = self.due()
        self.handle(ev.PostWritten(post.post_id, post.nonce, self.core.session.epoch))
        self.sent.append(post)
        return post

    def answer(self, post: PostRequest, reply: PostReply) -> None:
        """The venue answers a post."""
        self.pass_time(_DELAY_MS)
        self.handle(ev.ReplyReceived(post.epoch, post.post_id, reply))

    def accept(self, post: PostRequest, *results: ItemResult) -> None:
        """The venue takes a post, with these results."""
        self.answer(post, Accepted(results))

    def pass_time(self, ms: int) -> None:
        """Time passes; the core looks at its deadlines when they come."""
        self._clock.advance(ms)
        due = self.core.next_wake_ms
        if due is not None and due <= self._clock.monotonic_ms():
            self.handle(ev.TimePassed())

    def wait(self) -> int:
        """Time passes until the core's next deadline; how long that was, in ms.

        Raises:
            PlotBroken: The core waits for nothing.
        """
        due = self.core.next_wake_ms
        if due is None:
            raise PlotBroken("the core was expected to wait for a time, and waits for none")
        passed = max(0, due - self._clock.monotonic_ms())
        self.pass_time(passed)
        return passed

    def connect(self, *, synced: bool = True) -> None:
        """A connection opens, and brings the venue's time."""
        self.handle(ev.ConnectStarted())
        self._clock.advance(_DELAY_MS)
        self.handle(ev.ConnectionOpened())
        if synced:
            self.sync()

    def sync(self) -> None:
        """The venue's time is learnt."""
        self.handle(ev.ServerTimeLearned(self._clock.now_ms()))

    def drop(self) -> None:
        """The connection is lost."""
        self._clock.advance(_DELAY_MS)
        self.handle(ev.ConnectionLost("reset by the venue"))

    def look_up(self, record: OrderRecord) -> None:
        """The venue answers the look-ups that are due."""
        for effect in self.handle(ev.TimePassed()):
            if isinstance(effect, ev.LookUp):
                self._clock.advance(_DELAY_MS)
                self.handle(ev.LookedUp(effect.post_id, effect.seq, record))
