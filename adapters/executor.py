"""The live executor, as a strategy uses it.

    async with Executor.open(config) as executor:
        ticket = executor.submit(Order(market="BTC", side="buy", size="0.01", price="50000"))
        outcome = await ticket

The machines decide, the driver does (adapters/driver.py); here are the tickets, the events and the shutdown. Everything
runs on one event loop; call it from there only.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

import aiohttp

from adapters.clock import SystemClock, TurnClock
from adapters.config import Config, ConfigError
from adapters.driver import Driver, ExecutorFailed
from adapters.feed import Feed, Subscription
from adapters.flatten import flattening_orders
from adapters.hyperliquid.info import InfoClient, VenueError, VenueUnreachable
from adapters.hyperliquid.markets import Markets
from adapters.hyperliquid.records import OrderUpdate, UserFill
from adapters.hyperliquid.signing import Signer
from adapters.hyperliquid.wire import subscribe_frame
from adapters.journal import Journal, JournalError, SqliteJournal
from adapters.logs import get_logger
from adapters.outcomes import outcome_from
from adapters.reception import Reception, record_of
from adapters.recorder import Recorder, numbered, restored
from adapters.synchroniser import Synchroniser
from adapters.ticket import Promise, Ticket
from machines import events as ev
from machines.clock import Clock
from machines.executor import ExecutorCore
from machines.intent import Admission, Intent, Modify, NotExecuted, Order, Outcome, Request, Unknown
from machines.post import PostState
from machines.session import SessionState
from machines.settlement import Attempt, SettlementState

log = get_logger("executor")


SETTLEMENT_STEPS: Final = {
    SettlementState.UNKNOWN: "to be settled: whether it ran is not known",
    SettlementState.FENCING: "fence sent, a noop with the same nonce: whichever comes first makes the other impossible",
    SettlementState.LOOKING_UP: "the nonce is spent: looking up what the venue has on record",
    SettlementState.EXECUTED: "settled: the action ran",
    SettlementState.NEVER_EXECUTED: "settled: the action never ran and never can",
}
"""What a trader reads of each step of a settlement (`Ticket.history`)."""


HOUSE_KEEPING_S: Final = 1.0
PATIENCE: Final = 10
"""The journal is tidied up when nothing waits; at the latest at every so many-th time."""


class KeyNotAccepted(Exception):
    """The venue does not accept this signer; the message is the venue's, with what to check."""


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The connection moved to another state; `epoch` counts the connections opened."""

    state: SessionState
    epoch: int


ExecutorEvent: TypeAlias = (
    ev.IntentEnded
    | ev.IntentUnknown
    | ev.IntentUnsettled
    | ev.SettlementOverdue
    | ev.Contradiction
    | ev.PostEnded
    | ev.StrayReply
    | ev.Halted
    | ev.DriftSeen
    | ev.KeyRefused
    | ev.SwitchRefused
    | SessionChanged
    | OrderUpdate
    | UserFill
)
"""What `Executor.events` yields."""


_Rare: TypeAlias = (
    ev.IntentUnknown
    | ev.IntentUnsettled
    | ev.StrayReply
    | ev.Halted
    | ev.DriftSeen
    | ev.KeyRefused
    | ev.SwitchRefused
    | ev.SettlementOverdue
    | ev.Contradiction
)


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What a shutdown could not finish.

    Attributes:
        not_executed: Intents that were never sent.
        unknown: Intents that were sent and whose fate is not known; after a fault of the executor's own, all that
            were open.
    """

    not_executed: tuple[Intent, ...]
    unknown: tuple[Intent, ...]

    @property
    def clean(self) -> bool:
        """Whether everything that was accepted had ended on its own."""
        return not self.not_executed and not self.unknown


