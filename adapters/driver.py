"""Drives the core: feeds it events in one order, and does what it asks for.

**One owner.** `dispatch` is the one place from which the core is driven. It runs on the event loop's thread, to
completion: an event that comes up while another one is handled waits until that is done. So there are no locks, and a
submit has its admission when `dispatch` returns.

**Turns.** All that the event loop brings at once is one turn: the frames of one read, the posts of one tick. Its steps
are watched and written down together, and only then is anything told. So what a record and a look at the invariants
cost is paid once a turn, however many orders it moved.

**One place sends.** `_hand_over` is the only code that signs and hands over a post (finding B7), and it does so inside
the step that asked for it: sign, hand over, report, and only then the next event. What fails before the write is
`SendRefused`; what fails in it is `SendBroken`, and the connection is dropped. While more posts follow in the same
turn, a frame is staged, and leaves with the last of them in one write. Frames that do not get that far are lost with
their connection, which is dropped; their posts are settled like all that a connection loses.

**Journal first.** A step is in the journal before anything of it takes effect outside: before its frame leaves, before
an outcome is told (settlement.md, rules 1 and 2). Steps that have no such effect (a submit, the report that a frame was
handed over) are written with the next one that has, or `FLUSH_MS` later. A journal that fails trips the hard stop, and
keeps it tripped: new orders end, cancels and reduce-only orders still go out, unrecorded.

**When it ticks.** At least `tick_ms` lie between two posts; if that is 0, a turn sends all that may pass. An idle
executor sends the first intent at once, after the submits that belong to the same turn of the event loop, so that they
travel together (design.md, Tick).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final, Protocol

from adapters.clock import TurnClock
from adapters.config import Config
from adapters.hyperliquid.markets import Markets
from adapters.hyperliquid.signing import Signer
from adapters.hyperliquid.wire import action_of, ping_frame, post_frame, schedule_cancel_action
from adapters.journal import JournalError
from adapters.logs import get_logger
from adapters.monitor import Monitor
from adapters.recorder import Recorder
from adapters.transport import NotWritten, Transport, WriteBroken
from machines import events as ev
from machines.errors import IllegalEvent
from machines.executor import ExecutorCore
from machines.intent import ActionKind, Priority
from machines.post import PostRequest
from machines.session import SessionState
from machines.settlement import SETTLEMENT, Attempt
from spec.invariants import Violation

POLL_MS: Final = 100
"""How often a tick is tried again while nothing may be sent."""
FLUSH_MS: Final = 10
"""How long a step may wait for its place in the journal while nothing of it takes effect."""
STAGED_BYTES: Final = 64 * 1024
"""Staged frames of so many bytes leave, whatever follows: all that may be in flight, of single orders."""

log = get_logger("driver")


class ExecutorFailed(Exception):
    """The executor met a fault of its own and stopped; what it had open is not certain."""


class Owner(Protocol):
    """Who is told what the core does."""

    def on_effect(self, effect: ev.Effect) -> None:
        """The core reports something; transmissions are not reported here."""

    def on_settlement(self, attempt: Attempt) -> None:
        """Something was learnt about an ambiguous post."""

    def on_session(self, state: SessionState) -> None:
        """The connection moved to another state."""

    def on_frame(self, frame: bytes) -> None:
        """A frame arrived."""

    def on_fault(self, fault: ExecutorFailed) -> None:
        """The core refused an event that it must not refuse; nothing more will happen."""


class Driver:
    """The core with its clock, key and socket.

    Attributes:
        core: The machines.
        monitor: The watch over the invariants.
        transport: The connection.
        markets: The venue's markets; none until the owner has loaded them.
        fault: Why the driver stopped; None while it works.
        journal_fault: Why nothing is recorded any more; None while everything is.
    """

    def __init__(
        self,
        core: ExecutorCore,
        recorder: Recorder,
        signer: Signer,
        config: Config,
        clock: TurnClock,
        owner: Owner,
        jitter: Random,
    ) -> None:
        """Prepare; nothing happens before the first event. `clock` is the one of core and recorder."""
        self.core = core
        self.monitor = Monitor(core)
        self.transport = Transport(config.endpoints[0], self, clock.live, config.silence_ms, jitter)
        self.markets = Markets(())
        self.fault: ExecutorFailed | None = None
        self.journal_fault: JournalError | None = None
        self._recorder = recorder
        self._signer = signer
        self._config = config
        self._turn_clock = clock
        self._clock = clock.live
        self._owner = owner
        self._inbox: deque[ev.Event] = deque()
        self._news: deque[ev.Effect | Attempt | SessionState] = deque()  # to be told once it is written down
        self._unfit: str | None = None
        self._reported: set[str] = set()
        self._in_turn = False
        self._state = core.session.state
        self._tick: asyncio.Handle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._deadline_ms = 0
        self._unsettled = False  # whether steps were taken since the journal put away the last ones
        self._wake_is_old = False  # a step may have brought an earlier deadline; a submit never does
        self._life: asyncio.TimerHandle | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._sent_ms = clock.monotonic_ms() - config.tick_ms
        self._blocked = False

    def dispatch(self, event: ev.Event) -> None:
        """Give the core an event, and do all that follows from it; after the end of the session nothing does.

        Raises:
            IllegalEvent: The event is not allowed now (a reset of an armed hard stop); nothing changed.
            ExecutorFailed: The driver has met a fault of its own, now or before, and stopped.
        """
        if self.fault is not None:
            raise self.fault
        if self._state is SessionState.CLOSED:
            return
        self._inbox.append(event)
        if not self._in_turn:
            self._turn(self._take_steps)

    def drive(self, event: ev.Event) -> None:
        """`dispatch` for events that nobody waits for: whatever is wrong with them is a fault of our own."""
        if self._in_turn and self.fault is None:
            self._inbox.append(event)
        else:
            self._unasked(partial(self.dispatch, event))

    def write_auxiliary(self, frame: str) -> None:
        """Write a frame that is no post: a ping or a subscription.

        One that can't be written is dropped with a log line: its connection is about to be replaced, and the next
        one gets its own.
        """
        try:
            self.transport.write(frame)
        except NotWritten as error:
            log.info("auxiliary_frame_not_written", reason=str(error))
            return
        except WriteBroken as error:
            log.info("auxiliary_frame_broken", reason=str(error))
            self.transport.abort(str(error))
        self.drive(ev.MessageWritten())

    def make_durable(self) -> None:
        """Write down all that happened so far: before an admission is told outside of this process."""
        if self.journal_fault is not None:
            return
        try:
            self._recorder.commit()
        except JournalError as error:
            self.on_journal_failed(error)

    def stop(self) -> None:
        """Cancel all timers."""
        for handle in (self._tick, self._deadline, self._life, self._flush):
            if handle is not None:
                handle.cancel()

    def on_journal_failed(self, error: JournalError) -> None:
        """Nothing more is recorded: no new order passes from here on, and what is staged does not leave."""
        if self.journal_fault is not None:
            return
        self.journal_fault = error
        log.critical("journal_failed", error=f"{type(error).__name__}: {error}")
        if self.transport.staged:
            self.transport.abort("frames were staged that could not be recorded")
        self._stop_if_unfit(None)
        if not self._in_turn:
            self._unasked(partial(self._turn, self._take_steps))

    def fail(self, error: BaseException) -> ExecutorFailed:
        """Stop for good, because `error` shows that something of our own is broken; the owner is told."""
        if self.fault is None:
            what = f"{type(error).__name__}: {error}"
            log.critical("executor_failed", error=what, exc_info=error)
            self.fault = ExecutorFailed(f"the executor stopped on a fault of its own: {what}")
            self.stop()
            self._owner.on_fault(self.fault)
        return self.fault

    # ----------------------------------------------------------------------------------------------- the transport

    def on_connecting(self) -> None:
        """An attempt to connect begins."""
        self.drive(ev.ConnectStarted())

    def on_open(self) -> None:
        """The connection is open."""
        self.drive(ev.ConnectionOpened())
        self._keep_alive()

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Frames arrived, in this order."""
        self._unasked(partial(self._turn, partial(self._take_frames, frames)))

    def on_writable(self) -> None:
        """The socket takes frames again."""
        if self._blocked:
            self._unblock()
            self._arm_tick()

    def on_lost(self, reason: str, retry_ms: int) -> None:
        """The connection, or the attempt, is gone."""
        log.warning("connection_lost", reason=reason, retry_ms=retry_ms, url=self.transport.url)
        if self._life is not None:
            self._life.cancel()
        self.drive(ev.ConnectionLost(reason))

    def _keep_alive(self) -> None:
        """Ask for life often enough that a silent connection is noticed, and the venue keeps it (protocol.md §1)."""
        half_s = self._config.silence_ms / 2_000
        self._life = asyncio.get_running_loop().call_later(half_s, self._ask_for_life)

    def _ask_for_life(self) -> None:
        self.write_auxiliary(ping_frame())
        self._keep_alive()

    # --------------------------------------------------------------------------------------------------- the steps

    def _turn(self, work: Callable[[], None]) -> None:
        """Do `work` and all that follows from it, and then set the timers.

        Raises:
            IllegalEvent: As `dispatch`.
            ExecutorFailed: As `dispatch`.
        """
        if self.fault is not None:
            raise self.fault
        self._in_turn = True
        self._turn_clock.begin_turn()
        try:
            work()
            while self._inbox or self._news:
                self._take_steps()
                self._conclude()
        except IllegalEvent:
            raise
        except Exception as error:
            raise self.fail(error) from error
        finally:
            self._in_turn = False
        self._arm_tick()
        self._arm_deadline()
        self._arm_flush()

    def _unasked(self, do: Callable[[], None]) -> None:
        """Do what nobody waits for: whatever is wrong with it is a fault of our own."""
        try:
            do()
        except ExecutorFailed:
            return
        except IllegalEvent as error:
            self.fail(error)

    def _take_frames(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._owner.on_frame(frame)

    def _take_steps(self) -> None:
        while self._inbox:
            self._step(self._inbox.popleft())

    def _step(self, event: ev.Event) -> None:
        self._perform(self._handle(event))
        if isinstance(event, ev.Submit):
            return
        self._wake_is_old = True
        if self._blocked and not isinstance(event, ev.Tick):
            self._unblock()
        if isinstance(event, ev.StopReset):
            self._conclude()  # what made it stop may be so still

    def _handle(self, event: ev.Event) -> Sequence[ev.Effect]:
        with self._recorder.watching():
            effects = self.core.handle(event)
        if self.journal_fault is None:
            self._recorder.record(event, effects)
        self.monitor.note()
        self._unsettled = True
        return effects

    def _perform(self, effects: Sequence[ev.Effect]) -> None:
        """Do what the step asked for; what is only to be told waits for the end of the turn."""
        settlements = tuple(dict.fromkeys(self.core.settler.moved))  # one that moved twice is told once
        for attempt in settlements:
            if attempt.state in SETTLEMENT.final:  # told before the outcomes that follow from it
                self._news.append(attempt)
        for effect in effects:
            if isinstance(effect, ev.Transmit):
                self._report(self._hand_over(effect.post))
            elif isinstance(effect, ev.Admitted):
                self._owner.on_effect(effect)
            else:
                self._news.append(effect)
        for attempt in settlements:
            if attempt.state not in SETTLEMENT.final:
                self._news.append(attempt)
        if self.core.session.state is not self._state:
            self._state = self.core.session.state
            self._news.append(self._state)
            self._conclude()
        elif settlements:
            self._conclude()  # each stage is told while it lasts

    def _conclude(self) -> None:
        """Look at what was done, write it down, and only then tell it."""
        self._watch()
        self.make_durable()
        while self._news:
            news = self._news.popleft()
            if isinstance(news, Attempt):
                self._owner.on_settlement(news)
            elif isinstance(news, SessionState):
                self._owner.on_session(news)
            else:
                self._owner.on_effect(news)

    def _report(self, event: ev.PostWritten | ev.SendRefused | ev.SendBroken) -> None:
        """Tell the core how the hand-over went, before anything else."""
        effects = self._handle(event)
        if isinstance(event, ev.PostWritten):
            self._sent_ms = self._clock.monotonic_ms()
            self._blocked = False
        else:
            log.warning("hand_over_failed", how=type(event).__name__, post_id=event.post_id, reason=event.reason)
        self._perform(effects)
        if isinstance(event, ev.SendBroken):
            self.transport.abort(event.reason)

    def _watch(self) -> None:
        """Check the invariants; one that is violated is logged once, and new orders stop while it is."""
        violation = self.monitor.check()
        if violation is not None and violation.invariant.id not in self._reported:
            self._reported.add(violation.invariant.id)
            log.critical("invariant_violated", invariant=violation.invariant.id, detail=violation.detail)
        self._stop_if_unfit(violation)

    def _stop_if_unfit(self, violation: Violation | None) -> None:
        """Trip the hard stop if no new order may go out, whatever the core says; before the next frame leaves."""
        self._unfit = self._why_unfit(violation)
        if self._unfit is not None and not self.core.hard_stop.tripped:  # it stays so, after this very step too
            self._inbox.append(ev.StopTripped(self._unfit))

    def _why_unfit(self, violation: Violation | None) -> str | None:
        """Why no new order may go out, whatever the core says."""
        if violation is not None:
            return f"invariant violated: {violation}"
        return None if self.journal_fault is None else f"the journal failed: {self.journal_fault}"

    def _hand_over(self, post: PostRequest) -> ev.PostWritten | ev.SendRefused | ev.SendBroken:
        """Sign and stage a post; the last one of a turn takes all of them along, once they are in the journal."""
        self._watch()
        last = self._config.tick_ms > 0 or not self.core.scheduler.waiting or self.transport.staged >= STAGED_BYTES
        if last:
            self.make_durable()
        if self._unfit is not None and post.priority is Priority.NEW_ORDER:
            return ev.SendRefused(post.post_id, self._unfit)
        try:
            frame = self._frame_of(post)
        except Exception as error:  # whatever it was: no byte has left, the items are safe
            return ev.SendRefused(post.post_id, f"{type(error).__name__}: {error}")
        epoch = self.core.session.epoch
        try:
            self.transport.stage(frame)
            if last:
                self.transport.flush()
        except NotWritten as error:
            return ev.SendRefused(post.post_id, str(error))
        except WriteBroken as error:
            return ev.SendBroken(post.post_id, post.nonce, epoch, str(error))
        return ev.PostWritten(post.post_id, post.nonce, epoch)

    def _frame_of(self, post: PostRequest) -> str:
        config = self._config
        ahead_ms = config.schedule_cancel_ms
        if post.kind is ActionKind.SCHEDULE_CANCEL and ahead_ms is not None:
            action = schedule_cancel_action(post.server_time_ms + ahead_ms)
        else:
            action = action_of(post.kind, [item.request for item in post.items], self.markets)
        vault, expires = config.vault_address, post.expires_ms
        signature = self._signer.sign(
            action, post.nonce, network=config.network, vault_address=vault, expires_after=expires
        )
        return post_frame(post.post_id, action, post.nonce, signature, vault_address=vault, expires_after=expires)

    # -------------------------------------------------------------------------------------------------- the timers

    def _arm_tick(self) -> None:
        if self._tick is not None or not self.core.wants_tick:
            return
        wait_ms = self._sent_ms + self._config.tick_ms - self._clock.monotonic_ms()
        if self._blocked:
            wait_ms = max(wait_ms, POLL_MS)
        loop = asyncio.get_running_loop()
        self._tick = loop.call_later(wait_ms / 1_000, self._on_tick) if wait_ms > 0 else loop.call_soon(self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._blocked = True  # until this tick sends something, or something changes
        # Without the markets nothing that an earlier run left can be written; new intents are not taken yet.
        if self.transport.writable and self.core.session.markets_loaded:
            self._unasked(partial(self._turn, self._send))
        else:
            self._arm_tick()

    def _send(self) -> None:
        """Tick; and again, as long as frames are staged because more was to come."""
        self._step(ev.Tick())
        while self.transport.staged and not self._blocked:
            self._blocked = True
            self._step(ev.Tick())
        if self.transport.staged:  # more was to come, and may not pass now
            self.make_durable()
            try:
                self.transport.flush()
            except (NotWritten, WriteBroken) as error:
                self.transport.abort(str(error))

    def _unblock(self) -> None:
        """Something changed that may let a post pass: do not wait for the poll."""
        self._blocked = False
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _arm_flush(self) -> None:
        if self._flush is None and self._unsettled:
            self._flush = asyncio.get_running_loop().call_later(FLUSH_MS / 1_000, self._on_flush)

    def _on_flush(self) -> None:
        self._flush = None
        self._unsettled = False
        self._unasked(partial(self._turn, self._conclude))
        self._settle()

    def _settle(self) -> None:
        """Let the journal put away what was written down since the last time."""
        if self.journal_fault is None:
            try:
                self._recorder.journal.settle()
            except JournalError as error:
                self.on_journal_failed(error)

    def _arm_deadline(self) -> None:
        if not self._wake_is_old:
            return
        self._wake_is_old = False
        wake_ms = self.core.next_wake_ms
        if wake_ms is None or (self._deadline is not None and self._deadline_ms <= wake_ms):
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline_ms = wake_ms
        wait_s = max(0, wake_ms - self._clock.monotonic_ms()) / 1_000
        self._deadline = asyncio.get_running_loop().call_later(wait_s, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        self.drive(ev.TimePassed())
