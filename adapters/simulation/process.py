"""One life of the executor: the real core and recorder, and the shell around them in its simplest form.

It does what adapters/driver.py does, on simulated time: one event after the other; each step recorded before any of its
effects; sign, write and report in one go. Between any two of these it may die. A journal that can't be written ends it
too: what can't be recorded must have no effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from adapters.journal import JournalFull
from adapters.recorder import Recorder, restored
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.journal import Disk, MemoryJournal
from adapters.simulation.judge import Judge
from adapters.simulation.messages import ErrorText, Fill, Frame, Message, Reply, Update
from adapters.simulation.network import Connection, Network
from adapters.simulation.timeline import Timeline
from adapters.simulation.venue import Venue
from adapters.simulation.watch import Watch
from machines import events as ev
from machines.errors import MachinesError
from machines.executor import ExecutorCore
from machines.intent import Cancel, Modify, Order, Request
from machines.post import PostRequest
from machines.session import SessionState
from machines.settings import CoreSettings
from machines.settlement import VENUE_LAG_MS

TICK_MS: Final = 100
POLL_MS: Final = 500
"""How long to wait after a tick that could send nothing."""
FLUSH_MS: Final = 10
"""How long a step without effects may wait for its place in the journal."""
SYNC_MS: Final = 60_000
RETRY_MS: Final = 1_000
_SUBSCRIPTIONS: Final = 2
"""Messages with which a connection begins: orders and fills are subscribed to."""
DRAIN_MS: Final = 8_000
"""How long a shutdown waits for what is open."""


class Died(Exception):
    """The executor is gone, in the middle of whatever it did."""


class Owner(Protocol):
    """The strategy and the operator."""

    def on_admitted(self, admitted: ev.Admitted) -> None:
        """A submit was answered."""

    def on_halted(self) -> None:
        """The hard stop tripped."""

    def on_end(self, process: Process) -> None:
        """The executor is gone: crashed, failed or shut down."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life of the executor finds, and leaves to the next one.

    Attributes:
        timeline: Time.
        troubles: Faults.
        network: The network.
        venue: The venue.
        disk: Where the journal is.
        judge: Who holds both sides against each other.
        owner: Who submits and operates.
        settings: The core's settings.
    """

    timeline: Timeline
    troubles: Troubles
    network: Network
    venue: Venue
    disk: Disk
    judge: Judge
    owner: Owner
    settings: CoreSettings


class Process:
    """One life.

    Attributes:
        core: The machines.
        signer: The key that it signs with.
        watch: The watch over the invariants.
        alive: Whether it runs.
        doom: Where it dies next; None if it is not to.
        spared: How often it passes there before it does.
        event: What it was given last.
    """

    def __init__(self, world: Surroundings, signer: str) -> None:
        """Open the journal; `start` takes up what it holds and begins to connect."""
        self.signer = signer
        self.alive = True
        self.doom: Fault | None = None
        self.spared = 0
        self.event: ev.Event | None = None
        self._world = world
        self._journal = MemoryJournal(world.disk, signer)
        recovered = self._journal.recovered
        self._run = world.judge.run = recovered.run
        world.judge.epoch = 0
        self.core = ExecutorCore(
            world.timeline.clock,
            world.settings,
            run_id=recovered.run,
            last_nonce=recovered.last_nonce,
            last_post_id=recovered.last_post_id,
            last_seq=recovered.last_intent_seq,
        )
        self.watch = Watch(self.core)
        self._recorder = Recorder(self.core, self._journal, world.timeline.clock)
        self._recorder.begin(recovered.run, recovered)
        self._connection: Connection | None = None
        self._inbox: deque[ev.Event] = deque()
        self._busy = False
        self._wake_at: int | None = None
        self._tick_at = 0

    # ---------------------------------------------------------------------------------------------- what is done to it

    def start(self) -> None:
        """Take up what earlier runs left, and connect."""
        left = restored(self._journal.recovered, self.signer)
        saw = self._world.troubles.saw
        saw(Sight.RECOVERED_UNKNOWN, sum(len(post.items) for post in left.posts))
        saw(Sight.RECOVERED_UNSENT, len(left.never_sent))
        saw(Sight.RECOVERED_CANCEL, len(left.lost_cancels))
        if left.posts or left.never_sent or left.lost_cancels:
            self.drive(left)
        self._connect()

    def submit(self, request: Request) -> None:
        """The strategy wants something; a cloid of an earlier run is known to the journal alone (rule 13)."""
        cloid = None if isinstance(request, Cancel) else _order_of(request).cloid
        forgotten = cloid is not None and self.core.intents.remembered(cloid) is None
        if forgotten and self._journal.outcome_of(cloid or "") is not None:
            return
        self.drive(ev.Submit(request))

    def shut_down(self) -> None:
        """Close in good order."""
        if self.alive and not self.core.session.ending:
            self.drive(ev.DrainStarted())
            self._close_when_drained(self._world.timeline.now + DRAIN_MS)

    def _close_when_drained(self, deadline: int) -> None:
        if not self.alive:
            return
        timeline = self._world.timeline
        draining = self.core.session.state is SessionState.DRAINING
        if draining and not self.core.idle and timeline.now < deadline:
            timeline.after(200, partial(self._close_when_drained, deadline))
            return
        if draining:
            self.drive(ev.Closed())
        if self.alive:
            self._flush()
        if self.alive:
            self._journal.close(clean=True)
            self._end()

    def _end(self) -> None:
        self.alive = False
        if self._connection is not None and self._connection.open:
            self._connection.close()
        self.watch.everything()
        self._world.owner.on_end(self)

    # ------------------------------------------------------------------------------------------------------- its steps

    def drive(self, event: ev.Event) -> None:
        """Give the core an event, and do all that follows from it."""
        if not self.alive:
            return
        self._inbox.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                self._step(self._inbox.popleft())
        except Died:
            self._end()
        finally:
            self._busy = False
        self._arm()

    def _step(self, event: ev.Event) -> None:
        self.event = event
        try:
            with self._recorder.watching():
                effects = self.core.handle(event)
        except MachinesError as error:
            raise PromiseBroken("NoFaultOfOurOwn", f"{type(error).__name__} at {event}: {error}") from error
        self.watch.step()
        self._world.judge.stepped(self.core)
        if not isinstance(event, ev.Submit | ev.Tick):
            self._tick_at = min(self._tick_at, self._world.timeline.clock.monotonic_ms() + TICK_MS)
        self._record_and_perform(event, effects)

    def _record_and_perform(self, event: ev.Event, effects: Sequence[ev.Effect]) -> None:
        """Durable first, then told (settlement.md, rule 2); what has nothing to tell is written a little later."""
        self._pass(Fault.CRASH_UNRECORDED)
        self._recorder.record(event, effects)
        if effects or self.core.settler.moved:
            self._make_durable()
        else:
            self._world.timeline.after(FLUSH_MS, self._flush)
        self._pass(Fault.CRASH_RECORDED)
        self._perform(effects)

    def _flush(self) -> None:
        if self.alive:
            try:
                self._make_durable()
            except Died:
                self._end()

    def _make_durable(self) -> None:
        try:
            self._recorder.commit()
        except JournalFull as error:
            raise Died(str(error)) from error

    def _perform(self, effects: Sequence[ev.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ev.Transmit):
                self._report(self._hand_over(effect.post))
            else:
                self._do(effect)
            self._pass(Fault.CRASH_AMID_EFFECTS)

    def _do(self, effect: ev.Effect) -> None:
        world = self._world
        match effect:
            case ev.Admitted():
                world.owner.on_admitted(effect)
            case ev.IntentEnded(intent):
                world.judge.told(intent)
            case ev.LookUp(post_id, seq, key):
                world.network.ask(
                    lambda: world.venue.book.look_up(key, world.venue.lag()),
                    lambda record: self.drive(ev.LookedUp(post_id, seq, record)),
                    lambda: self.drive(ev.LookUpFailed(post_id, seq)),
                )
            case ev.Halted():
                world.troubles.saw(Sight.HALTED)
                world.owner.on_halted()
            case ev.SettlementOverdue():
                world.troubles.saw(Sight.OVERDUE)
            case ev.Contradiction():
                world.judge.contradicted(effect)
            case ev.KeyRefused(reason):
                raise PromiseBroken("NoContradiction", f"the venue refuses a good key: {reason}")
            case _:
                pass  # news that this owner does not act upon

    def _pass(self, point: Fault) -> None:
        """Die here, if that is what is to happen."""
        if self.doom is not point:
            return
        self.spared -= 1
        if self.spared < 0:
            self._world.troubles.saw(point)
            raise Died(point.value)

    # --------------------------------------------------------------------------------------------------------- sending

    def _hand_over(self, post: PostRequest) -> ev.PostWritten | ev.SendRefused | ev.SendBroken:
        self._pass(Fault.CRASH_BEFORE_WRITE)
        world, connection, epoch = self._world, self._connection, self.core.session.epoch
        if connection is None or not connection.open or world.troubles.strikes(Fault.HAND_OVER_REFUSED):
            return ev.SendRefused(post.post_id, "the socket is not open")
        frame = Frame(
            post.post_id,
            self.signer,
            post.nonce,
            post.kind,
            tuple(item.request for item in post.items),
            post.expires_ms,
            self._run,
            epoch,
            tuple(item.seq for item in post.items),
            post.server_time_ms + (world.settings.schedule_cancel_ms or 0),
        )
        world.judge.write(frame, fence=post.fence_of is not None)
        broken = world.troubles.strikes(Fault.HAND_OVER_BROKEN)
        if not broken or world.troubles.between(0, 1):
            connection.write(frame)
        self._pass(Fault.CRASH_AFTER_WRITE)
        if broken:
            return ev.SendBroken(post.post_id, post.nonce, epoch, "broken pipe")
        return ev.PostWritten(post.post_id, post.nonce, epoch)

    def _report(self, event: ev.PostWritten | ev.SendRefused | ev.SendBroken) -> None:
        self._step(event)
        self._tick_at = self._world.timeline.clock.monotonic_ms() + TICK_MS
        if isinstance(event, ev.SendBroken) and self._connection is not None:
            self._connection.close()
            self._lose(event.reason)

    # ------------------------------------------------------------------------------------------------------ connecting

    def _connect(self) -> None:
        if self.alive and self.core.session.state is SessionState.DISCONNECTED:
            self.drive(ev.ConnectStarted())
            self._world.network.connect(self)

    def on_open(self, connection: Connection) -> None:
        """The connection is open."""
        if not self.alive or self.core.session.state is not SessionState.CONNECTING:
            connection.close()
            return
        self._connection = connection
        connection.epoch = self._world.judge.epoch = self.core.session.epoch + 1
        self.drive(ev.ConnectionOpened())
        for _ in range(_SUBSCRIPTIONS):
            self.drive(ev.MessageWritten())
        self._synchronise(connection)

    def on_lost(self, connection: Connection | None) -> None:
        """The connection, or the attempt, is gone."""
        if self.alive and connection in (None, self._connection):
            self._lose("the peer closed it")

    def _lose(self, reason: str) -> None:
        self._connection = None
        if self.core.session.state in (SessionState.DISCONNECTED, SessionState.CLOSED):
            return
        self.drive(ev.ConnectionLost(reason))
        self._world.timeline.after(self._world.troubles.between(100, 2_000), self._connect)

    def on_message(self, connection: Connection, message: Message) -> None:
        """Something arrived."""
        match message:
            case Reply(post_id, reply):
                if self.alive:
                    late = self.core.posts.find(post_id, connection.epoch) is None
                    self._world.troubles.saw(Sight.REPLY_LATE, late)
                self.drive(ev.ReplyReceived(connection.epoch, post_id, reply))
            case ErrorText(text, named):
                self.drive(ev.ErrorReceived(connection.epoch, text, named))
            case Update(cloid, record):
                self.drive(ev.OrderSeen(cloid, record))
                self._has_seen(message)
            case Fill(cloid, oid, size):
                self.drive(ev.FillSeen(cloid, oid, size))
                self._has_seen(message)

    def _has_seen(self, news: Update | Fill) -> None:
        if self.alive:
            self._world.judge.seen(news)

    # --------------------------------------------------------------------------------------------------- synchronising

    def _synchronise(self, connection: Connection) -> None:
        """Learn the server's time, and which orders still rest; now and every minute."""
        if not self._uses(connection):
            return
        timeline, asked = self._world.timeline, self._world.timeline.now

        def learn(server_time: int) -> None:
            if self._uses(connection):
                self.drive(ev.ServerTimeLearned(server_time + (timeline.now - asked) // 2))
                self.drive(ev.MarketsLoaded())
                self.drive(ev.BudgetReported(*self._world.venue.budget()))
                # What is asked later than the venue's lag is told of all that rests now.
                timeline.after(VENUE_LAG_MS, partial(self._reconcile, self.core.intents.resting_cloids()))
                timeline.after(SYNC_MS, again)

        def again() -> None:
            self._synchronise(connection)

        self._world.network.ask(lambda: timeline.now, learn, lambda: timeline.after(RETRY_MS, again))

    def _reconcile(self, resting: list[str]) -> None:
        """Orders that rested and are not open any more were closed unseen (protocol.md §8: no snapshot)."""
        venue = self._world.venue

        def compare(still_open: list[str]) -> None:
            known = frozenset(still_open)
            for cloid in resting:
                if cloid not in known:
                    self.drive(ev.OrderGone(cloid))

        if self.alive and resting:
            self._world.network.ask(lambda: venue.book.open_orders(venue.lag()), compare, _nothing)

    def _uses(self, connection: Connection) -> bool:
        return self.alive and self._connection is connection

    # ---------------------------------------------------------------------------------------------------------- timers

    def _arm(self) -> None:
        """See to it that the core is woken when it has something to do."""
        if not self.alive:
            return
        core, now = self.core, self._world.timeline.clock.monotonic_ms()
        wakes = [] if core.next_wake_ms is None else [core.next_wake_ms]
        if core.session.connected and core.wants_tick:
            wakes.append(self._tick_at)
        if not wakes:
            return
        wake = max(min(wakes), now)
        if self._wake_at is None or wake < self._wake_at:
            self._wake_at = wake
            self._world.timeline.after(wake - now, partial(self._wake, wake))

    def _wake(self, due: int) -> None:
        if not self.alive or self._wake_at != due:
            return
        self._wake_at = None
        core, now = self.core, self._world.timeline.clock.monotonic_ms()
        if core.next_wake_ms is not None and core.next_wake_ms <= now:
            self.drive(ev.TimePassed())
        if core.session.connected and core.wants_tick and self._tick_at <= now:
            self._tick_at = now + POLL_MS
            self.drive(ev.Tick())
        self._arm()


def _order_of(request: Order | Modify) -> Order:
    return request.order if isinstance(request, Modify) else request


def _nothing() -> None:
    """A question that is not answered is asked again with the next synchronisation."""