class Executor:
    """Places, cancels and flattens orders; every accepted intent ends in exactly one outcome.

    Attributes:
        config: Its settings.
        core: The machines; to be read, never driven from outside.
        driver: What drives them.
        journal: Where each step is written before it takes effect.
        reception: What was read from the socket, and what of it made no sense.
        outcomes: Intents ended, by type of outcome.
        refusals: Submits that were not accepted, by admission.
        endings: Posts ended, by state.
        strays: Replies that found no open post: late, repeated or unknown.
    """

    def __init__(
        self, config: Config, signer: Signer, *, clock: Clock | None = None, journal: Journal | None = None
    ) -> None:
        """Open the journal, the configured one by default; nothing else is opened before `start`.

        Raises:
            JournalError: The journal can't be used, or another executor has it.
        """
        self.config = config
        self.outcomes: Counter[type[Outcome]] = Counter()
        self.refusals: Counter[Admission] = Counter()
        self.endings: Counter[PostState] = Counter()
        self.strays = 0
        self._clock = clock or SystemClock()
        self.journal = journal or open_journal(config, signer, self._clock)
        turn_clock = TurnClock(self._clock)
        self._earlier = earlier = numbered(self.journal.recovered, self._clock.now_ms())
        run_id = secrets.randbits(64)
        self.core = ExecutorCore(
            turn_clock,
            config.core_settings(),
            run_id=run_id,
            last_nonce=earlier.last_nonce,
            last_post_id=earlier.last_post_id,
            last_seq=earlier.last_intent_seq,
        )
        recorder = Recorder(self.core, self.journal, turn_clock)
        recorder.begin(run_id, earlier)
        self.driver = Driver(self.core, recorder, signer, config, turn_clock, self, random.SystemRandom())
        self._signer = signer
        self._feed: Feed[ExecutorEvent] = Feed()
        self.reception = Reception(self.driver.drive, self._feed.publish)
        self._open: dict[int, Promise] = {}  # of intents without an outcome, by their number
        self._answer: Ticket | None = None
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._faulted = asyncio.Event()
        self._refusal: str | None = None
        self._abandoned: tuple[Intent, ...] = ()
        self._ended_closing: list[tuple[Intent, Outcome]] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[CloseReport] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._synchroniser: Synchroniser | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._keeping_house: asyncio.Task[None] | None = None
        self._synchronising: asyncio.Task[None] | None = None

    # ----------------------------------------------------------------------------------------------- for the owner

    @staticmethod
    @asynccontextmanager
    async def open(config: Config, *, ready_s: float | None = 30.0) -> AsyncIterator[Executor]:
        """Start an executor, wait until new orders pass, and shut it down in the end.

        Args:
            config: Settings; the key is read from where they say.
            ready_s: How long to wait, in seconds; None waits for ever.

        Raises:
            KeyUnusable: There is no usable key (adapters/keys.py).
            JournalError: The journal can't be used, or another executor has it.
            KeyNotAccepted: The venue does not know the signer on this network.
            VenueUnreachable: Not ready within `ready_s`.
        """
        executor = Executor(config, config.key.load())
        try:
            executor.start()
            await executor.wait_ready(ready_s)
            yield executor
        finally:
            await executor.close()

    def start(self) -> None:
        """Take up what earlier runs left open, and begin to connect.

        Raises:
            ConfigError: More posts of an earlier run may still count at the venue than `inflight_limit` allows.
        """
        life_ms = self.core.settings.expires_after_ms
        expires_ms = None if life_ms is None else self._clock.now_ms() + life_ms
        self._take_up(restored(self._earlier, self._signer.address, expires_ms))
        self._session = aiohttp.ClientSession()
        self._synchroniser = Synchroniser(
            InfoClient(self.config.endpoints[1], self._session),
            self.config.account,
            self._clock,
            self.core,
            self.driver.drive,
            self._keep_markets,
        )
        self._connecting = self._watched(self.driver.transport.run(), "hip3 transport")
        self._keeping_house = self._watched(self._keep_house(), "hip3 house-keeping")

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Wait until new orders pass.

        Raises:
            KeyNotAccepted: The venue does not know the signer on this network.
            VenueUnreachable: Not ready within `timeout_s` seconds.
            ExecutorFailed: The executor met a fault of its own.
        """
        try:
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        except TimeoutError:
            raise VenueUnreachable(self._why_not_ready(f"after {timeout_s} s")) from None
        if self.driver.fault is not None:
            raise self.driver.fault
        if self._refusal is not None:
            raise KeyNotAccepted(
                f"the venue refused the signer {self._signer.address}: {self._refusal} Check that the key is that of "
                f"{self.config.account} or of an API wallet of it, and that it belongs to network "
                f"{self.config.network!r}."
            )
        if self.core.session.ending:
            raise VenueUnreachable(self._why_not_ready("before the shutdown"))

    async def wait_fault(self) -> None:
        """Wait for a fault of the executor's own; returns only by raising it.

        Raises:
            ExecutorFailed: The fault.
        """
        await self._faulted.wait()
        if self.driver.fault is not None:
            raise self.driver.fault

    def submit(self, request: Request) -> Ticket:
        """Submit an order, a cancel or a modify; the ticket has its admission at once, and its outcome when it ends.

        Raises:
            BadRequest: Unknown market, illegal tick or lot, too small a value, malformed cloid (one subclass each);
                nothing was submitted.
            JournalError: The journal can't be read; nothing was submitted.
            ExecutorFailed: The executor met a fault of its own and stopped.
        """
        closed = self.core.session.state is SessionState.CLOSED and self.driver.fault is None
        if closed or not self.core.session.markets_loaded:
            return self._refused(Admission.NOT_READY)
        checked: Request = self.driver.markets.checked(request)
        if self._used_before(checked):
            return self._refused(Admission.CLOID_IN_USE)
        self.driver.dispatch(ev.Submit(checked))
        if self._answer is None:
            raise ExecutorFailed("a submit was not answered: it came from within the executor's own step")
        ticket, self._answer = self._answer, None
        return ticket

    def _used_before(self, request: Request) -> bool:
        """Whether an order that ended long ago, or in an earlier run, had the cloid (settlement.md, rule 13)."""
        order = request.order if isinstance(request, Modify) else request
        return isinstance(order, Order) and order.cloid is not None and self.journal.outcome_of(order.cloid) is not None

    def ticket_of(self, cloid: str) -> Ticket | None:
        """The ticket of an order, of this run or an earlier one, by its cloid; None if the journal has no such order.

        One that an earlier run left open has its outcome once settlement has found it out.

        Raises:
            JournalError: The journal can't be read.
        """
        intent = self.core.intents.order(cloid)
        promise = None if intent is None else self._open.get(intent.seq)
        if promise is None:
            told = self.journal.outcome_of(cloid)
            if told is None:
                return None
            promise = Promise(None, self._clock.now_ms(), "read from the journal")
            promise.keep(outcome_from(told))
        return Ticket(Admission.QUEUED, cloid, promise)

    async def flatten(self, market: str | None = None) -> list[Ticket]:
        """Close one position, or all of them in every dex, with reduce-only IOC orders inside the slippage bound.

        A position that is being closed already is not closed twice: its ticket has the admission ALREADY_FLATTENING
        and the outcome of the order that is under way (finding X9).

        Raises:
            UnknownMarket: There is no such market.
            VenueUnreachable: Positions or prices can't be read, or the markets are not known yet; nothing was
                submitted.
        """
        if self._synchroniser is None or not self.core.session.markets_loaded:
            raise VenueUnreachable("positions can't be flattened before the venue's markets are known")
        orders = await flattening_orders(
            self._synchroniser.info, self.config.account, self.driver.markets, Decimal(self.config.slippage), market
        )
        return [self.submit(order) for order in orders]

    def events(self) -> Subscription[ExecutorEvent]:
        """What happens from now on, in order; a reader that falls far behind gets `FeedLagged`."""
        return self._feed.subscribe()

    def halt(self, reason: str) -> None:
        """Trip the hard stop: queued new orders end, cancels and reduce-only orders go on."""
        self.driver.dispatch(ev.StopTripped(f"operator: {reason}"))

    def reset(self, reason: str) -> None:
        """Let new orders pass again after a hard stop.

        Raises:
            IllegalEvent: The hard stop is not tripped.
        """
        self.driver.dispatch(ev.StopReset(reason))

    async def close(self) -> CloseReport:
        """Shut down: nothing new, queued cancels and reduce-only orders sent, open posts awaited, up to `drain_ms`.

        Returns:
            What could not be finished.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut_down(), name="hip3 shutdown")
        # Shielded: a caller that gives up must not leave the others with half a shutdown.
        return await asyncio.shield(self._closing)

    async def _shut_down(self) -> CloseReport:
        ended: list[tuple[Intent, Outcome]] = []
        self._ended_closing = ended
        try:
            if self.driver.fault is None:
                await self._drain()
        finally:
            self.driver.stop()
            tasks = self._cancel_tasks()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()
            self._feed.close()
            self._close_journal()
        return CloseReport(
            tuple(intent for intent, outcome in ended if isinstance(outcome, NotExecuted)),
            (*(intent for intent, outcome in ended if isinstance(outcome, Unknown)), *self._abandoned),
        )

    def _close_journal(self) -> None:
        self.driver.make_durable()
        clean = self.driver.fault is None and self.driver.journal_fault is None
        try:
            self.journal.close(clean)
        except JournalError as error:
            log.critical("journal_not_closed", error=str(error))

    async def _drain(self) -> None:
        self.driver.drive(ev.DrainStarted())
        if not self.core.idle:
            try:
                await asyncio.wait_for(self._idle.wait(), self.config.drain_ms / 1_000)
            except TimeoutError:
                log.warning("drain_timed_out", open_posts=len(self.core.posts))
        if self.core.session.state is not SessionState.CLOSED:
            self.driver.drive(ev.Closed())

    # ---------------------------------------------------------------------------------------------- for the driver

    def on_effect(self, effect: ev.Effect) -> None:
        """The core reports something: count it, answer its owner, tell the readers."""
        # The first three are of every order; a `match` is slower than all that they do.
        if isinstance(effect, ev.Admitted):
            self._answer = self._ticket(effect.admission, effect.intent)
            return
        if isinstance(effect, ev.IntentEnded):
            self._on_ended(effect.intent)
        elif isinstance(effect, ev.PostEnded):
            self.endings[effect.post.state] += 1
        elif isinstance(effect, ev.LookUp):
            self._ask(effect)
            return
        elif isinstance(effect, ev.Transmit):
            return
        else:
            self._on_rare_effect(effect)
        self._feed.publish(effect)
        if self._ended_closing is not None and self.core.idle:
            self._idle.set()

    def _on_rare_effect(self, effect: _Rare) -> None:
        match effect:
            case ev.IntentUnknown(intent, reason):
                self._note(intent, f"unknown: {reason}")
            case ev.IntentUnsettled(intent, reason):
                self._note(intent, f"left for the next run to settle: {reason}")
                self._finish(intent, Unknown(reason))
            case ev.StrayReply():
                self.strays += 1
            case ev.Halted(reason):
                log.error("halted", reason=reason)
            case ev.DriftSeen(drift, offset_ms):
                log.warning("clock_drift", drift=drift.value, offset_ms=offset_ms)
            case ev.KeyRefused(reason):
                log.error("key_refused", signer=self._signer.address, reason=reason)
                self._refusal = reason
                self._ready.set()
            case ev.SwitchRefused(reason):
                log.error("dead_mans_switch_refused", reason=reason)
            case ev.SettlementOverdue(intents):
                log.error("settlement_overdue", cloids=[intent.cloid for intent in intents])
            case ev.Contradiction(intent, first, later, source):
                log.error(
                    "contradiction",
                    cloid=intent.cloid,
                    first=str(first),
                    first_source=intent.settled_by or "the post's reply",
                    later=str(later),
                    later_source=source,
                    both_in_full="hip3 journal show FILE --cloid",
                )

    def on_settlement(self, attempt: Attempt) -> None:
        """Something was learnt about an ambiguous post: its owners may read it."""
        for item in attempt.post.items:
            self._note(item, SETTLEMENT_STEPS[attempt.state])

    def on_session(self, state: SessionState) -> None:
        """The connection moved to another state: subscribe and synchronise while there is one."""
        log.info("session", state=state.value, epoch=self.core.session.epoch)
        self._feed.publish(SessionChanged(state, self.core.session.epoch))
        if state is SessionState.SYNCING and self._synchroniser is not None:
            for kind in ("orderUpdates", "userFills"):
                self.driver.write_auxiliary(subscribe_frame({"type": kind, "user": self.config.account}))
            self._synchronising = self._watched(self._synchroniser.run(), "hip3 synchroniser")
        elif state is SessionState.READY:
            self._ready.set()
        elif state is SessionState.DISCONNECTED:
            if self._synchronising is not None:
                self._synchronising.cancel()
            if self._refusal is None:
                self._ready.clear()
        elif state is SessionState.CLOSED:
            self._cancel_tasks()
            self._ready.set()
            self._idle.set()

    def on_frame(self, frame: bytes) -> None:
        """A frame arrived."""
        self.reception.receive(frame, self.core.session.epoch)

    def on_fault(self, fault: ExecutorFailed) -> None:
        """Nothing more will happen: whoever waits learns it."""
        self._abandoned = tuple(promise.intent for promise in self._open.values() if promise.intent is not None)
        for promise in self._open.values():
            promise.break_with(fault)
        self._open.clear()
        self._cancel_tasks()
        self._feed.close()
        self._faulted.set()
        self._ready.set()
        self._idle.set()

    def _take_up(self, left: ev.Recovered) -> None:
        """Hand what an earlier run left to the core; its owner may ask for each outcome (`ticket_of`)."""
        unanswered = sum(post.state is PostState.SENT for post in left.posts)
        if unanswered > self.config.inflight_limit:
            raise ConfigError(
                f"inflight_limit: expected at least {unanswered}, because so many posts of the earlier run may still "
                f"count at the venue; got {self.config.inflight_limit}"
            )
        if self._earlier.torn_frames:
            log.warning("journal_cut_short", torn=self._earlier.torn_frames, means="a crash cut the last record short")
        items = [item for post in left.posts for item in post.items]
        for intent in (*items, *left.never_sent, *left.lost_cancels):
            self._expect(intent, "left open by an earlier run")
        if left.posts or left.never_sent or left.lost_cancels:
            if self._earlier.unrecorded:
                advice = "what it sent last is not in the journal; compare the venue's open orders with your own"
                log.critical("earlier_run_went_on_unrecorded", advice=advice)
            log.warning("recovering", posts=len(left.posts), unsettled=len(self._open), same_key=left.same_key)
            self.driver.dispatch(left)

    async def _keep_house(self) -> None:
        """Let the journal tidy up about once a second, when nothing waits if possible."""
        waited = 0
        while True:
            await asyncio.sleep(HOUSE_KEEPING_S)
            waited += 1
            if self.driver.journal_fault is None and (self.core.idle or waited >= PATIENCE):
                waited = 0
                try:
                    self.journal.maintain()
                except JournalError as error:
                    self.driver.on_journal_failed(error)

    def _keep_markets(self, markets: Markets) -> None:
        self.driver.markets = markets

    def _on_ended(self, intent: Intent) -> None:
        if intent.outcome is None:
            raise ExecutorFailed(f"intent {intent.seq} ended without an outcome")
        self._note(intent, intent.settled_by or "answered by the venue, or ended here")
        self._finish(intent, intent.outcome)

    def _finish(self, intent: Intent, outcome: Outcome) -> None:
        """Tell the owner, once."""
        promise = self._open.pop(intent.seq, None)
        if promise is None:
            raise ExecutorFailed(f"intent {intent.seq} ended twice")
        self.outcomes[type(outcome)] += 1
        promise.keep(outcome)
        if self._ended_closing is not None:
            self._ended_closing.append((intent, outcome))

    def _note(self, intent: Intent, what: str) -> None:
        promise = self._open.get(intent.seq)
        if promise is not None:
            promise.history.append((self._clock.now_ms(), what))

    def _ask(self, question: ev.LookUp) -> None:
        task = self._watched(self._look_up(question), "hip3 look-up")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _look_up(self, question: ev.LookUp) -> None:
        """Ask for the account's order, never the API wallet's (protocol.md §7); no answer counts for nothing."""
        answer: ev.Event = ev.LookUpFailed(question.post_id, question.seq)
        try:
            if self._synchroniser is not None:
                update = await self._synchroniser.info.order_status(self.config.account, question.key)
                answer = ev.LookedUp(question.post_id, question.seq, None if update is None else record_of(update))
        except VenueError as error:
            log.warning("look_up_unanswered", key=question.key, error=str(error))
        self.driver.drive(answer)

    def _ticket(self, admission: Admission, intent: Intent | None) -> Ticket:
        if intent is None:
            return self._refused(admission)
        if admission is Admission.ALREADY_FLATTENING:
            return Ticket(admission, intent.cloid, self._open[intent.seq])
        return Ticket(admission, intent.cloid, self._expect(intent, admission._value_))

    def _expect(self, intent: Intent, why: str) -> Promise:
        """An intent is accepted, and will end."""
        promise = self._open[intent.seq] = Promise(intent, self._clock.now_ms(), why)
        return promise

    def _refused(self, admission: Admission) -> Ticket:
        promise = Promise(None, self._clock.now_ms(), admission.value)
        promise.keep(NotExecuted(f"not accepted: {admission.value}"))
        self.refusals[admission] += 1
        return Ticket(admission, None, promise)

    # -------------------------------------------------------------------------------------------------- the tasks

    def _watched(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` beside the rest; if it breaks, so does the executor: nobody else would notice."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.driver.fail(error)

    def _cancel_tasks(self) -> list[asyncio.Task[None]]:
        named = (self._connecting, self._synchronising, self._keeping_house, *self._asking)
        tasks = [task for task in named if task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def _why_not_ready(self, when: str) -> str:
        halted = self.core.hard_stop.reason
        return (
            f"not ready {when}: the session to {self.driver.transport.url} is {self.core.session.state.value}"
            f"{'' if halted is None else f', new orders are halted ({halted})'}; check the address and the network, "
            "and the log for what failed"
        )


def open_journal(config: Config, signer: Signer, clock: Clock) -> Journal:
    """The journal that the configuration names.

    Raises:
        JournalError: It can't be used, or another executor has it.
    """
    terms = config.journal
    path = terms.path(config.network, signer.address)
    return SqliteJournal.open(
        path, signer=signer.address, durability=terms.durability, retention=terms.keep, clock=clock
    )
