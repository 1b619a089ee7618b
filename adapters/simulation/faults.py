"""What can go wrong, how often it does in a run, and how often it did.

Each run draws its own rates from its seed: a third of the faults stays away altogether, some strike as often as they
may, the others somewhere between rarely and often. A run in which everything goes wrong all the time is soon stuck
and tests little else; over many seeds, every fault meets every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from enum import Enum
from random import Random
from typing import Final


class Fault(Enum):
    """A fault; its value is its line in the report."""

    # What a frame, a reply or a question meets; drawn for each.
    SLOW_FRAME = "network: a frame takes 0.5 to 5 s"
    SLOW_REPLY = "network: a reply takes 0.5 to 8 s"
    FRAME_DUPLICATED = "network: a frame is processed twice"
    REPLY_DUPLICATED = "network: a reply arrives twice"
    CONNECT_FAILED = "network: a connection attempt fails"
    STREAM_MISSED = "network: a message of a stream is missing"
    HAND_OVER_REFUSED = "network: a hand-over is refused before any byte"
    HAND_OVER_BROKEN = "network: a hand-over breaks off at some byte"
    QUESTION_FAILED = "venue: a look-up or another question fails"
    SLOW_EXECUTION = "venue: a post is executed 0.5 to 10 s late"
    SLOW_ANSWER = "venue: a post is answered 0.5 to 12 s late"
    TOO_MANY_REQUESTS = "venue: a post is turned away with 429"
    TOO_MANY_PENDING = "venue: a post is turned away, too many pending id=N"
    TOO_MANY_MESSAGES = "venue: a message is dropped, 2000 a minute"
    GATEWAY_ERROR = "venue: 5xx, the post is not executed"
    GATEWAY_ERROR_EXECUTED = "venue: 5xx, the post is executed"
    GARBLED = "venue: a reply can't be read"
    BATCH_REFUSED = "venue: a batch is refused whole, without a record"
    BUDGET_USED_UP = "venue: the action budget is used up"
    # What befalls the whole; drawn per minute.
    DISCONNECT = "network: the connection breaks"
    SILENCE = "network: the connection falls silent for up to 25 s"
    VENUE_RESTART = "venue: restart"
    CONTRADICTION = "venue: a stream contradicts an outcome"
    CLOCK_FORWARD = "clock: a step forward, up to 1 h"
    CLOCK_BACK = "clock: a step back, up to 1 h"
    CLOCK_AFTER_RESTART = "clock: a step forward, 1 to 60 min, within 5 s of a restart"
    CLOCK_DRIFT = "clock: a second of drift, up to 20 ms"
    CRASH = "executor: crash at some point"
    CRASH_UNRECORDED = "executor: crash after a step, before its record"
    CRASH_RECORDED = "executor: crash after a record, before its effects"
    CRASH_AMID_EFFECTS = "executor: crash between two effects of a step"
    CRASH_BEFORE_WRITE = "executor: crash between journal and write"
    CRASH_AFTER_WRITE = "executor: crash between write and report"
    CRASH_IN_RECOVERY = "executor: crash within 2 s of a restart"
    JOURNAL_LOST = "executor: a journal write fails, not recorded"
    JOURNAL_KEPT = "executor: a journal write fails, recorded all the same"
    SHUTDOWN = "executor: orderly shutdown"
    KEY_CHANGE = "executor: another key after a restart"
    OPERATOR_STOP = "executor: the operator stops new orders"


class Sight(Enum):
    """What faults lead to: not drawn, but it has to be seen."""

    FRAME_CUT = "a frame is cut off by a disconnect"
    FRAME_OUTLIVES = "a frame in flight at a disconnect is executed after it"
    FRAME_IN_SILENCE = "a frame is written to a dead connection"
    EXECUTED_AFTER_RECONNECT = "a frame of an earlier connection is executed under a later one"
    EXECUTED_AFTER_RESTART = "a frame of an earlier run is executed under a later one"
    REPLY_LOST = "a reply is lost with its connection"
    REPLY_LATE = "a reply comes after its post has ended"
    NONCE_DUPLICATE = "the venue answers: duplicate nonce"
    NONCE_TOO_LOW = "the venue answers: nonce too low"
    EXPIRED = "the venue answers: action already expired"
    ENDED_BY_STREAM = "the order stream ends an intent before its reply does"
    RECORD_LAGS = "a look-up does not know yet what happened"
    RESENT = "a reduce-only order is proven never to have run, and sent again"
    RECOVERED_UNKNOWN = "a restart finds intents whose fate is unknown"
    RECOVERED_CANCEL = "a restart finds cancels that were sent and have no outcome"
    RECOVERED_UNSENT = "a restart finds intents that were never sent"
    OVERDUE = "settlement takes too long: the alarm is raised"
    HALTED = "the hard stop trips"
    RESET = "the operator resets the hard stop"
    SWITCH_WENT_OFF = "the dead-man's switch goes off"
    LIMIT_REACHED = "the venue holds as many posts as it allows"


_EACH: Final[dict[Fault, tuple[float, float]]] = {
    Fault.SLOW_FRAME: (0.002, 0.1),
    Fault.SLOW_REPLY: (0.002, 0.1),
    Fault.FRAME_DUPLICATED: (0.005, 0.2),
    Fault.REPLY_DUPLICATED: (0.005, 0.1),
    Fault.CONNECT_FAILED: (0.05, 0.6),
    Fault.STREAM_MISSED: (0.01, 0.5),
    Fault.HAND_OVER_REFUSED: (0.005, 0.1),
    Fault.HAND_OVER_BROKEN: (0.002, 0.1),
    Fault.QUESTION_FAILED: (0.02, 0.5),
    Fault.SLOW_EXECUTION: (0.005, 0.2),
    Fault.SLOW_ANSWER: (0.005, 0.4),
    Fault.TOO_MANY_REQUESTS: (0.002, 0.15),
    Fault.TOO_MANY_PENDING: (0.002, 0.15),
    Fault.TOO_MANY_MESSAGES: (0.002, 0.03),
    Fault.GATEWAY_ERROR: (0.002, 0.05),
    Fault.GATEWAY_ERROR_EXECUTED: (0.002, 0.05),
    Fault.GARBLED: (0.002, 0.05),
    Fault.BATCH_REFUSED: (0.01, 0.1),
    Fault.BUDGET_USED_UP: (0.05, 0.3),
    Fault.KEY_CHANGE: (0.1, 0.8),
    Fault.CRASH_IN_RECOVERY: (0.1, 0.4),
    Fault.CLOCK_AFTER_RESTART: (0.02, 0.5),
}
"""Lowest and highest chance of a fault that is drawn each time."""

_PER_MINUTE: Final[dict[Fault, tuple[float, float]]] = {
    Fault.DISCONNECT: (0.2, 4.0),
    Fault.SILENCE: (0.1, 1.0),
    Fault.VENUE_RESTART: (0.1, 1.0),
    Fault.CONTRADICTION: (0.2, 4.0),
    Fault.CLOCK_FORWARD: (0.1, 1.0),
    Fault.CLOCK_BACK: (0.1, 1.0),
    Fault.CLOCK_DRIFT: (60.0, 60.0),
    Fault.CRASH: (0.2, 3.0),
    Fault.JOURNAL_LOST: (0.05, 0.5),
    Fault.JOURNAL_KEPT: (0.05, 0.5),
    Fault.SHUTDOWN: (0.1, 1.0),
    Fault.OPERATOR_STOP: (0.1, 0.5),
}
"""Lowest and highest number a minute of a fault that comes with time."""

_STAYS_AWAY: Final = 0.33
_AS_OFTEN_AS_MAY_BE: Final = 0.12


class Troubles:
    """The faults of one run.

    Attributes:
        rng: The run's only source of chance.
        healed: Whether nothing goes wrong any more.
        counts: How often each fault struck, and each sight was seen.
        chances: How likely each fault is that is drawn each time.
        per_minute: Rates of the faults that come with time and do come in this run.
    """

    def __init__(self, rng: Random, often: Collection[Fault] = ()) -> None:
        """Draw the rates of a run; those of the faults in `often` are the highest there are."""
        self.rng = rng
        self.healed = False
        self.counts: Counter[Fault | Sight] = Counter()
        self.chances = {fault: self._draw(*bounds, fault in often) for fault, bounds in _EACH.items()}
        rates = {fault: self._draw(*bounds, fault in often) for fault, bounds in _PER_MINUTE.items()}
        self.per_minute = {fault: rate for fault, rate in rates.items() if rate}

    def _draw(self, low: float, high: float, often: bool) -> float:
        kind, size = self.rng.random(), self.rng.random()
        if often or kind < _AS_OFTEN_AS_MAY_BE:
            return high
        return 0.0 if kind > 1 - _STAYS_AWAY else float(low * (high / low) ** size)

    def strikes(self, fault: Fault) -> bool:
        """Whether `fault` strikes this time; counted if it does."""
        if self.healed or self.rng.random() >= self.chances[fault]:
            return False
        self.counts[fault] += 1
        return True

    def saw(self, what: Fault | Sight, times: int = 1) -> None:
        """Count what happened."""
        if times:
            self.counts[what] += times

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))
