"""A plain model of the venue and of the network before it: it knows the truth.

The venue knows the true time, keeps the nonces of each signer, has a book, and remembers what it did with every frame.
What the executor reports is compared with that, when it reports it and ever after: an order that was declared dead must
never run, and none may run twice. Whether a frame arrives, when, how often, and what becomes of the answer on its way
back, is for the caller to decide. Sources: protocol.md §2 (frames, replies), §4 (nonces), §5 (expiry, records), §9
(texts).

Assumed, as settlement.md does: a nonce is used up before the answer leaves; the venue has forgotten an unanswered post
when its quarantine is over (rule 16); a record shows after `LAG_MS` at the latest (rule 9). Assumed besides: a cancel
that was submitted before its order, or names an oid before the venue has given it, does not arrive after the order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from machines import events as ev
from machines.clock import ManualClock
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    ItemResult,
    Modify,
    NotExecuted,
    Outcome,
    Rejected,
    Resting,
)
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settlement import OrderRecord
from tests.stateful.checks import Violated

TRUE_ORIGIN_MS: Final = 1_700_000_000_000
"""The true time at monotonic 0, in unix ms."""
DAY_MS: Final = 86_400_000
MARGIN_MS: Final = 120_000
"""How much narrower the measured nonce window is at each end (protocol.md §4)."""
LAG_MS: Final = 2_000
"""A record shows after so much at the latest (settlement.md, rule 9)."""

BENIGN: Final = "Order could not immediately match against any resting orders. asset=5"
MISSING: Final = "Order was never placed, already canceled, or filled. asset=5"
SERIOUS: Final = "Insufficient margin to place order. asset=5"
NO_WALLET: Final = "User or API Wallet 0x1 does not exist."
NO_DEPOSIT: Final = "Must deposit before performing actions. User: 0x1"
EXPIRED: Final = "Action already expired"
TOO_MANY_MESSAGES: Final = "Cannot send more than 2000 messages per minute."
"""An error that names no post (protocol.md §2)."""
BENIGN_TEXTS: Final = (BENIGN, MISSING)
KEY_TEXTS: Final = (NO_WALLET, NO_DEPOSIT)

_MISSING_ORDER: Final = MISSING.removesuffix(". asset=5")
_CANCELS: Final = (ActionKind.CANCEL, ActionKind.CANCEL_BY_CLOID)


class Choice(Enum):
    """What the venue does with an item; a cancel is only refused by the last one, or because its order is missing."""

    REST = "rest"
    TRADE = "trade"
    WAIT = "wait"
    REJECT = "reject"
    REJECT_SERIOUSLY = "reject seriously"


class Way(Enum):
    """What becomes of a reply on its way to the executor."""

    CLEAR = "clear"
    UNREADABLE = "unreadable"
    NO_STATUS = "no status"
    ONE_STATUS_TOO_MANY = "one status too many"
    FOREIGN_STATUS = "statuses of another action"
    GATEWAY = "replaced by a gateway's error"


class Proof(Enum):
    """What a reply that proves nothing about single items proves."""

    NEVER_RAN = "the action never ran and never will"
    SPENT = "its nonce is spent"
    NOTHING = "nothing"


Meaning: TypeAlias = tuple[ItemResult, ...] | Proof


@dataclass(slots=True, eq=False)
class Frame:
    """A post on the wire, and what the venue did with it.

    Attributes:
        items: What it carries, in request order.
        signer: The key that signed it.
        run: The run of the executor that wrote it.
        gone_ms: When the venue has forgotten it at the latest, if it never answers; monotonic ms.
        results: What the venue did with each item; None while it has not run.
        answered: Whether an answer to it has left the venue.
        dead: Whether it was turned away, so that it never runs.
    """

    post_id: int
    epoch: int
    nonce: int
    kind: ActionKind
    items: tuple[Intent, ...]
    expires_ms: int | None
    signer: str
    run: int
    gone_ms: int
    results: tuple[ItemResult, ...] | None = None
    answered: bool = False
    dead: bool = False

    @property
    def may_arrive(self) -> bool:
        """Whether it is still on its way, for all that anybody knows."""
        return not self.dead and self.results is None


@dataclass(slots=True, eq=False)
class Reply:
    """An answer to a frame, as it will arrive.

    Attributes:
        meaning: What it proves: the venue knows, because it wrote it.
        as_error_frame: Whether it comes as an error frame that names the post, not as a reply to it.
    """

    frame: Frame
    content: PostReply
    meaning: Meaning
    as_error_frame: bool = False

    def event(self, epoch: int) -> ev.Event:
        """The event of its arrival on connection `epoch`."""
        if self.as_error_frame and isinstance(self.content, GatewayError):
            return ev.ErrorReceived(epoch, self.content.reason, self.frame.post_id)
        return ev.ReplyReceived(epoch, self.frame.post_id, self.content)


@dataclass(slots=True, eq=False)
class Placed:
    """An order that the venue took, or refused with a record.

    Attributes:
        seq: The intent.
        versions: What the record said, and since when (monotonic ms).
        canceled_by: The cancel that took it off the book.
    """

    seq: int
    cloid: str
    versions: list[tuple[int, OrderRecord]] = field(default_factory=list)
    canceled_by: int | None = None

    @property
    def record(self) -> OrderRecord:
        """What became of it."""
        return self.versions[-1][1]


class Venue:
    """The venue.

    Attributes:
        frames: Every frame that was, or may have been, written to it.
        kept_nonces: How many of the highest nonces it remembers as a floor; the real one keeps 100.
        orders: Every order of which it has a record, by cloid.
        news: What the order stream has to say; each may arrive late, twice, or never.
        dead: The orders that must not run any more, and why.
    """

    def __init__(self, clock: ManualClock, kept_nonces: int = 100) -> None:
        self.frames: list[Frame] = []
        self.kept_nonces = kept_nonces
        self.orders: dict[str, Placed] = {}
        self.news: list[tuple[str, OrderRecord]] = []
        self.dead: dict[int, str] = {}
        self._clock = clock
        self._seen: dict[str, list[int]] = defaultdict(list)

    @property
    def now_ms(self) -> int:
        """The true time, in unix ms."""
        return TRUE_ORIGIN_MS + self._clock.monotonic_ms()

    # ------------------------------------------------------------------------------------------------------- nonces

    def nonce_error(self, nonce: int, signer: str = "") -> str | None:
        """Why the venue would refuse `nonce` now; None if it would not (protocol.md §4)."""
        kept = self._seen[signer][-self.kept_nonces :]
        floor = self.now_ms - 2 * DAY_MS + MARGIN_MS + 1
        if len(kept) == self.kept_nonces:
            floor = max(floor, kept[0])
        if nonce < floor:
            return f"Invalid nonce: nonce too low {nonce} < {floor}"
        if nonce in kept:
            return f"Invalid nonce: duplicate nonce {nonce}"
        ceiling = self.now_ms + DAY_MS - MARGIN_MS
        return f"Invalid nonce: nonce too high {nonce} > {ceiling}" if nonce >= ceiling else None

    def spend(self, nonce: int, signer: str = "") -> str | None:
        """An action with `nonce` arrives: why it is refused for that; None if it is not, and the nonce is spent."""
        error = self.nonce_error(nonce, signer)
        if error is None:
            self._seen[signer] = sorted([*self._seen[signer], nonce])
        return error

    # ------------------------------------------------------------------------------------------------------- frames

    def run(self, frame: Frame, choices: Sequence[Choice] = (), way: Way = Way.CLEAR) -> Reply | None:
        """A frame arrives; the answer, as it leaves the network. None if the frame was turned away before."""
        reply = self._gate(frame)
        if reply is None and not frame.dead:
            wanted = [*choices, *(Choice.REST for _ in frame.items)]
            results = tuple(self._carry_out(item, choice) for item, choice in zip(frame.items, wanted, strict=False))
            reply = self._on_its_way(self._ran(frame, results, Accepted(results)), way)
        return reply

    def refuse_the_batch(self, frame: Frame, reason: str) -> Reply | None:
        """A frame arrives, and one error status stands for all of its items (pre-validation, protocol.md §2)."""
        results = (Rejected(reason),) * len(frame.items)
        return self._refuse(frame, reason, Accepted(results[:1]))

    def refuse_the_action(self, frame: Frame, reason: str) -> Reply | None:
        """A frame arrives, and is refused as a whole: status `err`, its nonce spent, no record."""
        return self._refuse(frame, reason, Refused(reason))

    def turn_away(self, frame: Frame, reason: str, meaning: Proof, *, as_error_frame: bool = False) -> Reply | None:
        """A gate or gateway lets a frame go no further; what it says may or may not prove that."""
        if not frame.may_arrive:
            return None
        frame.dead = frame.answered = True
        return Reply(frame, GatewayError(reason), meaning, as_error_frame)

    def held(self) -> int:
        """How many posts it counts as in flight, at the worst."""
        now = self._clock.monotonic_ms()
        return sum(not frame.answered and now < frame.gone_ms for frame in self.frames)

    def _gate(self, frame: Frame) -> Reply | None:
        """What keeps an arriving frame from running: its nonce, or its expiry."""
        if frame.dead:
            return None
        error = self.spend(frame.nonce, frame.signer)
        frame.answered = True
        if error is None:
            expired = frame.expires_ms is not None and self.now_ms > frame.expires_ms
            return self._ran(frame, (Rejected(EXPIRED),) * len(frame.items), Refused(EXPIRED)) if expired else None
        if "too high" not in error:
            frame.dead = frame.results is None
            return Reply(frame, Refused(error), Proof.SPENT)
        frame.dead = True
        return self._ran(frame, (Rejected(error),) * len(frame.items), Refused(error))

    def _refuse(self, frame: Frame, reason: str, content: PostReply) -> Reply | None:
        reply = self._gate(frame)
        if reply is not None or frame.dead:
            return reply
        return self._ran(frame, (Rejected(reason),) * len(frame.items), content)

    def _ran(self, frame: Frame, results: tuple[ItemResult, ...], content: PostReply) -> Reply:
        frame.results = results
        return Reply(frame, content, results)

    def _on_its_way(self, reply: Reply, way: Way) -> Reply:
        frame, results = reply.frame, reply.frame.results or ()
        foreign: ItemResult = Resting(1) if frame.kind in _CANCELS else Canceled()
        content: PostReply
        match way:
            case Way.CLEAR:
                return reply
            case Way.UNREADABLE:
                content = Unreadable("cut off")
            case Way.NO_STATUS if results:
                content = Accepted(())
            case Way.FOREIGN_STATUS if results:
                content = Accepted((foreign, *results[1:]))
            case Way.GATEWAY:
                content = GatewayError("502 Bad Gateway")
            case _:
                content = Accepted((*results, Rejected(SERIOUS)))
        return Reply(frame, content, Proof.NOTHING)

    # --------------------------------------------------------------------------------------------------------- book

    def _carry_out(self, item: Intent, choice: Choice) -> ItemResult:
        request = item.request
        if isinstance(request, Cancel):
            if choice is Choice.REJECT_SERIOUSLY:
                return Rejected(SERIOUS)
            return self._cancel(item.seq, request.cloid if request.oid is None else request.oid)
        if isinstance(request, Modify):
            self._cancel(item.seq, request.cloid if request.oid is None else request.oid)
        return self._place(item, choice)

    def _place(self, item: Intent, choice: Choice) -> ItemResult:
        cloid = item.cloid or ""
        if cloid in self.orders:
            what = "ran twice" if self.orders[cloid].seq == item.seq else "has the cloid of another order"
            raise Violated("ExecutedOnce", f"order {item.seq} {what}")
        oid = len(self.orders) + 1
        order = self.orders[cloid] = Placed(item.seq, cloid)
        if choice in (Choice.REJECT, Choice.REJECT_SERIOUSLY):
            serious = choice is Choice.REJECT_SERIOUSLY
            self._record(order, OrderRecord(oid, "perpMarginRejected" if serious else "iocCancelRejected", "0"))
            return Rejected(SERIOUS if serious else BENIGN)
        if item.seq in self.dead:
            raise Violated("NothingDeadRuns", f"order {item.seq} runs, and {self.dead[item.seq]}")
        if choice is Choice.TRADE:
            self._record(order, OrderRecord(oid, "filled", "1"))
            return Filled(oid, "1", "400")
        self._record(order, OrderRecord(oid, "open", "0"))
        self._no_cancel_comes_from_before(order)
        return Resting(oid if choice is Choice.REST else None)

    def _no_cancel_comes_from_before(self, order: Placed) -> None:
        """Cancels on the wire that were submitted before their order, or named its oid before it had one."""
        for frame in self.frames:
            for item in frame.items if frame.may_arrive else ():
                request = item.request
                if isinstance(request, Cancel):
                    by_cloid = request.cloid == order.cloid and item.seq < order.seq
                    frame.dead |= by_cloid or request.oid == order.record.oid

    def _cancel(self, seq: int, key: str | int | None) -> ItemResult:
        order = self.find(key)
        if order is None or not order.record.on_book:
            return Rejected(MISSING)
        order.canceled_by = seq
        self._record(order, OrderRecord(order.record.oid, "canceled", order.record.traded))
        return Canceled()

    def find(self, key: str | int | None) -> Placed | None:
        """The order with a cloid, or an oid."""
        return next((order for order in self.orders.values() if key in (order.cloid, order.record.oid)), None)

    def happens_on_the_book(self, which: int, *, fill: bool) -> str | None:
        """An order that rests trades, whole or in part, or the venue cancels it; its cloid if it is off the book."""
        resting = [order for order in self.orders.values() if order.record.on_book]
        if not resting:
            return None
        order = resting[which % len(resting)]
        oid, traded = order.record.oid, order.record.traded
        partly = OrderRecord(oid, "open", "0.4") if traded == "0" else OrderRecord(oid, "marginCanceled", traded)
        self._record(order, OrderRecord(oid, "filled", "1") if fill else partly)
        return None if order.record.on_book else order.cloid

    def look_up(self, key: str | int, lag_ms: int) -> OrderRecord | None:
        """What a look-up finds: the record as it was `lag_ms` ago (protocol.md §5)."""
        order = self.find(key)
        seen = self._clock.monotonic_ms() - lag_ms
        versions = [] if order is None else [record for since, record in order.versions if since <= seen]
        return versions[-1] if versions else None

    def _record(self, order: Placed, record: OrderRecord) -> None:
        order.versions.append((self._clock.monotonic_ms(), record))
        self.news.append((order.cloid, record))

    # -------------------------------------------------------------------------------------------------------- truth

    def hear(self, intent: Intent, outcome: Outcome) -> None:
        """An outcome was reported: is it true, and will it stay true?

        Raises:
            Violated: It is not; or it says that an order is dead, and some frame can still make it run, later.
        """
        if isinstance(intent.request, Cancel):
            self._hear_of_cancel(intent, intent.request, outcome)
            return
        order = self.orders.get(intent.cloid or "")
        records = [] if order is None else [record for _, record in order.versions]
        match outcome:
            case NotExecuted() | Rejected():
                self.dead[intent.seq] = f"its outcome was {outcome}"
                true = not records or records[-1].refused
            case Canceled():
                true = any(not record.on_book and record.traded == "0" for record in records)
            case Filled(oid=oid):
                true = any(record.oid == oid and record.traded != "0" for record in records)
            case Resting(oid=oid):
                true = any(record.on_book and oid in (None, record.oid) for record in records)
            case _:
                true = False
        if not true:
            raise Violated("OutcomeIsTrue", f"intent {intent.seq} is told {outcome}, and the truth is {records}")

    def _hear_of_cancel(self, cancel: Intent, request: Cancel, outcome: Outcome) -> None:
        order = self.find(request.cloid if request.oid is None else request.oid)
        denied = isinstance(outcome, Rejected | NotExecuted)
        if denied and order is not None and order.canceled_by == cancel.seq:
            raise Violated("OutcomeIsTrue", f"cancel {cancel.seq} is told {outcome}, and it canceled its order")
        match outcome:
            case Canceled():
                pass
            case Rejected(reason=reason) if reason.startswith(_MISSING_ORDER):
                pass
            case _:
                return
        if order is not None and order.seq < cancel.seq and order.record.on_book:
            raise Violated("CancelHolds", f"cancel {cancel.seq} is told {outcome}, and its order rests")
        for frame in self.frames:
            for item in frame.items:
                if item.seq < cancel.seq and item.cloid == request.cloid and not isinstance(item.request, Cancel):
                    self.dead.setdefault(item.seq, f"its cancel {cancel.seq} was told {outcome}")
