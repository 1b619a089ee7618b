"""One simulated run: a seed, the faults that it draws, and whether everything held.

Phase 1: the strategy submits and every fault strikes at its rate; safety is checked after each step. Phase 2: the world
heals, and everything has to come to its end within `CONVERGES_MS`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.journal import Disk, WriteFailure
from adapters.simulation.judge import Judge
from adapters.simulation.messages import Fill, Update
from adapters.simulation.network import Network
from adapters.simulation.process import Process, Surroundings
from adapters.simulation.strategy import Strategy
from adapters.simulation.timeline import Timeline
from adapters.simulation.venue import Venue, VenueRules
from machines import events as ev
from machines.batch import QueueLimits
from machines.catalogue import observing
from machines.nonce import Drift
from machines.settings import CoreSettings
from machines.settlement import OrderRecord

Move: TypeAlias = tuple[Enum, Enum, Enum]
"""Event, source and target: a row of a table; the enums tell the machines apart."""

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
CONVERGES_MS: Final = 5 * MINUTE_MS
"""Within this, a healed world has to come to rest: quarantine, look-ups and expiry are all far shorter."""
TRACE: Final = 12
"""How many of the last steps a failure shows."""
_CRASHES: Final = (
    Fault.CRASH_UNRECORDED,
    Fault.CRASH_RECORDED,
    Fault.CRASH_AMID_EFFECTS,
    Fault.CRASH_BEFORE_WRITE,
    Fault.CRASH_AFTER_WRITE,
)
_SPARED: Final = 8
"""A doomed executor may pass the point of its death so often: the first post of a life is hardly ever an order."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that did not hold.

    Attributes:
        name: Which one.
        detail: What was seen.
        life: The life of the executor in which it was seen.
        step: The step of that life.
        at_ms: The moment, in simulated ms from the beginning of the run.
        trace: The last recorded steps.
    """

    name: str
    detail: str
    life: int
    step: int
    at_ms: int
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went.

    Attributes:
        seed: Its seed.
        failure: What did not hold; None if everything did.
        digest: A fingerprint of all recorded steps.
        steps: How many there were.
        lives: How often the executor was started.
        simulated_ms: How much time passed in the simulation.
        counts: How often each fault struck and each sight was seen.
        moves: How often each row of each table was taken.
        outcomes: How many intents ended how.
    """

    seed: int
    failure: Failure | None
    digest: str
    steps: int
    lives: int
    simulated_ms: int
    counts: Counter[Fault | Sight]
    moves: Counter[Move]
    outcomes: Counter[str]


def simulate(seed: int, hours: float, often: Collection[Fault] = ()) -> Result:
    """Run one seed for `hours` simulated hours, and until it has converged.

    Args:
        seed: What all chance comes from.
        hours: Length of phase 1, in simulated hours.
        often: Faults that strike as often as they may, whatever the seed draws for them.
    """
    moves: Counter[Move] = Counter()
    world = Simulation(seed, often)
    failure = None
    with _counting(moves):
        try:
            world.suffer(round(hours * HOUR_MS))
            world.converge()
        except PromiseBroken as broken:
            failure = world.failure(broken.name, broken.detail)
        except Exception:  # whatever it is: a fault of the executor's, or of the simulator's
            failure = world.failure("NoFaultOfOurOwn", traceback.format_exc())
    return Result(
        seed,
        failure,
        world.disk.digest(),
        world.disk.written,
        world.judge.run,
        world.elapsed_ms,
        world.troubles.counts,
        moves,
        world.judge.outcomes,
    )


@contextmanager
def _counting(moves: Counter[Move]) -> Iterator[None]:
    def note(_: Any, event: Enum, source: Enum, target: Enum) -> None:
        moves[event, source, target] += 1

    with observing(note):
        yield


class Simulation:
    """The world of one seed.

    Attributes:
        troubles: Its faults.
        disk: The executor's disk.
        judge: Who holds both sides against each other.
    """

    def __init__(self, seed: int, often: Collection[Fault] = ()) -> None:
        """Draw limits and rates; the executor is started by `suffer`."""
        rng = Random(seed)  # noqa: S311 - chance, not secrecy
        self.troubles = Troubles(rng, often)
        self.timeline = Timeline()
        self.disk = Disk()
        self.judge = Judge(self.disk, self.troubles)
        self.settings = _settings(self.troubles)
        network = Network(self.timeline, self.troubles)
        rules = VenueRules(
            nonces_kept=(2, 4, 10, 100)[self.troubles.between(0, 3)],
            inflight_limit=self.settings.inflight_limit,
            forgets_ms=self.settings.post_timeout_ms + self.settings.quarantine_ms - 200,
            quarantine_ms=self.settings.quarantine_ms,
        )
        self.venue = Venue(self.timeline, self.troubles, network, self.judge, rules)
        network.serve(self.venue)
        self._network = network
        self._strategy = Strategy(
            self.troubles, self.venue.book.oid_of, lambda: self._process.core.intents.resting_cloids()
        )
        self._pause_ms = self.troubles.between(300, 3_000)
        self._key = 0
        self._lies = 0
        world = Surroundings(
            self.timeline,
            self.troubles,
            network,
            self.venue,
            self.disk,
            self.judge,
            self,
            self.settings,
        )
        self._new_life = partial(Process, world)
        self._process: Process = self._new_life("key-0")

    @property
    def elapsed_ms(self) -> int:
        """How much time has passed."""
        return self.timeline.clock.monotonic_ms()

    def failure(self, name: str, detail: str) -> Failure:
        """What did not hold, with the last steps."""
        steps = [step.decode() for step in self.disk.steps[-TRACE:]]
        trace = (*steps, f"then, not recorded: {self._process.event}")
        return Failure(name, detail, self.judge.run, len(self.disk.steps), self.elapsed_ms, trace)

    # --------------------------------------------------------------------------------------------------------- phase 1

    def suffer(self, ms: int) -> None:
        """Let the strategy trade for `ms` while everything goes wrong that can."""
        self._process.start()
        self._strategy_acts()
        self._market_moves()
        strikes: dict[Fault, Callable[[], None]] = {
            Fault.DISCONNECT: partial(self._break_off, Fault.DISCONNECT, 300),
            Fault.SILENCE: partial(self._break_off, Fault.SILENCE, 25_000),
            Fault.VENUE_RESTART: self._restart_venue,
            Fault.CONTRADICTION: self._contradict,
            Fault.CLOCK_FORWARD: partial(self._step_clock, Fault.CLOCK_FORWARD, 1),
            Fault.CLOCK_BACK: partial(self._step_clock, Fault.CLOCK_BACK, -1),
            Fault.CLOCK_DRIFT: self._drift,
            Fault.CRASH: partial(self._doom, _SPARED),
            Fault.JOURNAL_LOST: partial(self._break_journal, Fault.JOURNAL_LOST, WriteFailure.LOST),
            Fault.JOURNAL_KEPT: partial(self._break_journal, Fault.JOURNAL_KEPT, WriteFailure.KEPT),
            Fault.SHUTDOWN: self._shut_down,
            Fault.OPERATOR_STOP: self._stop,
        }
        for fault, rate in self.troubles.per_minute.items():
            self._every(round(MINUTE_MS / rate), strikes[fault])
        self.timeline.run_until(self.timeline.now + ms)

    def _every(self, mean_ms: int, strike: Callable[[], None]) -> None:
        """Let a fault strike again and again, at random, until the world heals."""

        def now() -> None:
            if not self.troubles.healed:
                strike()
                wait()

        def wait() -> None:
            self.timeline.after(round(self.troubles.rng.expovariate(1 / mean_ms)) + 1, now)

        wait()

    def _strategy_acts(self) -> None:
        if self.troubles.healed:
            return
        for _ in range(self.troubles.between(1, 2) ** 2):
            self._process.submit(self._strategy.request())
        self.timeline.after(self.troubles.between(1, 2 * self._pause_ms), self._strategy_acts)

    def _market_moves(self) -> None:
        if not self.troubles.healed:
            self.venue.book.stir()
            self.timeline.after(self.troubles.between(200, 4_000), self._market_moves)

    # ---------------------------------------------------------------------------------------------------------- faults

    def _break_off(self, fault: Fault, longest_ms: int) -> None:
        for connection in tuple(self._network.connections):
            self.troubles.saw(fault)
            notice_ms = self.troubles.between(0, longest_ms)
            if self.troubles.between(0, 1):
                connection.break_off(notice_ms)
            else:
                connection.break_off_at_next_frame(notice_ms)

    def _restart_venue(self) -> None:
        self.troubles.saw(Fault.VENUE_RESTART)
        self.venue.restart(self.troubles.between(100, 5_000))

    def _contradict(self) -> None:
        """Let a stream tell of an order that has ended what can't be, as if it had another one's record."""
        ended = self._process.watch.denied_or_placed() if self._process.alive else []
        for connection in self._network.connections if ended else ():
            self.troubles.saw(Fault.CONTRADICTION)
            self._lies += 1
            cloid, oid = ended[self.troubles.between(0, len(ended) - 1)].cloid or "", -self._lies
            lies = (Update(cloid, OrderRecord(oid, "open", "0")), Fill(cloid, oid, "1"))
            lie = lies[self.troubles.between(0, 1)]
            self.judge.lies(lie)
            connection.send(lie)

    def _step_clock(self, fault: Fault, sign: int) -> None:
        if self.troubles.healed:
            return
        self.troubles.saw(fault)
        size = (1_000, 10_000, 100_000, HOUR_MS)[self.troubles.between(0, 3)]
        self.timeline.clock.step_unix(sign * self.troubles.between(1, size))

    def _drift(self) -> None:
        self.troubles.saw(Fault.CLOCK_DRIFT)
        self.timeline.clock.step_unix(self.troubles.between(-20, 20))

    def _doom(self, most_spared: int) -> None:
        if self._process.alive and self._process.doom is None and not self.troubles.healed:
            self.troubles.saw(Fault.CRASH)
            self._process.doom = _CRASHES[self.troubles.between(0, len(_CRASHES) - 1)]
            self._process.spared = self.troubles.between(0, most_spared)

    def _break_journal(self, fault: Fault, failure: WriteFailure) -> None:
        if self._process.alive and self.disk.failure is None:
            self.troubles.saw(fault)
            self.disk.failure = failure

    def _shut_down(self) -> None:
        if self._process.alive and not self._process.core.session.ending:
            self.troubles.saw(Fault.SHUTDOWN)
            self._process.shut_down()

    def _stop(self) -> None:
        if self._process.alive:
            self.troubles.saw(Fault.OPERATOR_STOP)
            self._process.drive(ev.StopTripped("the operator says so"))

    # ------------------------------------------------------------------------------------------------------- the owner

    def on_admitted(self, admitted: ev.Admitted) -> None:
        """A submit was answered."""
        if admitted.intent is not None and admitted.admission.accepted:
            self.judge.admitted(admitted.intent)
            self._strategy.accepted(admitted.intent)

    def on_halted(self) -> None:
        """The hard stop tripped: the operator looks into it, and resets it when the clock is right."""
        self.timeline.after(self.troubles.between(1_000, 10_000), partial(self._reset, self._process))

    def _reset(self, process: Process) -> None:
        if process.alive and process.core.hard_stop.tripped:
            if process.core.nonces.drift is Drift.ERROR and not self.troubles.healed:
                self.timeline.clock.step_unix(-self.timeline.skew_ms)
            self.troubles.saw(Sight.RESET)
            process.drive(ev.StopReset("looked into"))

    def on_end(self, process: Process) -> None:
        """The executor is gone; it is started again, sometimes with another key."""
        self.disk.failure = None
        self.timeline.after(self.troubles.between(50, 3_000), self._restart)

    def _restart(self) -> None:
        # Without expiry, nothing would ever tell of what another key had signed (settlement.md, rule 11).
        if self.settings.expires_after_ms is not None and self.troubles.strikes(Fault.KEY_CHANGE):
            self._key = (self._key + self.troubles.between(1, 2)) % 3
        self.judge.ask_after_restart()
        self._process = self._new_life(f"key-{self._key}")
        if self.troubles.strikes(Fault.CLOCK_AFTER_RESTART):
            ahead = partial(self.timeline.clock.step_unix, self.troubles.between(MINUTE_MS, HOUR_MS))
            self.timeline.after(self.troubles.between(0, 5_000), lambda: self.troubles.healed or ahead())
        if self.troubles.strikes(Fault.CRASH_IN_RECOVERY):
            if self.troubles.between(0, 1):
                self._doom(0)
            else:
                self.timeline.after(self.troubles.between(0, 2_000), partial(self._doom, 0))
        self._process.start()

    # --------------------------------------------------------------------------------------------------------- phase 2

    def converge(self) -> None:
        """Heal the world, and see that everything ends.

        Raises:
            PromiseBroken: It does not, or not as the venue has it.
        """
        self.troubles.healed = True
        self.timeline.clock.step_unix(-self.timeline.skew_ms)
        self.disk.failure = None
        if self._process.alive:
            self._process.doom = None
            self._reset(self._process)
        deadline = self.timeline.now + CONVERGES_MS
        while unsettled := self._unsettled():
            deadline = max(deadline, self._last_expiry_ms() + CONVERGES_MS)
            if self.timeline.now >= deadline:
                raise PromiseBroken("EverythingSettles", unsettled)
            self.timeline.run_until(self.timeline.now + 1_000)
        self._process.watch.everything()

    def _last_expiry_ms(self) -> int:
        """When the last post expires that no fence can prove dead, unix ms; 0 if there is none.

        A clock that was ahead before the venue's time was first heard has set it that far ahead (rule 11).
        """
        attempts = self._process.core.settler.attempts.values()
        return max((attempt.post.expires_ms or 0 for attempt in attempts if not attempt.fenceable), default=0)

    def _unsettled(self) -> str:
        """What has not come to its end; empty if everything has."""
        process = self._process
        if not process.alive:
            return "the executor is down"
        core = process.core
        if not core.session.ready:
            return f"the session is {core.session.state.value}"
        if core.inflight.occupied or not core.idle:
            attempts = [(post_id, attempt.state.value) for post_id, attempt in core.settler.attempts.items()]
            return f"{core.inflight.count} in flight, {core.inflight.quarantined} quarantined, open attempts {attempts}"
        if self.judge.untold():
            return f"intents without an outcome: {self.judge.untold()}"
        if any(self.disk.unfinished):
            intents, posts = self.disk.unfinished
            return f"the journal has open intents {intents} and open posts {posts}"
        return self._books_differ()

    def _books_differ(self) -> str:
        """What the executor takes for resting, and what is on the venue's book; empty if they agree.

        A run knows the orders that it sent or settled; of older ones, the journal knows that they rested.
        """
        open_orders = self.venue.book.open
        resting = self._process.core.intents.resting_cloids()
        known = self._process.watch.cloids()
        extra = [cloid for cloid in resting if cloid not in open_orders]
        missing = [cloid for cloid in open_orders if cloid in known and cloid not in resting]
        untold = [cloid for cloid in open_orders if not self.judge.told_as_resting(cloid)]
        if extra or missing or untold:
            return f"resting here and not there: {extra}; there and not here: {missing}; never told of: {untold}"
        return ""


def _settings(troubles: Troubles) -> CoreSettings:
    """Small limits, so that they are met."""
    limit = (1, 2, 3, 6, 12)[troubles.between(0, 4)]
    return CoreSettings(
        inflight_limit=limit,
        high_watermark=troubles.between(1, limit),
        post_timeout_ms=troubles.between(3_000, 5_000),
        quarantine_ms=troubles.between(8_000, 12_000),
        expires_after_ms=None if troubles.rng.random() < 0.15 else troubles.between(3_000, 60_000),
        schedule_cancel_ms=troubles.between(20_000, 60_000) if troubles.between(0, 2) == 0 else None,
        settlement_alarm_ms=troubles.between(10_000, 60_000),
        messages_per_minute=(60, 200, 2_000)[troubles.between(0, 2)],
        rejections_to_halt=troubles.between(2, 12),
        queues=QueueLimits(
            cancel=troubles.between(3, 20),
            reduce_only=troubles.between(3, 20),
            new_order=troubles.between(5, 40),
            batch=troubles.between(1, 6),
        ),
    )
